"""The loader: once for all who wait, many at a time, and fresh without anybody waiting for it."""

import asyncio
import itertools
import shutil
import threading
from pathlib import Path

import pytest

from forecast_grpc.errors import (
    DeadlineExceeded,
    ModelCorrupt,
    ModelNotFound,
    ModelVersionNotFound,
    Overloaded,
    StoreUnavailable,
)
from forecast_grpc.loading.allowance import MOST_A_ROUND
from forecast_grpc.store import Fetched, FolderStore
from tests.loading.conftest import Bench, MakeBench
from tests.stores import publisher, trend


async def settled(bench: Bench) -> None:
    """Returns when no load and no refresh is under way."""
    while bench.loader.loads_in_flight or bench.loader.refreshes_in_flight:
        await asyncio.sleep(0.001)


async def test_a_herd_makes_one_fetch(make_bench: MakeBench) -> None:
    """200 callers of one cold customer: one fetch, one model in memory."""
    bench = await make_bench()
    bench.publish("a")
    slots = await asyncio.gather(*(bench.loader.load("a") for _ in range(200)))
    assert bench.store.fetches == ["a"]
    assert len({id(slot) for slot in slots}) == 1
    assert bench.loader.lookup("a") is slots[0]


async def test_loads_run_side_by_side_up_to_the_limit(make_bench: MakeBench) -> None:
    """Different customers load at the same time, as many as the limit allows."""
    bench = await make_bench(max_concurrent=4)
    for number in range(12):
        bench.publish(f"c{number}")
    bench.store.gate.clear()
    loads = [asyncio.create_task(bench.loader.load(f"c{number}")) for number in range(12)]
    while bench.store.at_once < 4:
        await asyncio.sleep(0)
    bench.store.gate.set()
    await asyncio.gather(*loads)
    assert bench.store.most_at_once == 4


async def test_a_deadline_ends_the_wait_not_the_load(make_bench: MakeBench) -> None:
    """The caller gets DEADLINE_EXCEEDED, the load goes on, and the next caller finds the model."""
    bench = await make_bench(request_timeout_s=0.01)
    bench.publish("a")
    bench.store.gate.clear()
    with pytest.raises(DeadlineExceeded):
        await bench.loader.load("a")
    assert bench.loader.loads_in_flight == 1
    bench.store.gate.set()
    await settled(bench)
    assert bench.loader.lookup("a") is not None
    assert bench.store.fetches == ["a"]


async def test_a_cancelled_caller_leaves_nothing_behind(make_bench: MakeBench) -> None:
    """1,000 callers that go away: one load, which finishes, and empty tables."""
    bench = await make_bench()
    bench.publish("a")
    bench.store.gate.clear()
    callers = [asyncio.create_task(bench.loader.load("a")) for _ in range(1_000)]
    await asyncio.sleep(0.01)
    for caller in callers:
        caller.cancel()
    await asyncio.gather(*callers, return_exceptions=True)
    bench.store.gate.set()
    await settled(bench)
    assert bench.store.fetches == ["a"]
    assert bench.loader.lookup("a") is not None
    assert bench.loader.loads_in_flight == 0


async def test_too_many_waiting_models_are_refused(make_bench: MakeBench) -> None:
    """One model more than may wait is refused at once; more callers of one that waits are not."""
    bench = await make_bench(max_waiting=2)
    for name in ("a", "b", "c"):
        bench.publish(name)
    bench.store.gate.clear()
    waiting = [asyncio.create_task(bench.loader.load(name)) for name in ("a", "b", "a")]
    await asyncio.sleep(0)
    with pytest.raises(Overloaded) as refused:
        await bench.loader.load("c")
    assert refused.value.retry_after_s
    bench.store.gate.set()
    await asyncio.gather(*waiting)


async def test_a_store_that_does_not_answer_is_unavailable(make_bench: MakeBench) -> None:
    """Beyond the store's time limit: StoreUnavailable, and when to try again."""
    bench = await make_bench(store_timeout_s=0.3)
    bench.publish("a")
    bench.store.gate.clear()
    with pytest.raises(StoreUnavailable) as error:
        await bench.loader.load("a")
    assert error.value.retry_after_s
    bench.store.gate.set()
    assert (await bench.loader.load("a")).key == ("a", None)


