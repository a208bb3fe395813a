"""Who asks, and what to set: the commands against a server with the real wire, and the advice on known traffic."""

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from forecast_grpc.cli._access import Access
from forecast_grpc.cli._advice import HEADROOM, advise, duration, size, too_little
from forecast_grpc.v1 import model_pb2 as pb
from tests.cli.conftest import RunCommand
from tests.cli.fake_models import FakeModels, serving_models

MIB = 2**20


@pytest.fixture
def models(store: Path) -> Iterator[FakeModels]:
    """The service on the store."""
    with serving_models(store) as running:
        yield running


def ask(models: FakeModels, requests: int, customers: int) -> None:
    """So many requests in each replica, each customer's one after the other's, all in memory but the first."""
    for replica, accesses in enumerate(models.accesses):
        for number in range(requests):
            name = f"customer-{replica}-{number % customers}"
            accesses.record(name, 2_000, hit=number >= customers)


# --- models top ---


def test_top(run: RunCommand, models: FakeModels) -> None:
    """The customers of all replicas together, the first one most of all, with their shares."""
    for name, count in (("alpha", 6), ("beta", 3), ("gamma", 1)):
        for number in range(count):
            models.accesses[number % 2].record(name, 1_000, hit=True)
    done = run("models", "top", "--address", models.address)
    assert [line.split() for line in done.out.splitlines()] == [
        ["customer", "requests", "share"],
        ["alpha", "6", "60.00%"],
        ["beta", "3", "30.00%"],
        ["gamma", "1", "10.00%"],
    ]
    objects = run("models", "top", "--limit", "2", "--json", "--address", models.address).objects
    assert objects == [
        {"customer_id": "alpha", "requests": 6.0, "share": 0.6},
        {"customer_id": "beta", "requests": 3.0, "share": 0.3},
    ]


def test_a_silent_replica_is_named(run: RunCommand, models: FakeModels) -> None:
    """What is missing is said, on standard error."""
    models.silence("r1")
    for command in (("models", "top"), ("plan",)):
        assert "1 replicas did not answer" in run(*command, "--address", models.address).err


# --- plan ---


def test_too_little_traffic(run: RunCommand, models: FakeModels) -> None:
    """Without traffic, and with a few requests, nothing is recommended, and the command says why."""
    done = run("plan", "--address", models.address)
    assert done.code == 0
    assert done.out.startswith("Too little has been seen to recommend anything: 0 requests")
    ask(models, requests=60, customers=20)
    done = run("plan", "--address", models.address)
    assert "80 requests of customers who had asked before" in done.out
    (found,) = run("plan", "--json", "--address", models.address).objects
    assert (found["recommended"], found["requests"]) == (None, 120.0)
    assert found["doubts"].startswith("Too little")


def test_plan(run: RunCommand, models: FakeModels, monkeypatch: pytest.MonkeyPatch) -> None:
    """The table, what the present room would do, and a sentence for each setting."""
    ask(models, requests=3_000, customers=100)
    monkeypatch.setattr("forecast_grpc.cli._advice.ENOUGH_SECONDS", 0.0)
    done = run("plan", "--address", models.address)
    lines = done.out.splitlines()
    assert "of about 200 customers, in 2 replicas" in lines[0]
    assert lines[1].startswith("96.7% of them found their model in memory.")
    assert lines[3].split("  ")[0] == "room in each replica"
    cells = [line.split() for line in lines[4:14]]
    assert cells[-1][:2] == ["256", "KiB"]
    assert cells[-1][-2:] == ["96.7%", "0"] or float(cells[-1][-1].replace(",", "")) > 0
    assert [line.partition("=")[0] for line in lines[15:]][:2] == ["num_replicas", "max_warm_bytes"]
    (found,) = run("plan", "--json", "--address", models.address).objects
    assert found["recommended"]["hit_rate"] == pytest.approx(0.967, abs=0.01)
    assert found["hit_rates"][-1] == {
        "bytes_per_replica": 262_144,
        "hit_rate": pytest.approx(0.967, abs=0.001),
    }


