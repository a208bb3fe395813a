"""The services that are measured: how each is started, and what it has to answer."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import grpc
import psutil

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
    """A service that runs."""

    name: str
    """What tables call it."""

    grpc_port: int
    """Where it listens."""

    process: psutil.Process
    """What was started; everything else is among its descendants."""

    answer: ForecastResponse
    """What it answers the workload's request with, every time."""

    def check(self) -> None:
        """Asks once more. Raises TargetFailedError where the answer is not the one of the start."""
        if (again := _ask(self.grpc_port)) != self.answer:
            raise TargetFailedError(f"{self.name} now answers\n{again}")


@contextmanager
def tutorial(name: str, *, load_s: float | None = None) -> Iterator[Target]:
    """The tutorial's deployment behind Ray's default proxy; `load_s` as its `LOAD_S`."""
    from benchmarks.tutorial_service import LOAD_S, LOAD_VARIABLE, ToyModel  # noqa: PLC0415 - imports Ray

    forecast = tuple(ToyModel(CUSTOMER_ID).predict(SEQUENCE))
    hosted = _hosted("benchmarks.tutorial_service", "proxy")
    variable = f"{LOAD_VARIABLE}={LOAD_S if load_s is None else load_s}"
    with _running(name, lambda port: ("env", variable, *hosted(port)), forecast) as target:
        yield target


@contextmanager
def constant(name: str) -> Iterator[Target]:
    """A handler that does nothing, behind HAProxy."""
    with _running(name, _hosted("benchmarks.constant_service", "haproxy"), FORECAST) as target:
        yield target


@contextmanager
def product(name: str, store: Path) -> Iterator[Target]:
    """forecast-grpc as it comes, behind HAProxy, with the tutorial's customers in the empty folder `store`."""
    for customer in CUSTOMERS:
        FolderStore(store).publish(customer.customer_id, customer.encode)
    serve = (str(Path(sys.executable).with_name("forecast-grpc")), "serve", "--store", str(store))
    with _running(name, lambda port: (*serve, "--grpc-port", port, "--http-port", "0"), FORECAST) as target:
        yield target


_Command = Callable[[str], tuple[str, ...]]
"""From the port to listen on to what starts the service."""


def _hosted(module: str, ingress: str) -> _Command:
    return lambda port: (sys.executable, "-m", "benchmarks.hosting", module, port, ingress)


@contextmanager
def _running(name: str, command: _Command, forecast: tuple[float, ...]) -> Iterator[Target]:
    port, *replica_ports = free_ports()
    with running(command(str(port)), replica_ports) as process:
        answer = _ask(port)
        if tuple(answer.forecast) != forecast or answer.customer_id != CUSTOMER_ID:
            raise TargetFailedError(f"{name} answers\n{answer}")
        yield Target(name=name, grpc_port=port, process=process, answer=answer)


def _ask(port: int) -> ForecastResponse:
    try:
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            return ForecastServiceStub(channel).Forecast(REQUEST, metadata=METADATA, timeout=TIMEOUT_S)
    except grpc.RpcError as exc:
        raise TargetFailedError(f"the service on port {port} answers {exc}") from exc