async def test_what_is_not_there_is_not_kept(make_bench: MakeBench) -> None:
    """Unknown customers and versions raise each time, take no model's place, and are there once published."""
    bench = await make_bench(not_found_ttl_s=1.0)
    bench.publish("a")
    for _ in range(2):
        with pytest.raises(ModelNotFound):
            await bench.loader.load("nobody")
        with pytest.raises(ModelVersionNotFound):
            await bench.loader.load("a", 9)
    assert (bench.cache.hot_count, bench.cache.warm_count) == (0, 0)
    bench.publish("nobody")
    bench.now[0] += 1.0
    assert (await bench.loader.load("nobody")).key == ("nobody", None)


async def test_strangers_cost_no_load(make_bench: MakeBench) -> None:
    """Whom the store at once knows not to have is not fetched, waits for nobody, and is remembered as others."""
    bench = await make_bench(max_waiting=1, not_found_ttl_s=1.0)
    bench.publish("a")
    bench.store.strangers = {"stranger"}
    bench.store.gate.clear()
    known = asyncio.create_task(bench.loader.load("a"))
    await asyncio.sleep(0)
    for version in (None, 3, None):
        with pytest.raises(ModelNotFound) as error:
            await bench.loader.load("stranger", version)
        assert error.value.metadata == {"customer_id": "stranger"}
    assert bench.loader.remembered_failures == 2
    assert bench.count("loads", outcome="MODEL_NOT_FOUND") == 2
    assert bench.count("negative_hits", reason="MODEL_NOT_FOUND") == 1
    bench.store.gate.set()
    await known
    bench.publish("stranger")
    bench.store.strangers.clear()
    bench.now[0] += 1.0
    assert (await bench.loader.load("stranger")).key == ("stranger", None)
    assert bench.store.fetches == ["a", "stranger"]


async def test_what_is_at_hand_is_not_fetched(make_bench: MakeBench) -> None:
    """It is loaded at once, counted and kept as others, and followed by what is published later."""
    bench = await make_bench()
    bench.store.cached = True
    bench.publish("a", 1.0)
    slot = await bench.loader.load("a")
    assert await bench.loader.load("a", 1) is not slot
    assert bench.loader.lookup("a") is slot
    assert bench.count("loads", outcome="ok") == 2
    assert bench.store.fetches == []
    bench.publish("a", 2.0)
    await bench.loader.refresh("a")
    assert bench.slope("a") == 2.0
    await bench.loader.refresh("a")
    assert bench.count("refreshes", outcome="unchanged") == 1
    assert bench.store.fetches == []


async def test_a_check_is_asked_for_as_another_ends(make_bench: MakeBench) -> None:
    """The last worker has just ended, in this very round of the loop: a new one comes for the model."""
    bench = await make_bench(max_concurrent_refreshes=1, refresh_interval_s=10)
    bench.store.cached = True
    for customer in ("a", "b"):
        bench.publish(customer, 1.0)
        await bench.loader.load(customer)
        bench.publish(customer, 2.0)
    bench.now[0] = 11.0
    assert bench.slope("a") == 1.0
    await asyncio.sleep(0)
    assert bench.slope("b") == 1.0
    async with asyncio.timeout(10):
        await settled(bench)
    assert (bench.slope("a"), bench.slope("b")) == (2.0, 2.0)


async def test_damaged_bytes_at_hand_are_decoded_once(make_bench: MakeBench) -> None:
    """After that they are asked for by their etag, as those that were fetched are."""
    bench = await make_bench(failed_ttl_s=1.0)
    bench.store.cached = True
    bench.store.publish("a", lambda version: b"damaged")
    for _ in range(3):
        with pytest.raises(ModelCorrupt):
            await bench.loader.load("a")
        bench.now[0] += 1.0
    assert (bench.store.fetches, bench.store.sent) == (["a", "a"], [])


async def test_what_is_at_hand_does_not_hold_up_the_loop(make_bench: MakeBench) -> None:
    """Of many at once a few are loaded in a round of the loop; the others have the next rounds, and no thread."""
    bench = await make_bench()
    bench.store.cached = True
    names = [f"c{number}" for number in range(3 * MOST_A_ROUND)]
    for name in names:
        bench.publish(name)
    loads = [asyncio.create_task(bench.loader.load(name)) for name in names]
    loaded = []
    while not all(load.done() for load in loads):
        await asyncio.sleep(0)
        loaded.append(sum(load.done() for load in loads))
    most = max(now - before for before, now in itertools.pairwise([0, *loaded]))
    assert 0 < most <= MOST_A_ROUND
    assert [load.result().key for load in loads] == [(name, None) for name in names]
    assert not bench.store.fetches


