"""What is remembered of models that cannot be had, and what is not."""

import asyncio

import pytest

from forecast_grpc.errors import ForecastError, ModelCorrupt, ModelNotFound, StoreUnavailable
from forecast_grpc.loading.fetching import DOWN_AFTER
from forecast_grpc.loading.loader import PATIENCE_S
from tests.loading.conftest import Bench, MakeBench
from tests.loading.test_loader import settled


async def outcome(bench: Bench, customer: str) -> str:
    """`ok`, or the reason of the error that a caller gets."""
    try:
        await bench.loader.load(customer)
    except ForecastError as exc:
        return exc.reason
    return "ok"


async def test_an_unknown_customer_costs_one_request_to_the_store(make_bench: MakeBench) -> None:
    """Within the time any number of callers are refused without the store; a publish is seen right after it."""
    bench = await make_bench(not_found_ttl_s=1.0)
    assert {await outcome(bench, "a") for _ in range(100)} == {"MODEL_NOT_FOUND"}
    assert bench.store.fetches == ["a"]
    assert bench.count("negative_hits", reason="MODEL_NOT_FOUND") == 99
    bench.publish("a")
    bench.now[0] = 0.99
    assert await outcome(bench, "a") == "MODEL_NOT_FOUND"
    bench.now[0] = 1.0
    assert await outcome(bench, "a") == "ok"
    assert bench.loader.remembered_failures == 0


async def test_unknown_customers_drop_no_model(make_bench: MakeBench) -> None:
    """Thousands of unknown customers on a full cache: what was there stays, and few of them are remembered."""
    bench = await make_bench(max_warm_bytes=10_000, max_remembered_failures=50)
    names = [f"c{number}" for number in range(10)]
    for name in names:
        bench.publish(name)
        await bench.loader.load(name)
    kept = [name for name in names if bench.loader.lookup(name)]
    assert 0 < len(kept) < len(names)
    for start in range(0, 2_000, 100):
        await asyncio.gather(*(outcome(bench, f"nobody-{start + each}") for each in range(100)))
    assert [name for name in names if bench.loader.lookup(name)] == kept
    assert bench.loader.remembered_failures == 50


async def test_damaged_bytes_are_fetched_once(make_bench: MakeBench) -> None:
    """After the time the store is asked whether the bytes are still those; only others are fetched and decoded."""
    bench = await make_bench(failed_ttl_s=1.0)
    bench.store.publish("a", lambda _version: b"damaged")
    for _ in range(3):
        assert await outcome(bench, "a") == "MODEL_CORRUPT"
        assert await outcome(bench, "a") == "MODEL_CORRUPT"
        bench.now[0] += 1.0
    assert bench.store.fetches == ["a", "a", "a"]
    assert bench.store.sent == ["a"]
    bench.publish("a")
    bench.now[0] += 1.0
    assert await outcome(bench, "a") == "ok"


async def test_damaged_bytes_that_are_gone_are_not_found(make_bench: MakeBench) -> None:
    """A damaged model that is replaced by nothing is unknown from then on."""
    bench = await make_bench(failed_ttl_s=1.0)
    bench.store.publish("a", lambda _version: b"damaged")
    assert await outcome(bench, "a") == "MODEL_CORRUPT"
    (bench.store.root / "a" / "model.safetensors").unlink()
    bench.now[0] = 1.0
    assert await outcome(bench, "a") == "MODEL_NOT_FOUND"


async def test_a_store_that_fails_is_asked_again_at_once(make_bench: MakeBench) -> None:
    """A store that does not answer is not remembered: the first request after it is back is served."""
    bench = await make_bench()
    bench.publish("a")
    bench.store.failure = StoreUnavailable("down", retry_after_s=1.0)
    for _ in range(3):
        assert await outcome(bench, "a") == "STORE_UNAVAILABLE"
    bench.store.failure = None
    assert await outcome(bench, "a") == "ok"


async def test_each_caller_gets_an_error_of_its_own(make_bench: MakeBench) -> None:
    """A remembered error does not gather the tracebacks of all who got it, nor hold on to its cause."""
    bench = await make_bench()
    errors = []
    for _ in range(3):
        with pytest.raises(ModelNotFound) as caught:
            await bench.loader.load("a")
        errors.append(caught.value)
    assert len({id(error) for error in errors}) == 3
    assert errors[1].__cause__ is errors[2].__cause__ is None
    assert [error.message for error in errors] == [errors[0].message] * 3
    assert errors[1].metadata == errors[0].metadata


async def test_while_the_store_is_down_nobody_waits_long(make_bench: MakeBench) -> None:
    """A silent store: once that is clear, callers fail within a moment, and those in the queue all at once.

    The loads under way are what notices that it is back; then the next callers are served.
    """
    bench = await make_bench(max_concurrent=2, store_timeout_s=0.02)
    for name in "abc":
        bench.publish(name)
    bench.store.gate.clear()
    queue = [outcome(bench, f"queued-{number}") for number in range(1_000)]
    assert set(await asyncio.gather(*queue)) == {"STORE_UNAVAILABLE"}
    # Those that had no turn yet did not take the time limit of the store one after the other.
    assert len(bench.store.fetches) < 2 * DOWN_AFTER + 2
    assert await outcome(bench, "a") == "STORE_UNAVAILABLE"
    bench.store.gate.set()
    await settled(bench)  # Whoever asks for the same model now would share their end, good or not.
    assert [await outcome(bench, name) for name in "abc"] == ["ok", "ok", "ok"]
    await settled(bench)
    assert bench.loader.loads_in_flight == 0


async def test_who_waits_when_the_store_comes_back_is_served(make_bench: MakeBench) -> None:
    """What is short for callers while it is down is no limit once it has answered somebody else."""
    bench = await make_bench()
    bench.publish("a")
    bench.store.failure = StoreUnavailable("down", retry_after_s=1.0)
    for number in range(DOWN_AFTER):
        assert await outcome(bench, f"c{number}") == "STORE_UNAVAILABLE"
    bench.store.failure = None
    bench.store.gate.clear()
    waiting = asyncio.create_task(outcome(bench, "a"))
    while not bench.store.at_once:
        await asyncio.sleep(0)
    assert bench.loader.store_down
    bench.store.strangers.add("nobody")
    assert await outcome(bench, "nobody") == "MODEL_NOT_FOUND"
    _, pending = await asyncio.wait([waiting], timeout=2 * PATIENCE_S)
    assert pending == {waiting}
    bench.store.gate.set()
    assert await waiting == "ok"


async def test_a_damaged_model_does_not_count_as_an_outage(make_bench: MakeBench) -> None:
    """Errors about one model say that the store answers."""
    bench = await make_bench(failed_ttl_s=0)
    bench.store.failure = ModelCorrupt("damaged")
    for number in range(2 * DOWN_AFTER):
        assert await outcome(bench, f"c{number}") == "MODEL_CORRUPT"
    assert not bench.loader.store_down
