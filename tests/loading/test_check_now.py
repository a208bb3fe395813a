"""Checks that somebody asked for: what they find counts, whatever else is under way."""

import asyncio

from forecast_grpc.errors import ModelNotFound, StoreUnavailable
from forecast_grpc.records import LoadCause
from forecast_grpc.telemetry import loading_for
from tests.loading.conftest import Bench, MakeBench


async def kept_back(bench: Bench) -> asyncio.Event:
    """Returns when the store has been read, with what lets the answer go; later answers are not kept back."""
    while not bench.store.kept:
        await asyncio.sleep(0)
    bench.store.keep_back = False
    return bench.store.kept[0]


async def test_a_check_does_not_wait_for_the_interval(make_bench: MakeBench) -> None:
    """After it the model in memory is the one of the store, however young the one before was."""
    bench = await make_bench(refresh_interval_s=1_000)
    bench.publish("a", 1.0)
    slot = await bench.loader.load("a")
    assert slot.loaded_for is LoadCause.REQUEST
    bench.publish("a", 2.0)
    bench.now[0] = 5.0
    await bench.loader.refresh("a")
    assert bench.slope("a") == 2.0
    assert (slot.loaded_at, slot.checked_at, slot.loaded_for) == (5.0, 5.0, LoadCause.REFRESH)
    bench.now[0] = 6.0
    await bench.loader.refresh("a")
    assert (slot.loaded_at, slot.checked_at) == (5.0, 6.0)


async def test_a_check_under_way_has_no_say(make_bench: MakeBench) -> None:
    """A check that asked the store before, and is answered after, does not bring the old version back."""
    bench = await make_bench(refresh_interval_s=10)
    bench.publish("a", 1.0)
    await bench.loader.load("a")
    bench.publish("a", 2.0)
    bench.now[0] = 11.0
    bench.store.keep_back = True
    bench.loader.lookup("a")
    answer = await kept_back(bench)
    bench.store.activate("a", 1)
    bench.now[0] = 12.0
    await bench.loader.refresh("a")
    assert bench.slope("a") == 1.0
    answer.set()
    while bench.loader.refreshes_in_flight:
        await asyncio.sleep(0)
    assert bench.slope("a") == 1.0


async def test_a_load_under_way_is_checked_too(make_bench: MakeBench) -> None:
    """A model that was on its way when the store changed is the new one once the check is done."""
    bench = await make_bench()
    bench.publish("a", 1.0)
    bench.store.keep_back = True
    load = asyncio.create_task(bench.loader.load("a"))
    answer = await kept_back(bench)
    bench.publish("a", 2.0)
    check = asyncio.create_task(bench.loader.refresh("a"))
    await asyncio.sleep(0)
    answer.set()
    await asyncio.gather(load, check)
    assert bench.slope("a") == 2.0


async def test_a_remembered_failure_is_forgotten(make_bench: MakeBench) -> None:
    """A customer whom the store did not have a moment ago is asked for again."""
    bench = await make_bench(not_found_ttl_s=1_000)
    try:
        await bench.loader.load("a")
    except ModelNotFound:
        bench.publish("a", 1.0)
    await bench.loader.refresh("a")
    assert bench.loader.peek("a") is None
    await bench.loader.load("a")
    assert bench.slope("a") == 1.0


async def test_what_fails_is_in_the_journal(make_bench: MakeBench) -> None:
    """The last failure of a customer, with what the model was to be loaded for; a success does not erase it."""
    bench = await make_bench()
    journal = bench.telemetry.journal
    loading_for.set(LoadCause.WARM)
    try:
        await bench.loader.load("a")
    except ModelNotFound:
        failure = journal.last_failure("a")
    assert failure is not None
    assert (failure.cause, failure.problem.reason) == (LoadCause.WARM, "MODEL_NOT_FOUND")
    bench.publish("a", 1.0)
    await bench.loader.refresh("a")
    slot = await bench.loader.load("a")
    assert slot.loaded_for is LoadCause.WARM
    assert journal.last_failure("a") == failure
    bench.store.failure = StoreUnavailable("Away.")
    await bench.loader.refresh("a")
    failure = journal.last_failure("a")
    assert failure is not None
    assert (failure.cause, failure.problem.reason) == (LoadCause.REFRESH, "STORE_UNAVAILABLE")
    assert journal.last_failure("b") is None


async def test_looking_is_not_using(make_bench: MakeBench) -> None:
    """`peek` finds what is in memory and leaves it as it was."""
    bench = await make_bench()
    bench.publish("a")
    slot = await bench.loader.load("a")
    before = (slot.uses, slot.used_at)
    bench.now[0] = 1_000.0
    assert bench.loader.peek("a") is slot
    assert (slot.uses, slot.used_at) == before
    assert bench.store.fetches == ["a"]
