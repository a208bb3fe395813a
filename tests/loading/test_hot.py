"""The hot set on Ray's own multiplexer, in a process without a cluster."""

import asyncio
import gc
import shutil
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest
from ray import serve
from ray.serve import context, multiplex

from forecast_grpc.domain import CacheTier
from forecast_grpc.errors import ModelNotFound
from forecast_grpc.loading import Acquired, HotModel, HotSet
from forecast_grpc.loading.hot import PUSH_INTERVAL_S, SWAPS_PER_S
from tests.loading.conftest import Bench, MakeBench
from tests.loading.test_loader import settled

MakeHot = Callable[[Bench, int], Awaitable["Hot"]]


class Hot:
    """A hot set and the multiplexer behind it."""

    def __init__(self, bench: Bench, limit: int, *, clock: Callable[[], float] = time.monotonic) -> None:
        @serve.multiplexed(max_num_models_per_replica=limit)  # type: ignore[untyped-decorator]
        async def get_model(customer_id: str) -> HotModel:
            self.bodies += 1
            return self.set.admit(customer_id)

        self.bodies = 0
        """How often the multiplexer entered the loader's body."""
        self.set = HotSet(
            loader=bench.loader,
            cache=bench.cache,
            telemetry=bench.telemetry,
            get_model=get_model,
            clock=clock,
        )
        self._function: Any = get_model

    @property
    def multiplexer(self) -> Any:
        """Ray's `_ModelMultiplexWrapper`."""
        return getattr(self._function.__wrapped__, "__serve_multiplex_wrapper")


@contextmanager
def inside_a_replica() -> Iterator[None]:
    """What the multiplexer asks of the replica that it runs in; without a controller, which it would start."""
    ray_multiplex: Any = multiplex
    before = context._INTERNAL_REPLICA_CONTEXT, ray_multiplex._get_global_client
    replica: Any = SimpleNamespace(app_name="a", deployment="d", replica_id="r", replica_tag="r")
    controller: Any = SimpleNamespace(record_request_routing_info=lambda _info: None)
    context._INTERNAL_REPLICA_CONTEXT = replica
    ray_multiplex._get_global_client = lambda: controller
    try:
        yield
    finally:
        context._INTERNAL_REPLICA_CONTEXT, ray_multiplex._get_global_client = before


@pytest.fixture
async def make_hot() -> AsyncIterator[MakeHot]:
    """Makes a hot set of a given size."""
    made: list[Hot] = []

    async def make(bench: Bench, limit: int) -> Hot:
        hot = Hot(bench, limit)
        made.append(hot)
        return hot

    with inside_a_replica():
        yield make
        for hot in made:
            await hot.multiplexer.metrics_pusher.graceful_shutdown()


async def tiers(hot: Hot, *customers: str) -> list[CacheTier]:
    """Where each customer's model was, asked for in turn."""
    return [(await hot.set.acquire(customer)).tier for customer in customers]


async def test_a_model_gets_hot_and_then_warm(make_bench: MakeBench, make_hot: MakeHot) -> None:
    """Cold at first, hot while held, warm when another took its place: loaded once all the same."""
    bench = await make_bench()
    for name in "abc":
        bench.publish(name)
    hot = await make_hot(bench, 2)
    assert await tiers(hot, *"aabcab") == ["cold", "hot", "cold", "cold", "warm", "warm"]
    assert bench.store.fetches == ["a", "b", "c"]
    assert set(hot.multiplexer.models) == {"a", "b"}
    assert (bench.cache.hot_count, bench.cache.warm_count) == (2, 1)


async def test_what_fails_to_load_evicts_nobody(make_bench: MakeBench, make_hot: MakeHot) -> None:
    """Unknown customers never reach the multiplexer."""
    bench = await make_bench()
    bench.publish("a")
    hot = await make_hot(bench, 1)
    await hot.set.acquire("a")
    for number in range(20):
        with pytest.raises(ModelNotFound):
            await hot.set.acquire(f"nobody-{number}")
    assert set(hot.multiplexer.models) == {"a"}
    assert hot.multiplexer._model_load_tasks == set()
    assert hot.bodies == 1


