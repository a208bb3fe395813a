"""`forecast-grpc bench`: load on a running service, and what it makes of it."""

from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from forecast_grpc.cli._common import CommandFailed, ExitCode, JsonOption, notes, output, print_json, table
from forecast_grpc.cli._plan import Order
from forecast_grpc.cli._target import (
    DEFAULT_ADDRESS,
    AddressOption,
    ApplicationOption,
    TimeoutOption,
    TlsOption,
    TokenOption,
    target,
)

if TYPE_CHECKING:
    from rich.table import Table

    from forecast_grpc.cli._call import Target
    from forecast_grpc.cli._plan import Plan

_TUTORIAL = (100.0, 102.0, 98.0, 105.0, 110.0, 108.0, 112.0, 115.0, 118.0, 120.0)
"""The observations of a request, over and over."""


class Client(StrEnum):
    """Who sends the load."""

    AUTO = "auto"
    """The one in Go where there is Go or a built one, else the one in Python."""

    GO = "go"
    """Costs 20 to 30 microseconds a request."""

    PYTHON = "python"
    """Costs more than a request costs the service."""


def bench(  # noqa: PLR0913 - each is an option of the command.
    customers: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[CUSTOMER]...",
            help="The customers to ask for; %07d in a name and --count make many of it.",
            show_default="customer_123",
        ),
    ] = None,
    *,
    count: Annotated[int, typer.Option(min=1, help="Customers that a name with %07d stands for.")] = 1,
    customers_file: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Their names, one a line.", show_default=False, dir_okay=False),
    ] = None,
    order: Annotated[
        Order, typer.Option(help="Whom a request asks for: any, by Zipf's law, or each in turn.")
    ] = Order.UNIFORM,
    zipf: Annotated[float, typer.Option(min=0.0, help="Exponent of Zipf's law.")] = 1.1,
    window: Annotated[int, typer.Option(min=0, help="Observations in each request.")] = 10,
    horizon: Annotated[
        int | None, typer.Option(help="Steps to forecast.", show_default="the model's own")
    ] = None,
    quantiles: Annotated[
        str, typer.Option(metavar="LEVELS", help="Quantile levels, such as 0.1,0.9.", show_default=False)
    ] = "",
    connections: Annotated[int, typer.Option(min=1, help="Connections.")] = 8,
    in_flight: Annotated[int, typer.Option(min=1, help="Requests under way on each connection.")] = 2,
    rate: Annotated[
        float,
        typer.Option(
            min=0.0, help="Requests a second, whether or not earlier ones are answered.", show_default=False
        ),
    ] = 0.0,
    duration: Annotated[float, typer.Option(min=0.1, help="Seconds to send.")] = 10.0,
    warm_up: Annotated[float, typer.Option(min=0.0, help="Seconds before anything is counted.")] = 1.0,
    client: Annotated[Client, typer.Option(help="Who sends the load.")] = Client.AUTO,
    address: AddressOption = DEFAULT_ADDRESS,
    timeout: TimeoutOption = 10.0,
    tls: TlsOption = False,
    token: TokenOption = None,
    application: ApplicationOption = None,
    as_json: JsonOption = False,
    plot: Annotated[bool, typer.Option("--plot", help="Draw each second in the terminal.")] = False,
    plot_file: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Draw it into a .png or .svg file.", show_default=False),
    ] = None,
) -> None:
    """Measure a running service: requests a second, latencies, errors.

    As many requests as you say are always under way. With --rate requests go out at their times instead, and the
    latency of each counts from when it was meant to go out.
    """
    from forecast_grpc.cli._plan import Plan

    if plot_file is not None:
        from forecast_grpc.cli._picture import require_suffix

        require_suffix(plot_file)
    service = target(address, timeout, tls=tls, token=token, application=application)
    plan = Plan(
        customers=_names(customers or [], count, customers_file),
        order=order,
        zipf=zipf,
        request=_request(window, horizon, quantiles),
        connections=connections,
        in_flight=in_flight,
        rate=rate,
        duration_s=duration,
        warm_up_s=warm_up,
    )
    found = _measure(service, plan, client)
    if as_json:
        print_json(found)
    else:
        output().print(*_tables(found), sep="\n")
    _draw(found, plot=plot, plot_file=plot_file, beside_json=as_json)
    _require_answers(found)


