"""`forecast-grpc serve`: the service on this machine, in the foreground."""

import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from forecast_grpc.cli._common import CommandFailed, ExitCode, StoreOption, existing_store, notes
from forecast_grpc.cli._endpoints import Endpoints, IngressMode
from forecast_grpc.cli._ports import free_port
from forecast_grpc.names import GRPC_PORT, HTTP_PORT

if TYPE_CHECKING:
    from forecast_grpc.cli._cluster import Cluster
    from forecast_grpc.config import Settings

_INTERRUPTED = 128 + 2
"""What a shell calls the end by SIGINT."""

_LOOPBACK = {"127.0.0.1", "localhost", "::1"}
"""Addresses that only this machine reaches."""

_SAMPLE = '{"sequence_data":[100,102,98,105,110,108,112,115,118,120]}'


def serve(  # noqa: PLR0913 - its options are many, and each is a parameter
    *,
    store: StoreOption = None,
    ingress: Annotated[
        IngressMode, typer.Option(help="How requests come in: straight into the replicas, or by Ray's proxy.")
    ] = IngressMode.HAPROXY,
    host: Annotated[str, typer.Option(help="The address to listen on; 0.0.0.0 for all.")] = "127.0.0.1",
    grpc_port: Annotated[
        int, typer.Option(help="Where to listen for gRPC; 0 for any free port.")
    ] = GRPC_PORT,
    http_port: Annotated[
        int, typer.Option(help="Where to listen for HTTP; 0 for any free port.")
    ] = HTTP_PORT,
    metrics_port: Annotated[int, typer.Option(help="Where Prometheus may scrape; 0 for any free port.")] = 0,
    num_replicas: Annotated[int | None, typer.Option(help="Replicas to run.", show_default="1")] = None,
    replica_cores: Annotated[
        str | None,
        typer.Option(metavar="CORE,...", help="Cores that replicas have to themselves, one each."),
    ] = None,
    max_hot_models: Annotated[
        int | None,
        typer.Option(help="Customers that Ray's multiplexer holds a replica.", show_default="1000"),
    ] = None,
    prewarm: Annotated[
        str | None, typer.Option(metavar="CUSTOMER,...", help="Customers to load before traffic comes.")
    ] = None,
    require_signature: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PUBKEY",
            help="Serve only what this public key has signed: the key, or a file of them. Repeatable.",
        ),
    ] = None,
    allow_pickles: Annotated[
        bool | None,
        typer.Option("--allow-pickles", help="Load pickled models, which run code. See docs/security.md."),
    ] = None,
    setting: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="NAME=VALUE", help="Any other setting; see docs/settings.md. Repeatable."
        ),
    ] = None,
) -> None:
    """Starts the service in the foreground; Ctrl-C stops it and all that it started.

    It answers what it has been asked before it stops; a second Ctrl-C does not wait for that.
    """
    from forecast_grpc.cli._cluster import running

    named = {
        "num_replicas": num_replicas,
        "replica_cores": replica_cores,
        "max_hot_models": max_hot_models,
        "prewarm": prewarm,
        "store": store,
        "allow_pickles": allow_pickles,
        "trusted_keys": _public_keys(require_signature),
    }
    settings = _settings({name: value for name, value in named.items() if value is not None}, setting or [])
    settings = _with_models(settings, host)
    _require_store(settings.store)
    endpoints = Endpoints(
        host=host,
        grpc_port=grpc_port or free_port(),
        http_port=http_port or free_port(),
        metrics_port=metrics_port or free_port(),
    )
    ready = False
    try:
        with (
            notes().status("starting") as status,
            running(settings, endpoints, _usable(ingress), progress=status.update) as cluster,
        ):
            status.stop()
            _print_ready(settings, endpoints, cluster)
            ready = True
            cluster.stopped.wait()
    except KeyboardInterrupt:
        notes().print("Stopped.")
        raise typer.Exit(0 if ready else _INTERRUPTED) from None