async def test_who_waits_for_a_round_learns_what_others_have(make_bench: MakeBench) -> None:
    """Many callers of one customer look once."""
    bench = await make_bench()
    bench.store.cached = True
    bench.publish("a")
    slots = await asyncio.gather(*(bench.loader.load("a") for _ in range(5 * MOST_A_ROUND)))
    assert len({id(slot) for slot in slots}) == 1
    assert not bench.store.fetches


async def test_a_load_under_way_is_not_overtaken(make_bench: MakeBench) -> None:
    """Who asks for a customer whose load is under way gets what that brings, whatever has become of the store."""
    bench = await make_bench()
    bench.publish("a")
    bench.store.gate.clear()
    first = asyncio.create_task(bench.loader.load("a"))
    await asyncio.sleep(0)
    bench.store.strangers = {"a"}
    second = asyncio.create_task(bench.loader.load("a"))
    await asyncio.sleep(0)
    bench.store.gate.set()
    assert await second is await first


async def test_a_new_version_is_served_after_the_interval(make_bench: MakeBench) -> None:
    """The first look-up after the interval still gets the old model, at once; soon after comes the new one."""
    bench = await make_bench(refresh_interval_s=10)
    bench.publish("a", 1.0)
    await bench.loader.load("a")
    bench.publish("a", 2.0)
    bench.now[0] = 9.0
    assert bench.slope("a") == 1.0
    await settled(bench)
    assert bench.slope("a") == 1.0
    bench.now[0] = 11.0
    assert bench.slope("a") == 1.0
    await settled(bench)
    assert bench.slope("a") == 2.0
    assert len(bench.store.fetches) == 2


async def test_an_unchanged_model_is_asked_for_once_an_interval(make_bench: MakeBench) -> None:
    """Any number of look-ups make one check an interval."""
    bench = await make_bench(refresh_interval_s=10)
    bench.publish("a")
    await bench.loader.load("a")
    for _ in range(2):
        bench.now[0] += 11.0
        for _ in range(50):
            bench.loader.lookup("a")
        await settled(bench)
        bench.loader.lookup("a")
    assert len(bench.store.fetches) == 3


async def test_an_unreachable_store_leaves_the_old_model(make_bench: MakeBench) -> None:
    """Stale, but serving; and asked again only after another interval."""
    bench = await make_bench(refresh_interval_s=10)
    bench.publish("a", 1.0)
    await bench.loader.load("a")
    bench.store.failure = StoreUnavailable("down", retry_after_s=1.0)
    bench.now[0] = 11.0
    for _ in range(3):
        assert bench.slope("a") == 1.0
        await settled(bench)
    assert len(bench.store.fetches) == 2
    bench.telemetry.flush()
    assert bench.sink.counters["refreshes", (("outcome", "failed"),)] == 1


async def test_a_fault_in_a_check_is_logged_once_an_interval(make_bench: MakeBench) -> None:
    """An exception that nobody foresaw leaves the old model serving, its traceback in the log, and no storm."""
    bench = await make_bench(refresh_interval_s=10)
    bench.publish("a", 1.0)
    await bench.loader.load("a")
    bench.store.failure = RuntimeError("a fault of the store's library")
    bench.now[0] = 11.0
    for _ in range(3):
        assert bench.slope("a") == 1.0
        await settled(bench)
    assert len(bench.store.fetches) == 2
    bench.telemetry.flush()
    assert bench.sink.counters["refreshes", (("outcome", "failed"),)] == 1
    assert "RuntimeError: a fault of the store's library" in bench.sink.lines[0]


async def test_a_fault_in_a_load_reaches_the_caller(make_bench: MakeBench) -> None:
    """An exception that nobody foresaw comes out, where the engine logs it, and the next caller tries anew."""
    bench = await make_bench()
    bench.publish("a")
    bench.store.failure = RuntimeError("a fault of the store's library")
    with pytest.raises(RuntimeError):
        await bench.loader.load("a")
    bench.store.failure = None
    assert (await bench.loader.load("a")).key == ("a", None)