def _names(customers: list[str], count: int, file: Path | None) -> list[str]:
    from forecast_grpc.customer import require_customer_id

    if file is not None:
        try:
            customers = file.read_text("utf-8").split()
        except OSError as exc:
            raise CommandFailed(f"{file} cannot be read: {exc.strerror}.") from exc
    names: list[str] = []
    for customer in customers or ["customer_123"]:
        try:
            names += [customer % number for number in range(count)] if "%" in customer else [customer]
        except (TypeError, ValueError) as exc:
            text = f"{customer} makes no names: write it with one %d, such as customer-%07d."
            raise CommandFailed(text, ExitCode.USAGE) from exc
    if not names:
        raise CommandFailed(f"{file} names no customer.", ExitCode.USAGE)
    for name in names:
        require_customer_id(name)
    return names


def _request(window: int, horizon: int | None, quantiles: str) -> bytes:
    from forecast_grpc.cli._values import levels
    from forecast_grpc.v1.forecast_pb2 import ForecastRequest

    return ForecastRequest(
        sequence_data=[_TUTORIAL[place % len(_TUTORIAL)] for place in range(window)],
        horizon=horizon,
        quantile_levels=levels(quantiles) if quantiles else [],
    ).SerializeToString()


def _measure(service: "Target", plan: "Plan", client: Client) -> dict[str, Any]:
    from forecast_grpc.cli import _load, _load_python

    program = None if client is Client.PYTHON else _program()
    if program is not None:
        return _load.measure(program, service, plan) | {"client": "go"}
    if client is Client.GO:
        raise CommandFailed("There is no Go to build the load generator with, and none that is built.")
    if client is Client.AUTO:
        notes().print(
            "There is no Go: a client in Python sends the load, and is a good part of what is measured.",
            style="dim",
        )
    return _load_python.run(service, plan) | {"client": "python"}


def _program() -> Path | None:
    from forecast_grpc.cli import _load

    try:
        return _load.generator()
    except _load.BuildFailedError as exc:
        notes().print(f"The load generator cannot be built: {exc}", markup=False, style="dim")
        return None


def _tables(found: Mapping[str, Any]) -> "list[Table]":
    rates = table("outcome", "requests", "a second", numbers=("requests", "a second"))
    for outcome, requests in sorted(found["outcomes"].items(), key=lambda each: -each[1]):
        a_second = found["requests_per_s"] if outcome == "OK" else requests / found["seconds"]
        rates.add_row(outcome, f"{requests:,}", f"{a_second:,.0f}")
    numbers = ("answers", "mean", "p50", "p90", "p99", "p99.9", "max")
    times = table("latency, ms", *numbers, numbers=numbers)
    rows = {"all": found["latency_ms"], **found.get("latency_by_tier_ms", {})}
    if "lateness_ms" in found:
        rows["sent late by"] = found["lateness_ms"]
    for name, of in rows.items():
        shown = (of[key] for key in ("mean", "p50", "p90", "p99", "p99_9", "max"))
        times.add_row(name, f"{of['count']:,}", *(f"{ms:.2f}" for ms in shown))
    client = table("client", "cores", "us a request", numbers=("cores", "us a request"))
    spent = found["client_cpu_s"]
    a_request = 1e6 * spent / max(1, found["requests"])
    client.add_row(found["client"], f"{spent / found['seconds']:.2f}", f"{a_request:,.0f}")
    return [rates, times, client]


def _draw(found: Mapping[str, Any], *, plot: bool, plot_file: Path | None, beside_json: bool) -> None:
    if not plot and plot_file is None:
        return
    from forecast_grpc.cli import _seconds

    if plot_file is not None:
        _seconds.to_file(found["series"], plot_file)
        notes().print(f"Drew {plot_file}.")
    if plot:
        typer.echo(_seconds.in_terminal(found["series"]), err=beside_json)


def _require_answers(found: Mapping[str, Any]) -> None:
    """Ends the command where something failed, with what the service said."""
    messages = found.get("messages") or {}
    if messages:
        failed = sum(requests for outcome, requests in found["outcomes"].items() if outcome != "OK")
        first = "; ".join(f"{outcome}: {message}" for outcome, message in sorted(messages.items()))
        raise CommandFailed(f"{failed:,} of {found['requests']:,} requests failed. {first}")