def _settings(named: dict[str, Any], assignments: list[str]) -> "Settings":
    """The settings from the command line, over those from the environment."""
    from pydantic import ValidationError

    from forecast_grpc.config import Settings

    for assignment in assignments:
        name, equals, value = assignment.partition("=")
        if not equals or name not in Settings.model_fields:
            known = ", ".join(Settings.model_fields)
            raise CommandFailed(
                f"--set {assignment}: expected NAME=VALUE, the names being {known}.", ExitCode.USAGE
            )
        named[name] = value
    try:
        return Settings(**named)
    except ValidationError as exc:
        first = exc.errors(include_url=False)[0]
        name = ".".join(map(str, first["loc"]))
        raise CommandFailed(f"The setting {name} is wrong: {first['msg']}.", ExitCode.USAGE) from exc


def _public_keys(values: list[str] | None) -> tuple[str, ...] | None:
    """The keys that are named, or stand one a line in the files that are."""
    if values is None:
        return None
    keys: list[str] = []
    for value in values:
        found = [value] if value.startswith("ed25519:") else _lines(Path(value))
        if not found or not all(line.startswith("ed25519:") for line in found):
            raise CommandFailed(f"{value} holds no public keys, one a line.", ExitCode.USAGE)
        keys += found
    return tuple(keys)


def _lines(file: Path) -> list[str]:
    try:
        lines = [line.strip() for line in file.read_text("utf-8").splitlines()]
    except (OSError, UnicodeDecodeError) as exc:
        reason = exc.strerror if isinstance(exc, OSError) else "it is no text"
        raise CommandFailed(
            f"{file} is no public key, and cannot be read: {reason}.", ExitCode.USAGE
        ) from exc
    return [line for line in lines if line and not line.startswith("#")]


def _with_models(settings: "Settings", host: str) -> "Settings":
    """All of the model service for whoever asks from this machine, unless the operator has said how much."""
    from forecast_grpc.records import ModelServiceMode

    if "model_service" in settings.model_fields_set or host not in _LOOPBACK:
        return settings
    return settings.model_copy(update={"model_service": ModelServiceMode.ALL})


def _require_store(url: str) -> None:
    """Ends the command where there is no store; builds the demo store where that is what is missing."""
    from forecast_grpc.config import default_store

    if url == str(default_store()) and not Path(url).exists():
        from forecast_grpc.cli.demo_store import build_demo_store

        build_demo_store()
    existing_store(url)


def _usable(ingress: IngressMode) -> IngressMode:
    from forecast_grpc.cli._cluster import haproxy_available

    if ingress is IngressMode.HAPROXY and not haproxy_available():
        notes().print(
            "There is no HAProxy for this machine: requests come in by Ray's proxy (--ingress proxy)."
        )
        return IngressMode.PROXY
    return ingress


def _print_ready(settings: "Settings", endpoints: Endpoints, cluster: "Cluster") -> None:
    """One line that says `ready`, then what to try."""
    grpc_address = f"{endpoints.host}:{endpoints.grpc_port}"
    http_address = f"http://{endpoints.host}:{endpoints.http_port}"
    customer = _a_customer(settings.store)
    lines = [
        f"ready: gRPC on {grpc_address}, HTTP on {http_address} (its API: {http_address}/docs)",
        f"store: {settings.store}",
        f"metrics: http://{endpoints.host}:{endpoints.metrics_port}/metrics",
        f"logs: {cluster.logs}",
        f"ray: RAY_ADDRESS={cluster.address} RAY_AUTH_MODE=token",
        "",
        "Try:",
        (
            f"grpcurl -plaintext -H 'multiplexed_model_id: {customer}' -d '{_SAMPLE}' "
            f"{grpc_address} forecast.v1.ForecastService/Forecast"
        ),
        f"curl -H 'serve_multiplexed_model_id: {customer}' -d '{_SAMPLE}' {http_address}/",
        f"{_this_command()} forecast {customer} --plot --address {grpc_address}",
    ]
    typer.echo("\n".join(lines))


def _this_command() -> str:
    """How to call this program in the shell that it was started from."""
    if shutil.which("forecast-grpc"):
        return "forecast-grpc"
    path = Path(sys.argv[0])
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)


def _a_customer(url: str) -> str:
    """The customer to show: the tutorial's where there is one, else the store's first."""
    from forecast_grpc.store import open_store

    return next(open_store(url).customers(prefix="customer_123"), None) or next(
        open_store(url).customers(), "CUSTOMER"
    )