def test_plan_draws(run: RunCommand, models: FakeModels, tmp_path: Path) -> None:
    """In the terminal and into a file; with --json standard output stays a program's."""
    ask(models, requests=300, customers=50)
    path = tmp_path / "plan.svg"
    done = run("plan", "--json", "--plot", "--plot-file", path, "--address", models.address)
    assert len(done.objects) == 1
    assert "by the room in each replica" in done.err
    assert "┃ recommended" not in done.err
    assert path.read_text().startswith("<?xml")
    plain = run("plan", "--plot", "--address", models.address)
    assert "│ now" in plain.out


def test_plan_cannot_draw(run: RunCommand, models: FakeModels, tmp_path: Path) -> None:
    """One sentence, and an exit code: before the service is asked where the name is wrong."""
    ask(models, requests=300, customers=50)
    wrong = run("plan", "--plot-file", tmp_path / "plan.gif")
    assert (wrong.code, "goes into a .png or .svg file" in wrong.err) == (2, True)
    nowhere = run("plan", "--plot-file", tmp_path / "no" / "plan.png", "--address", models.address)
    assert (nowhere.code, "cannot be written" in nowhere.err) == (1, True)


@pytest.mark.parametrize(("library", "option"), [("matplotlib", "--plot-file=a.png"), ("plotext", "--plot")])
def test_plan_needs_a_library(
    run: RunCommand, models: FakeModels, monkeypatch: pytest.MonkeyPatch, library: str, option: str
) -> None:
    """Where it is not installed: which extra brings it."""
    for name in [each for each in sys.modules if each.partition(".")[0] == library]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, library, None)
    ask(models, requests=300, customers=50)
    done = run("plan", option, "--address", models.address)
    assert (done.code, "forecast-grpc[plot]" in done.err) == (1, True)
    importlib.invalidate_caches()


# --- the advice ---


def replica(**changes: float) -> pb.ReplicaAccess:
    """A replica with a thousand customers of 2 MiB each, on a machine of 4 cores and 16 GiB."""
    usual = pb.ReplicaAccess(
        replica="r",
        watched_seconds=3_600,
        request_count=36_000,
        miss_count=3_600,
        core_seconds=360,
        busiest_request_rate=100,
        busiest_cores=1.0,
        customer_count=1_000,
        customer_bytes=1_000 * 2 * MIB,
        measured_count=20_000,
        sampling_rate=1.0,
        hot_count=100,
        hot_bytes=200 * MIB,
        warm_bytes=100 * MIB,
        max_hot_models=100,
        max_warm_bytes=100 * MIB,
        process_bytes=500 * MIB,
        node="n",
        node_cores=4,
        node_memory_bytes=16 * 2**30,
    )
    usual.MergeFrom(pb.ReplicaAccess(**changes))  # type: ignore[arg-type]
    return usual


