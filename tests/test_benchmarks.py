"""What makes a benchmark's figures worth reading: wrong answers do not count, and nothing is left running."""

import json
import re
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import psutil
import pytest

from benchmarks import capacity, comparison, drawing, fitting, growth, hops, rivals
from benchmarks.generator import WrongAnswersError, load
from benchmarks.measuring import Measurement, measure, ratio
from benchmarks.processes import TargetFailedError, free_ports, running
from benchmarks.targets import asked, spread
from benchmarks.workload import FORECAST
from forecast_grpc.fit import read_table
from forecast_grpc.v1.forecast_pb2 import ForecastRequest, ForecastResponse
from tests.load import ANSWER, Context, Server, program, serving
from tests.service import eventually

PEERS = Path(__file__).resolve().parent.parent / "benchmarks" / "peers"

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


def measurement(rate: float) -> Measurement:
    """One at this rate, everything else being one."""
    ones = dict.fromkeys(("p50", "p90", "p99", "p99_9"), 1.0)
    return Measurement(
        requests_per_s=rate,
        loaded_ms=ones,
        half_rate_ms=ones,
        alone_p50_ms=1.0,
        cpu_us={"replica": 1e6 / rate, "client": 1.0},
        memory_mib=1.0,
        busy_elsewhere=0.0,
        lateness_p99_ms=1.0,
    )


def test_a_ratio_pairs_what_ran_together() -> None:
    """A machine that was slow for one repetition, of both services, does not change their ratio."""
    results = {
        "ours": [measurement(rate) for rate in (60, 600, 600)],
        "theirs": [measurement(rate) for rate in (10, 100, 100)],
    }
    assert ratio(results, "ours", "theirs") == pytest.approx(6.0)


def test_the_comparisons_tables_and_plot_have_every_service(tmp_path: Path) -> None:
    """Medians of what was measured, for people and for programs."""
    results = {name: [measurement(rate) for rate in (1_000, 3_000, 2_000)] for name in comparison.NAMES}
    found = comparison.document(results, {})
    assert json.loads(json.dumps(found))["medians"][comparison.PRODUCT]["requests_per_s"] == 2_000
    rows = comparison.markdown(found).splitlines()
    assert [row for row in rows if row.startswith(f"| {comparison.PRODUCT} | 2,000 | 1.00 |")]
    assert [row for row in rows if row.startswith(f"| {comparison.PRODUCT} | 500 | 0 | 0 | 1 |")]
    drawing.bars(found["medians"], tmp_path / "bars.svg")
    assert all(name in (tmp_path / "bars.svg").read_text() for name in comparison.NAMES)


def test_what_grows_is_shown_a_table_and_a_curve_each(tmp_path: Path) -> None:
    """Each sweep has a table with a row for each size, and its two curves in the picture."""
    points = [
        growth.Point(sweep=sweep, line=line, x=x, forecasts_per_s=1_000.0 / x, p50_ms=x, p99_ms=2.0 * x)
        for sweep in ("observations", "steps")
        for line in ("trend", "theta")
        for x in (1, 10, 100)
    ]
    text = growth.markdown({"points": [asdict(point) for point in points]})
    assert "| observations | trend | theta |" in text
    assert text.count("| 100 | 10/s, 100.0 ms | 10/s, 100.0 ms |") == 2
    growth.draw(points, tmp_path / "growth.svg")
    assert "forecasts a second" in (tmp_path / "growth.svg").read_text()


def test_capacity_is_shown_by_replicas_and_hops() -> None:
    """A row for each number of replicas, the ratio of the rates, and the steady load with its quantiles."""
    results = {"1 of 2": [measurement(1_000)] * 3, "2 of 2": [measurement(1_500)] * 3}
    times = {"p50": 1.0, "p90": 2.0, "p99": 4.0, "p99_9": 8.0, "max": 9.0}
    last = {"latency_ms": times, "settings": {"rate": 500.0}, "seconds": 300.0}
    text = capacity.markdown(capacity.document(results, {"as it comes": last}, {}))
    assert "| 2 | 1,500 |" in text
    assert "Two replicas to one: 1.50." in text
    assert "One replica as it comes at half of its capacity, 500 requests" in text
    assert "p99 is 4.0 times the p50" in text


