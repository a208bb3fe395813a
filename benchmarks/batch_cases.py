"""What `benchmarks.batch` measures: a bare server's unary calls, and the service's batches and streams."""

import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import grpc
import numpy as np
import psutil

from benchmarks.generator import WrongAnswersError, load
from benchmarks.processes import free_ports, running
from benchmarks.processor import family_s
from benchmarks.workload import CUSTOMER_ID, METADATA, REQUEST
from forecast_grpc.artefact import encode
from forecast_grpc.domain import Forecaster, ModelMetadata
from forecast_grpc.models import Linear, Theta
from forecast_grpc.models.residuals import LEVELS, ResidualQuantiles
from forecast_grpc.store import FolderStore, publish_all
from forecast_grpc.v1 import forecast_pb2 as pb
from forecast_grpc.v1.forecast_pb2_grpc import ForecastServiceStub

WINDOW, HORIZON = len(REQUEST.sequence_data), 7
"""Observations of a series, and steps of its forecast."""

ITEMS = 1_000
"""Items of a batch."""

CUSTOMERS = 1_000
"""Customers of each family."""

AT_A_TIME = (1, 10, 100)
"""Items in each message of a stream."""

AHEAD = 500
"""Items of a stream that are under way."""

UNDER_WAY: Mapping[str, object] = {"connections": 4, "in-flight": 4}
"""Unary calls under way at the bare server."""

SERVICE = "/forecast.v1.ForecastService"
"""What the RPCs' paths begin with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """One repetition of one case."""

    forecasts_per_s: float
    """Forecasts a second."""

    cpu_us: float
    """Processor time of all the service's processes, in microseconds a forecast."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """Something to measure."""

    name: str
    """What tables call it."""

    baseline: str
    """The case that it is compared with; its own name for those that others are compared with."""

    service: psutil.Process
    """Whose processor time counts."""

    run: Callable[[float], tuple[int, float]]
    """For about so many seconds: how many forecasts in how many."""

    def measure(self, seconds: float) -> Measurement:
        """One repetition."""
        before = family_s(self.service)
        forecasts, taken = self.run(seconds)
        cpu_s = family_s(self.service) - before
        return Measurement(forecasts_per_s=forecasts / taken, cpu_us=cpu_s / forecasts * 1e6)


def forecaster(family: str, number: int) -> Forecaster:
    """A model of this family, another for each number."""
    rng = np.random.default_rng(number)
    residuals = ResidualQuantiles(np.zeros((len(LEVELS), HORIZON), np.float32))
    if family == "linear":
        weights = rng.normal(size=(HORIZON, WINDOW)).astype(np.float32)
        return Linear(
            weights=weights, intercept=np.zeros(HORIZON), end=np.arange(WINDOW * 1.0), residuals=residuals
        )
    alpha = float(rng.uniform(0.1, 0.9))
    season = rng.normal(size=5) / 10.0
    return Theta(
        alpha=alpha,
        slope=0.2,
        multiplicative=True,
        pattern=season - season.mean(),
        end=np.arange(1.0, 65.0),
        residuals=residuals,
    )


def customer(family: str, number: int) -> str:
    """The name of a customer."""
    return f"{family}-{number}"


def publish(store: Path) -> None:
    """Fills an empty folder with the customers of both families."""
    names = [(family, number) for family in ("linear", "theta") for number in range(CUSTOMERS)]
    for _ in publish_all(FolderStore(store), ((customer(*name), artefact_of(*name)) for name in names)):
        pass


def artefact_of(family: str, number: int) -> Callable[[int], bytes]:
    """What a store is given: the artefact under a version."""
    made = forecaster(family, number)

    def under(version: int) -> bytes:
        metadata = ModelMetadata(
            family=family, model_version=version, horizon=HORIZON, min_length=made.min_length
        )
        return encode(made, metadata)

    return under


def items(family: str, customers: int, count: int) -> list[pb.ForecastItem]:
    """Items of different series, of so many customers in turn."""
    rng = np.random.default_rng(1)
    return [
        pb.ForecastItem(
            customer_id=customer(family, place % customers),
            request=pb.ForecastRequest(sequence_data=rng.uniform(50.0, 150.0, WINDOW), horizon=HORIZON),
        )
        for place in range(count)
    ]


def sent(options: Mapping[str, object]) -> Callable[[float], tuple[int, float]]:
    """What the load generator sends; `items` says how many forecasts are in a message."""

    def run(seconds: float) -> tuple[int, float]:
        found = load(options, duration=f"{seconds}s", timeout="60s")
        forecasts = found["requests"] * found["settings"]["items"]
        return forecasts, forecasts / found["forecasts_per_s"]

    return run