async def test_callers_that_leave_do_not_leak(make_bench: MakeBench, make_hot: MakeHot) -> None:
    """Cancelled while they wait for the load or for Ray's lock: no customer stays advertised as loading."""
    bench = await make_bench(max_concurrent=50)
    names = [f"c{number}" for number in range(50)]
    for name in names:
        bench.publish(name)
    hot = await make_hot(bench, 10)
    await hot.set.acquire(names[0])
    async with hot.multiplexer._model_cache_lock:
        callers = [asyncio.create_task(hot.set.acquire(name)) for name in names[1:]]
        while len(hot.multiplexer._model_load_tasks) < len(names) - 1:
            await asyncio.sleep(0)
        for caller in callers:
            caller.cancel()
        await asyncio.gather(*callers, return_exceptions=True)
    while hot.multiplexer._model_load_tasks:
        await asyncio.sleep(0)
    assert len(hot.multiplexer.models) == 10
    assert bench.cache.hot_count == 10
    assert bench.cache.hot_count + bench.cache.warm_count == 50


async def test_an_eviction_is_told_once(make_bench: MakeBench, make_hot: MakeHot) -> None:
    """Ray's call of `__del__` is seen; Python's own finalisation of the lease is not a second one."""
    bench = await make_bench()
    for name in "ab":
        bench.publish(name)
    hot = await make_hot(bench, 1)
    await tiers(hot, *"ab")
    gc.collect()
    bench.telemetry.flush()
    assert bench.sink.counters["unloads", ()] == 1
    hot.multiplexer.models.clear()
    gc.collect()
    bench.telemetry.flush()
    assert bench.sink.counters["unloads", ()] == 1


async def test_a_hot_model_is_replaced_in_place(make_bench: MakeBench, make_hot: MakeHot) -> None:
    """A new version reaches requests without the multiplexer; who holds the old model keeps it."""
    bench = await make_bench(refresh_interval_s=10)
    bench.publish("a", 1.0)
    hot = await make_hot(bench, 1)
    old = await hot.set.acquire("a")
    bench.publish("a", 2.0)
    bench.now[0] = 11.0
    await hot.set.acquire("a")
    await settled(bench)
    new = await hot.set.acquire("a")
    assert (old.model.metadata.model_version, new.model.metadata.model_version) == (1, 2)
    assert new.tier is CacheTier.HOT
    assert hot.bodies == 1


async def test_a_hot_model_can_go_and_come_back(make_bench: MakeBench, make_hot: MakeHot) -> None:
    """Deleted while hot, a customer is unknown; published again, its lease serves the new model."""
    bench = await make_bench(refresh_interval_s=10)
    bench.publish("a", 1.0)
    hot = await make_hot(bench, 1)
    await hot.set.acquire("a")
    shutil.rmtree(bench.store.root / "a")
    bench.now[0] = 11.0
    await hot.set.acquire("a")
    await settled(bench)
    with pytest.raises(ModelNotFound):
        await hot.set.acquire("a")
    bench.publish("a", 5.0)
    bench.now[0] += 1.0
    await hot.set.acquire("a")
    assert bench.slope("a") == 5.0
    assert await tiers(hot, "a") == ["hot"]


async def test_a_pinned_version_passes_the_multiplexer_by(make_bench: MakeBench, make_hot: MakeHot) -> None:
    """A version that a request names never takes the active one's place."""
    bench = await make_bench()
    bench.publish("a", 1.0)
    bench.publish("a", 2.0)
    hot = await make_hot(bench, 1)
    await hot.set.acquire("a")
    pinned = await hot.set.acquire("a", 1)
    assert pinned.model.metadata.model_version == 1
    assert (await hot.set.acquire("a")).model.metadata.model_version == 2
    assert hot.bodies == 1


async def test_deadlines_shorter_than_the_load_leak_nothing(make_bench: MakeBench, make_hot: MakeHot) -> None:
    """1,000 callers that give up: one load, which ends; empty tables; and the next caller hits."""
    bench = await make_bench()
    bench.publish("a")
    hot = await make_hot(bench, 1)
    bench.store.gate.clear()

    async def give_up() -> bool:
        try:
            async with asyncio.timeout(0.01):
                await hot.set.acquire("a")
        except TimeoutError:
            return True
        return False

    assert all(await asyncio.gather(*(give_up() for _ in range(1_000))))
    assert (bench.loader.loads_in_flight, hot.bodies) == (1, 0)
    bench.store.gate.set()
    await settled(bench)
    assert await tiers(hot, "a", "a") == ["warm", "hot"]
    assert bench.store.fetches == ["a"]
    assert hot.multiplexer._model_load_tasks == set()
    left = {getattr(task.get_coro(), "__qualname__", "") for task in asyncio.all_tasks()}
    assert not {name for name in left if name.startswith(("HotSet", "ModelLoader", "SingleFlight"))}


