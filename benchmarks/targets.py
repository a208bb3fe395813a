"""Services of forecast.v1 that are measured: how each is started, and what it has to answer."""

import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import grpc
import httpx
import psutil

from benchmarks.environments import python_of
from benchmarks.hops import family, kind
from benchmarks.processes import TargetFailedError, free_ports, running
from benchmarks.workload import CUSTOMER_ID, FORECAST, METADATA, REQUEST, SEQUENCE
from forecast_grpc.demo.tutorial import CUSTOMERS
from forecast_grpc.store import FolderStore
from forecast_grpc.v1.forecast_pb2 import ForecastResponse
from forecast_grpc.v1.forecast_pb2_grpc import ForecastServiceStub

TIMEOUT_S = 10.0
"""How long one answer may take, in seconds; it may be the first, for which a model has to be loaded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A service that runs, and has answered right."""

    name: str
    """What tables call it."""

    grpc_port: int
    """Where it listens."""

    process: psutil.Process
    """What was started; everything else is among its descendants."""

    options: Mapping[str, object]
    """For the load generator: the address, the request and the answer that has to come back each time."""

    lanes: int = 8
    """Connections of a load of 16 requests: 16 where a connection takes one at a time."""


Command = Callable[[Sequence[int]], tuple[str, ...]]
"""From free ports, the first of them for gRPC, to what starts the service."""


@contextmanager
def tutorial(name: str, *, load_s: float | None = None) -> Iterator[Target]:
    """The tutorial's deployment behind Ray's default proxy; `load_s` as its `LOAD_S`."""
    with tutorial_twice(name, "", load_s=load_s) as (target, _):
        yield target


@contextmanager
def tutorial_twice(
    name: str, http_name: str, *, load_s: float | None = None
) -> Iterator[tuple[Target, Target]]:
    """The same over gRPC and over HTTP, which are two doors of one process."""
    from benchmarks.tutorial_service import LOAD_S, LOAD_VARIABLE, ToyModel  # noqa: PLC0415 - imports Ray

    forecast = tuple(ToyModel(CUSTOMER_ID).predict(SEQUENCE))
    variable = f"{LOAD_VARIABLE}={LOAD_S if load_s is None else load_s}"

    def command(ports: Sequence[int]) -> tuple[str, ...]:
        return ("env", variable, *hosted("benchmarks.tutorial_service", "proxy")(ports))

    with started(command) as (ports, process), TemporaryDirectory() as folder:
        target = asked(name, ports[0], process, forecast, Path(folder))
        yield target, _posted(http_name, ports[1], process, forecast, Path(folder))


@contextmanager
def constant(name: str) -> Iterator[Target]:
    """A handler that does nothing, behind HAProxy."""
    with _running(name, hosted("benchmarks.constant_service", "haproxy"), FORECAST) as target:
        yield target


@contextmanager
def product(name: str, store: Path, *options: str, more: Sequence[str] = ()) -> Iterator[Target]:
    """forecast-grpc as it comes, behind HAProxy, with the tutorial's customers in the empty folder `store`.

    `more` are customers who have the model of the one that is asked for.
    """
    for customer in CUSTOMERS:
        for name_of_one in (customer.customer_id, *(more if customer.customer_id == CUSTOMER_ID else ())):
            FolderStore(store).publish(name_of_one, customer.encode)
    serve = (str(Path(sys.executable).with_name("forecast-grpc")), "serve", "--store", str(store), *options)
    with _running(
        name, lambda ports: (*serve, "--grpc-port", str(ports[0]), "--http-port", "0"), FORECAST
    ) as target:
        yield target


def past_haproxy(target: Target, name: str) -> Target:
    """The same service, which has one replica, asked at that replica's own port. Raises TargetFailedError."""
    ports = {
        connection.laddr.port
        for process in family(target.process)
        if kind(process) == "replica"
        for connection in process.net_connections("tcp")
        if connection.status == psutil.CONN_LISTEN
    }
    for port in sorted(ports):
        with suppress(TargetFailedError):
            _ask(port)
            options = {**target.options, "address": f"127.0.0.1:{port}"}
            return replace(target, name=name, grpc_port=port, options=options)
    raise TargetFailedError(f"{name}: no replica listens for gRPC")


