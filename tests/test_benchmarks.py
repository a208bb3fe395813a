"""What makes a benchmark's figures worth reading: wrong answers do not count, and nothing is left running."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent import futures
from contextlib import contextmanager
from pathlib import Path

import grpc
import psutil
import pytest

from benchmarks import fitting, h2load
from benchmarks.processes import TargetFailedError, free_ports, running
from benchmarks.throughput import Measurement, ratio
from benchmarks.workload import CUSTOMER_ID, FORECAST
from forecast_grpc.fit import read_table
from forecast_grpc.v1.forecast_pb2 import ForecastRequest, ForecastResponse
from forecast_grpc.v1.forecast_pb2_grpc import ForecastServiceServicer, add_ForecastServiceServicer_to_server

ANSWER = ForecastResponse(customer_id=CUSTOMER_ID, forecast=FORECAST)
LOAD = h2load.Load(connections=2, streams=2)
REQUESTS = 40

needs_h2load = pytest.mark.skipif(
    shutil.which("h2load") is None and "CI" not in os.environ, reason="no h2load: see nghttp2-client"
)


class Servicer(ForecastServiceServicer):
    """Answers right, but for one request, which is answered otherwise."""

    def __init__(self, otherwise: Callable[[grpc.ServicerContext], ForecastResponse]) -> None:
        self.otherwise = otherwise
        self.requests = 0

    def Forecast(self, request: ForecastRequest, context: grpc.ServicerContext) -> ForecastResponse:  # noqa: N802
        """See the proto."""
        self.requests += 1
        return self.otherwise(context) if self.requests == REQUESTS // 2 else ANSWER


@contextmanager
def serving(otherwise: Callable[[grpc.ServicerContext], ForecastResponse]) -> Iterator[int]:
    """The port of a server that answers one request so."""
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=1))
    servicer = Servicer(otherwise)  # type: ignore[abstract]  # its other RPCs are UNIMPLEMENTED
    add_ForecastServiceServicer_to_server(servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield port
    finally:
        server.stop(None).wait()


def fail(context: grpc.ServicerContext) -> ForecastResponse:
    """An error beside an empty message, as the service gives it."""
    context.set_code(grpc.StatusCode.INTERNAL)
    return ForecastResponse()


def abort(context: grpc.ServicerContext) -> ForecastResponse:
    """An error without any message."""
    context.abort(grpc.StatusCode.UNAVAILABLE, "not now")


@needs_h2load
def test_right_answers_count() -> None:
    """A server that answers every request right has a rate and a latency."""
    with serving(lambda _: ANSWER) as port:
        assert h2load.requests_per_s(port, LOAD, REQUESTS, ANSWER) > 0
        assert 0 < h2load.sequential_p50_ms(port, REQUESTS, ANSWER) < 1_000


@needs_h2load
@pytest.mark.parametrize("otherwise", [fail, abort, lambda _: ForecastResponse()])
def test_one_wrong_answer_spoils_the_measurement(
    otherwise: Callable[[grpc.ServicerContext], ForecastResponse],
) -> None:
    """One error or one empty answer among many, all of them HTTP 200, and there is no rate."""
    with serving(otherwise) as port, pytest.raises(h2load.WrongAnswersError):
        h2load.requests_per_s(port, LOAD, REQUESTS, ANSWER)


SERVICE = """
import signal, subprocess, sys
stubborn = "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN); print('up', flush=True); signal.pause()"
child = subprocess.Popen([sys.executable, "-c", stubborn], stdout=subprocess.PIPE)
child.stdout.readline()
print(sys.argv[1], flush=True)
signal.pause()
"""


def test_what_was_started_is_stopped() -> None:
    """A service and its child, which does not want to end, are gone when the body is left."""
    with running((sys.executable, "-c", SERVICE, "ready"), free_ports()) as process:
        family = [process, *process.children(recursive=True)]
    assert len(family) == 2
    assert not any(psutil.pid_exists(each.pid) for each in family)


def test_a_service_that_ends_is_reported_with_its_words() -> None:
    """A service that cannot start fails the benchmark at once, and says why."""
    command = (sys.executable, "-c", "import sys; sys.exit('no such store')")
    with (
        pytest.raises(TargetFailedError, match=r"exit code 1(.|\n)*no such store"),
        running(command, free_ports()),
    ):
        pass


def test_a_ratio_pairs_what_ran_together() -> None:
    """A machine that was slow for one repetition, of both services, does not change their ratio."""

    def measured(*rates: float) -> list[Measurement]:
        return [
            Measurement(requests_per_s=rate, p50_ms=1.0, cpu_us=1.0, busy_elsewhere=0.0) for rate in rates
        ]

    results = {"ours": measured(60, 600, 600), "theirs": measured(10, 100, 100)}
    assert ratio(results, "ours", "theirs") == pytest.approx(6.0)


def test_a_table_of_many_customers_is_one_that_fit_reads(tmp_path: Path) -> None:
    """As many as asked for, in one file, each with a history of its own by the day."""
    fitting.write_table(tmp_path / "sales.parquet", 1_002)
    table = read_table(tmp_path / "sales.parquet")
    assert (len(table), table.frequency, table.values.size) == (1_002, "P1D", 1_002 * fitting.DAYS)
    first, last = table.series("customer-000000").values, table.series("customer-001001").values
    assert first.size == last.size == fitting.DAYS
    assert (first != last).any()


def test_what_a_command_and_its_children_take_is_counted() -> None:
    """Processor time and memory of a child count, and a command that fails has no figures."""
    child = "held = bytearray(200 * 2**20); held[::4096] = b'x' * len(held[::4096]); sum(range(40_000_000))"
    command = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}], check=True)"
    run = fitting.measured("busy", [sys.executable, "-c", command])
    assert run.peak_mib > 200 > run.driver_mib > 1
    assert 0.1 < run.cpu_s < 2 * run.seconds + 1
    with pytest.raises(subprocess.CalledProcessError):
        fitting.measured("wrong", [sys.executable, "-c", "raise SystemExit(3)"])