async def test_a_damaged_new_version_leaves_the_old_model(make_bench: MakeBench) -> None:
    """Damaged bytes never take a good model's place; they are fetched once, and the repair is seen."""
    bench = await make_bench(refresh_interval_s=10)
    bench.publish("a", 1.0)
    await bench.loader.load("a")
    bench.store.publish("a", lambda _version: b"damaged")
    for _ in range(3):
        bench.now[0] += 11.0
        bench.loader.lookup("a")
        await settled(bench)
        assert bench.slope("a") == 1.0
    assert bench.store.sent == ["a", "a"]
    assert bench.count("refreshes", outcome="damaged") == 3
    assert bench.sink.lines[0].count("model_refreshed") == 1
    assert bench.count("stale_serves") == 5
    bench.publish("a", 3.0)
    bench.now[0] += 11.0
    bench.loader.lookup("a")
    await settled(bench)
    assert bench.slope("a") == 3.0
    assert bench.count("stale_serves") == 6


async def test_a_rolled_back_version_is_served_after_the_interval(make_bench: MakeBench) -> None:
    """Making an older version active again is seen as a new one is."""
    bench = await make_bench(refresh_interval_s=10)
    bench.publish("a", 1.0)
    bench.publish("a", 2.0)
    await bench.loader.load("a")
    bench.store.activate("a", 1)
    bench.now[0] = 11.0
    bench.loader.lookup("a")
    await settled(bench)
    assert bench.slope("a") == 1.0


async def test_a_deleted_model_goes_and_can_come_back(make_bench: MakeBench) -> None:
    """After the interval a deleted customer is unknown; published again, it is served."""
    bench = await make_bench(refresh_interval_s=10)
    bench.publish("a", 1.0)
    await bench.loader.load("a")
    shutil.rmtree(bench.store.root / "a")
    bench.now[0] = 11.0
    bench.loader.lookup("a")
    await settled(bench)
    assert bench.loader.lookup("a") is None
    bench.publish("a", 5.0)
    await bench.loader.load("a")
    assert bench.slope("a") == 5.0


async def test_a_pinned_version_stays_what_it_is(make_bench: MakeBench) -> None:
    """A version that a request names is kept beside the active one, and never checked again."""
    bench = await make_bench(refresh_interval_s=10)
    bench.publish("a", 1.0)
    bench.publish("a", 2.0)
    active, pinned = await bench.loader.load("a"), await bench.loader.load("a", 1)
    assert (active.model.metadata.model_version, pinned.model.metadata.model_version) == (2, 1)
    assert bench.loader.lookup("a", 2) is active
    bench.now[0] = 100.0
    assert bench.loader.lookup("a", 1) is pinned
    await settled(bench)
    assert bench.store.fetches == ["a", "a"]


async def test_a_slow_folder_is_read_by_as_many_threads_as_it_was_given(tmp_path: Path) -> None:
    """More reads at the same time than the event loop has threads for on two cores."""
    meeting = threading.Barrier(24)

    class SlowFolder(FolderStore):
        """A folder whose reads wait until 24 of them are under way."""

        def _fetch(self, customer_id: str, version: int | None, if_none_match: str | None) -> Fetched | None:
            meeting.wait(timeout=30)
            return super()._fetch(customer_id, version, if_none_match)

    store = SlowFolder(tmp_path, max_concurrent=24)
    FolderStore(tmp_path).publish("a", publisher(trend(1.0)))
    fetched = await asyncio.gather(*(store.fetch("a") for _ in range(24)))
    assert all(fetched)


async def test_misses_evictions_and_stages_are_counted(make_bench: MakeBench) -> None:
    """Why a model was not there, what was dropped and how old it was, and where the time of a load went."""
    bench = await make_bench(max_warm_bytes=2_000)
    for name in "ab":
        bench.publish(name)
    await asyncio.gather(bench.loader.load("a"), bench.loader.load("a"))
    bench.now[0] = 7.0
    await bench.loader.load("b")
    await bench.loader.load("a")
    misses = {cause: bench.count("model_misses", cause=cause) for cause in ("new", "loading", "dropped")}
    assert misses == {"new": 2, "loading": 1, "dropped": 1}
    assert bench.count("warm_evictions") == 2
    assert bench.sink.observations["eviction_age_s", ()] == [7.0, 0.0]
    for stage in ("wait", "fetch", "decode"):
        assert len(bench.sink.observations["load_stage_ms", (("stage", stage),)]) == 3