def access(*replicas: pb.ReplicaAccess) -> Access:
    """Traffic of which 400 MiB answer half, 1,000 MiB nine tenths and 2,000 MiB 96 %: more there is not."""
    points = ((400, 0.5), (1_000, 0.9), (2_000, 0.96))
    return Access.of(
        pb.GetAccessStatisticsResponse(
            hit_rates_by_bytes=[
                pb.CacheHitRate(size=mib * MIB, hit_rate=rate) for mib, rate in ((1, 0.01), *points)
            ],
            hit_rates_by_models=[
                pb.CacheHitRate(size=mib // 2, hit_rate=rate) for mib, rate in ((2, 0.01), *points)
            ],
            first_request_share=0.04,
            replicas=replicas,
        )
    )


def test_as_much_memory_as_is_worth_it() -> None:
    """Half a point below the best of all sizes, a quarter more for growth, less what the hot models take."""
    one = access(replica(busiest_cores=0.5))
    advice = advise(one, None)
    # 95.5 % need eleven twelfths of the way from 1,000 to 2,000 MiB; nine tenths of that many hits 471 models.
    assert advice.max_hot_models == pytest.approx(471, abs=2)
    needed = (1_000 + 1_000 * 11 / 12) * HEADROOM - 2 * advice.max_hot_models
    assert advice.max_warm_bytes / MIB == pytest.approx(needed, abs=2)
    assert advice.hit_rate == pytest.approx(0.96)
    assert advice.num_replicas == 1
    assert "Room for everybody would find those of 96.0%" in " ".join(advice.reasons)


def test_as_many_replicas_as_the_busiest_minute_needs() -> None:
    """A replica is to take 60 % of a core; of more replicas each needs less memory."""
    two = advise(access(replica(busiest_cores=1.0)), None)
    assert two.num_replicas == 2
    assert "1.00 cores for 100 requests a second, 10 ms of a core each" in two.reasons[0]
    one = advise(access(replica(busiest_cores=0.5)), None)
    assert two.max_warm_bytes == pytest.approx(one.max_warm_bytes / 2, abs=2 * MIB)
    assert two.hit_rate == pytest.approx(one.hit_rate)


def test_more_cores_than_there_are() -> None:
    """It says so."""
    advice = advise(access(replica(busiest_cores=1.0), replica(busiest_cores=2.0)), None)
    assert advice.num_replicas == 5
    assert "that takes more machines" in advice.reasons[0]


def test_a_wanted_hit_rate() -> None:
    """The smallest size that has it; out of reach of any size: that, and all that can be had."""
    one = access(replica(busiest_cores=0.5))
    modest = advise(one, 0.5)
    total = modest.max_warm_bytes / MIB + 2 * modest.max_hot_models
    assert total == pytest.approx(400 * HEADROOM, abs=100)
    assert modest.hit_rate >= 0.5
    assert modest.max_warm_bytes < advise(one, 0.9).max_warm_bytes < advise(one, None).max_warm_bytes
    impossible = advise(one, 0.99)
    assert impossible.hit_rate == pytest.approx(0.96)
    assert "99.0% is out of reach of any size: 4.0% of the requests were the first" in impossible.reasons[2]


def test_more_memory_than_there_is() -> None:
    """Three quarters of the machine's memory, shared by the replicas there, less what a process takes itself."""
    small = replica(busiest_cores=1.0, node_memory_bytes=2**30)
    advice = advise(access(small), None)
    room = 2**30 * 3 // 4 // 2 - 200 * MIB
    # Half of it at most is for hot models.
    assert advice.max_hot_models == room // 2 // (2 * MIB)
    assert advice.max_warm_bytes + 2 * MIB * advice.max_hot_models == pytest.approx(room, abs=3 * MIB)
    assert "machines would do" in advice.reasons[1]
    assert advice.hit_rate == pytest.approx(0.46, abs=0.01)


def test_what_is_enough_stays() -> None:
    """Settings that hold all that is needed are recommended as they are."""
    roomy = replica(busiest_cores=0.5, max_warm_bytes=4_000 * MIB, max_hot_models=1_000)
    advice = advise(access(roomy), None)
    assert (advice.max_warm_bytes, advice.max_hot_models) == (4_000 * MIB, 1_000)
    assert "as it is" in advice.reasons[1]
    assert "as it is" in advice.reasons[3]


def test_what_is_too_little() -> None:
    """Fewer than a thousand measured requests, or less than a minute."""
    assert too_little(access(replica())) == ""
    few, short = replica(), replica()
    few.measured_count, short.watched_seconds = 999, 59
    for each in (few, short):
        assert too_little(access(each)).startswith("Too little")


def test_words_for_people() -> None:
    """Sizes and times with units that fit."""
    assert [size(nbytes) for nbytes in (0, 1_000, 2_048, 150 * 1_024, 3 * MIB, 1_500 * MIB, 2**35)] == [
        "0 B", "1000 B", "2 KiB", "150 KiB", "3 MiB", "1.46 GiB", "32 GiB"
    ]  # fmt: skip
    assert [duration(seconds) for seconds in (5, 119.6, 3_600)] == ["5 s", "120 s", "60 minutes"]