async def test_hot_models_change_places_only_so_fast(make_bench: MakeBench, make_hot: MakeHot) -> None:
    """Requests that come faster than models may change places are answered by warm ones, and nothing is loaded."""
    bench = await make_bench()
    for name in "ab":
        bench.publish(name)
    hot = await make_hot(bench, 1)
    seen = await tiers(hot, *("ab" * 500))
    assert set(seen[2:]) <= {"warm", "hot"}
    # A second's worth at once, and what the seconds of this test add.
    assert SWAPS_PER_S <= hot.bodies < 500
    assert sorted(bench.store.fetches) == ["a", "b"]


async def test_pinned_customers_stay_without_any_room(make_bench: MakeBench, make_hot: MakeHot) -> None:
    """With no room for warm models a pinned one that the multiplexer lets go is not loaded again; others are."""
    bench = await make_bench(max_warm_bytes=0, pinned=["a"])
    for name in "ab":
        bench.publish(name)
    hot = await make_hot(bench, 1)
    assert await tiers(hot, *"abab") == ["cold", "cold", "warm", "cold"]
    assert (bench.cache.pinned_count, bench.cache.warm_count) == (1, 0)


async def test_a_hot_model_in_use_is_not_the_next_to_go(make_bench: MakeBench, make_hot: MakeHot) -> None:
    """Whoever was asked for since the last exchange stays; the multiplexer's order of use is told in time."""
    bench = await make_bench()
    for name in "abcd":
        bench.publish(name)
    hot = await make_hot(bench, 3)
    await tiers(hot, *"abc", *"aaa")
    await tiers(hot, "d")
    assert set(hot.multiplexer.models) == {"a", "c", "d"}


async def test_ray_hears_of_every_request(make_bench: MakeBench, make_hot: MakeHot) -> None:
    """Its counter of requests adds up, though it is told of hot ones once a second and not each time."""
    bench = await make_bench()
    bench.publish("a")
    hot = await make_hot(bench, 1)
    await hot.set.acquire("a")
    counted: list[float] = [1.0]
    hot.multiplexer.get_model_requests_counter = SimpleNamespace(inc=lambda by=1.0: counted.append(by))
    for _ in range(1_000):
        await hot.set.acquire("a")
    assert len(counted) < 10
    bench.now[0] += 1.0
    await hot.set.acquire("a")
    assert sum(counted) == 1_002


async def test_a_hot_model_is_at_hand(make_bench: MakeBench, make_hot: MakeHot) -> None:
    """It is there at once; but where another has come in since, the multiplexer hears first that it is in use."""
    bench = await make_bench()
    for name in "ab":
        bench.publish(name)
    hot = await make_hot(bench, 2)
    assert await tiers(hot, "a") == [CacheTier.COLD]
    await tiers(hot, "a")
    assert isinstance(hot.set.at_hand("a"), Acquired)
    await tiers(hot, "b")
    waiting = hot.set.at_hand("a")
    assert not isinstance(waiting, Acquired)
    assert (await waiting).tier is CacheTier.HOT
    assert list(hot.multiplexer.models) == ["b", "a"]
    assert isinstance(hot.set.at_hand("a"), Acquired)


async def test_ray_is_seldom_told_who_is_hot(make_bench: MakeBench, make_hot: MakeHot) -> None:
    """Its list of models goes to the controller every two seconds, not ten times a second."""
    bench = await make_bench()
    bench.publish("a")
    hot = await make_hot(bench, 1)
    await hot.set.acquire("a")
    (task,) = hot.multiplexer.metrics_pusher._tasks.values()
    assert task.interval_s == PUSH_INTERVAL_S
    task.task_func()
    assert hot.multiplexer._get_loading_and_loaded_model_ids() == ["a"]