def unary(port: int, folder: Path) -> Callable[[float], tuple[int, float]]:
    """Unary calls, each answered as the first one."""
    expected = folder / f"{port}.answer"
    expected.write_bytes(ask(port).SerializeToString())
    who = {"address": address(port), "customer": CUSTOMER_ID, "expect-file": expected}
    return sent({**UNDER_WAY, **who})


def batches(port: int, family: str, customers: int, folder: Path) -> Callable[[float], tuple[int, float]]:
    """Batches, two under way, each answered as the first one."""
    request = pb.BatchForecastRequest(items=items(family, customers, ITEMS))
    message, expected = folder / f"{family}-{customers}", folder / f"{family}-{customers}.answer"
    message.write_bytes(request.SerializeToString())
    with grpc.insecure_channel(address(port), [("grpc.max_receive_message_length", -1)]) as channel:
        expected.write_bytes(check(channel, request))
    files = {"request-file": message, "expect-file": expected, "items": ITEMS}
    under_way = {"connections": 2, "in-flight": 1}
    who = {"address": address(port), "customer": customer(family, 0)}
    return sent({**who, "method": f"{SERVICE}/BatchForecast", **under_way, **files})


def address(port: int) -> str:
    """Where something on this machine listens."""
    return f"127.0.0.1:{port}"


def check(channel: grpc.Channel, request: pb.BatchForecastRequest) -> bytes:
    """The answer. Raises WrongAnswersError where it is not what unary calls are answered with, to the last bit."""
    stub = ForecastServiceStub(channel)
    response = stub.BatchForecast(request)
    for item, result in list(zip(request.items, response.results, strict=True))[:: ITEMS // 20]:
        metadata = (("multiplexed_model_id", item.customer_id),)
        if stub.Forecast(item.request, metadata=metadata) != result.response:
            raise WrongAnswersError(f"{item.customer_id}: a batch is answered otherwise than a call")
    return response.SerializeToString()


def streamed(port: int, family: str, at_a_time: int, folder: Path) -> Callable[[float], tuple[int, float]]:
    """One stream of one customer, with so many items in each message."""
    message = folder / f"{family}-stream-{at_a_time}"
    message.write_bytes(pb.StreamForecastRequest(items=items(family, 1, at_a_time)).SerializeToString())
    under_way = {"stream": "true", "connections": 1, "in-flight": AHEAD // at_a_time, "items": at_a_time}
    method = f"{SERVICE}/StreamForecast"
    who = {"address": address(port), "customer": customer(family, 0)}
    return sent({**who, "method": method, "request-file": message, **under_way})


@contextmanager
def cases() -> Iterator[Sequence[Case]]:
    """Everything that is measured, with its services running."""
    with ExitStack() as stack:
        store = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="forecast-grpc-bench-")))
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="forecast-grpc-bench-")))
        publish(store)
        made: list[Case] = []
        for family in ("linear", "theta"):
            name = customer(family, 0)
            ports = free_ports()
            command = (sys.executable, "-m", "benchmarks.bare", str(ports[0]), str(store), name)
            process = stack.enter_context(running(command, ports[1:]))
            run = unary(ports[0], folder)
            made.append(Case(name=bare(family), baseline=bare(family), service=process, run=run))
        made += stack.enter_context(of_the_service(store, folder))
        yield made


def bare(family: str) -> str:
    """The name of the case that the others of a family are compared with."""
    return f"bare server, {family}, unary"


@contextmanager
def of_the_service(store: Path, folder: Path) -> Iterator[Sequence[Case]]:
    """Batches and streams of forecast-grpc as it comes, with one replica behind HAProxy."""
    ports = free_ports()
    command = (str(Path(sys.executable).with_name("forecast-grpc")), "serve", "--store", str(store))
    options = ("--grpc-port", str(ports[0]), "--http-port", "0", "--set", "max_warm_bytes=1000000000")
    with running((*command, *options), ports[1:]) as process:
        replica = next(
            each for each in process.children(recursive=True) if "ServeReplica" in "".join(each.cmdline())
        )
        made: list[Case] = []
        for family in ("linear", "theta"):
            for customers in (1, CUSTOMERS):
                run = batches(ports[0], family, customers, folder)
                name = f"batch of {ITEMS:,}, {family}, {customers:,} customers"
                made.append(Case(name=name, baseline=bare(family), service=replica, run=run))
        for at_a_time in AT_A_TIME:
            run = streamed(ports[0], "linear", at_a_time, folder)
            name = f"stream, linear, {at_a_time} in a message"
            made.append(Case(name=name, baseline=bare("linear"), service=replica, run=run))
        yield made


def ask(port: int) -> pb.ForecastResponse:
    """What the bare server answers the workload's request with."""
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        answer: pb.ForecastResponse = ForecastServiceStub(channel).Forecast(
            REQUEST, metadata=METADATA, timeout=10
        )
        return answer