def spread(target: Target, customers: Sequence[str]) -> Target:
    """The same service, asked for all of these customers alike: answers are held to their length."""
    answer = Path(str(target.options["expect-file"]))
    names = answer.with_name("names")
    names.write_text("\n".join(customers))
    length = answer.stat().st_size - len(CUSTOMER_ID)
    options = {"address": target.options["address"], "customers-file": names, "tiers": "true"}
    # Their names are of one length.
    return replace(target, options=options | {"expect-bytes": length + len(customers[0])})


@contextmanager
def bare(name: str) -> Iterator[Target]:
    """A `grpc.aio` server with a dict."""
    python = str(python_of("bare"))
    with _running(
        name, lambda ports: (python, "-m", "benchmarks.peers.bare.serve", str(ports[0])), FORECAST
    ) as target:
        yield target


def hosted(module: str, ingress: str) -> Command:
    """What serves an application of ours by Ray."""
    return lambda ports: (
        sys.executable,
        "-m",
        "benchmarks.hosting",
        module,
        str(ports[0]),
        ingress,
        str(ports[1]),
    )


@contextmanager
def started(command: Command) -> Iterator[tuple[Sequence[int], psutil.Process]]:
    """A service on ports of its own, ready."""
    ports = free_ports()
    with running(command(ports), ports[4:]) as process:
        yield ports, process


@contextmanager
def _running(name: str, command: Command, forecast: Sequence[float]) -> Iterator[Target]:
    with started(command) as (ports, process), TemporaryDirectory() as folder:
        yield asked(name, ports[0], process, forecast, Path(folder))


def asked(name: str, port: int, process: psutil.Process, forecast: Sequence[float], folder: Path) -> Target:
    """The service, which has answered this forecast. Raises TargetFailedError."""
    answer = _ask(port)
    if tuple(answer.forecast) != tuple(forecast) or answer.customer_id != CUSTOMER_ID:
        raise TargetFailedError(f"{name} answers\n{answer}")
    expected = folder / "answer.bin"
    expected.write_bytes(answer.SerializeToString())
    options = {"address": f"127.0.0.1:{port}", "customer": CUSTOMER_ID, "expect-file": expected}
    return Target(name=name, grpc_port=port, process=process, options=options)


def _ask(port: int) -> ForecastResponse:
    try:
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            return ForecastServiceStub(channel).Forecast(REQUEST, metadata=METADATA, timeout=TIMEOUT_S)
    except grpc.RpcError as exc:
        raise TargetFailedError(f"the service on port {port} answers {exc}") from exc


def _posted(name: str, port: int, process: psutil.Process, forecast: Sequence[float], folder: Path) -> Target:
    """The service's HTTP door, which has answered this forecast. Raises TargetFailedError."""
    body, expected = folder / "body.json", folder / "body-answer.json"
    body.write_text(json.dumps({"sequence_data": SEQUENCE}))
    address = f"127.0.0.1:{port}"
    answer = httpx.post(
        f"http://{address}/",
        content=body.read_bytes(),
        headers={"serve_multiplexed_model_id": CUSTOMER_ID},
        timeout=TIMEOUT_S,
    )
    if answer.status_code != httpx.codes.OK or answer.json()["forecast"] != list(forecast):
        raise TargetFailedError(f"{name} answers {answer.status_code} {answer.text}")
    expected.write_bytes(answer.content)
    options = {
        "address": address,
        "customer": CUSTOMER_ID,
        "http": "true",
        "method": "/",
        "request-file": body,
        "expect-file": expected,
    }
    return Target(name=name, grpc_port=port, process=process, options=options, lanes=16)