def test_answers_for_many_customers_are_held_to_their_length(tmp_path: Path) -> None:
    """A load on customers with names of one length counts their answers, and nothing shorter."""
    program()

    async def to_whom_it_concerns(
        _server: Server, _request: ForecastRequest, context: Context
    ) -> ForecastResponse:
        customer = str(dict(context.invocation_metadata() or ())["multiplexed_model_id"])
        return ForecastResponse(customer_id=customer, forecast=FORECAST)

    with serving(to_whom_it_concerns) as server:
        target = asked("many", port_of(server), psutil.Process(), FORECAST, tmp_path)
        names = ["spread-0", "spread-1", "spread-2"]
        assert load(spread(target, names).options, requests=60)["outcomes"] == {"OK": 60}
        assert {*names} < set(server.asked)
        with pytest.raises(WrongAnswersError):
            load(spread(target, ["spread-0", "other-one"]).options, requests=60)


async def every_tenth_otherwise(
    server: Server, _request: ForecastRequest, _context: Context
) -> ForecastResponse:
    """Every tenth answer is empty."""
    return ANSWER if sum(server.asked.values()) % 10 else ForecastResponse()


def test_one_wrong_answer_spoils_the_measurement(tmp_path: Path) -> None:
    """A service that answers right is measured; one that does not always has no rate at all."""
    program()
    with serving() as server:
        target = asked("right", port_of(server), psutil.Process(), FORECAST, tmp_path)
        found = measure(target, 0.2)
    assert found.requests_per_s > 0
    assert found.cpu_us["client"] > 0
    with serving(every_tenth_otherwise) as server:
        target = asked("wrong", port_of(server), psutil.Process(), FORECAST, tmp_path)
        with pytest.raises(WrongAnswersError, match="WRONG"):
            measure(target, 0.2)


def test_a_service_that_answers_otherwise_is_not_measured(tmp_path: Path) -> None:
    """The answer is held to what it has to be before anything is timed."""
    with serving() as server, pytest.raises(TargetFailedError, match="answers"):
        asked("other", port_of(server), psutil.Process(), FORECAST[1:], tmp_path)


def port_of(server: Server) -> int:
    """Where it listens."""
    return int(server.address.rpartition(":")[2])


def test_processor_time_is_told_by_what_a_process_is_there_for() -> None:
    """Each of a service's processes has a kind, by its command line; a single process is a replica."""
    child = "import time; print('up', flush=True); sum(range(10_000_000)); time.sleep(60)"
    with subprocess.Popen(
        [sys.executable, "-c", child, "ray::ServeReplica"], stdout=subprocess.PIPE
    ) as started:
        assert started.stdout is not None
        started.stdout.readline()
        process = psutil.Process(started.pid)
        assert hops.kind(process) == "replica"
        assert eventually(lambda: hops.processor_s(process)["replica"] > 0.1)
        assert hops.memory_mib(process) > 1
        started.kill()


def test_each_peer_pins_all_that_it_installs() -> None:
    """A requirements file a peer, every line an exact version, no address of an index."""
    for peer in ("bare", *rivals.PORTS):
        lines = (PEERS / peer / "requirements.txt").read_text().splitlines()
        pins = [line for line in lines if not line.startswith("#")]
        assert len(pins) > 4
        assert all(re.fullmatch(r"[\w.-]+==[\w.]+", pin) for pin in pins)


@pytest.mark.skipif(
    not (PEERS.parent.parent / ".tools" / "peers" / "bare").exists(), reason="no peers installed: make bench"
)
@pytest.mark.parametrize("peer", rivals.PORTS)
def test_a_peer_answers_right_in_its_own_environment(peer: str) -> None:
    """The peer's own stub gets the tutorial's forecast from it, and the generator the same answer every time."""
    with rivals.rival(peer, peer) as target:
        assert load(target.options, requests=50)["outcomes"] == {"OK": 50}


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
