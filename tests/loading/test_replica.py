"""Loader, cache and Ray's multiplexer together against a simple reference, whatever happens in whatever order."""

import asyncio
import gc
from collections import Counter
from collections.abc import Coroutine, Iterable
from contextlib import ExitStack
from dataclasses import replace
from typing import Any, TypeVar

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from forecast_grpc import artefact
from forecast_grpc.domain import ServedModel
from forecast_grpc.errors import ForecastError
from forecast_grpc.loading import LoadLimits, ModelCache, ModelLoader
from forecast_grpc.loading.rings import SLOT_BYTES
from forecast_grpc.telemetry import Telemetry
from tests.loading.memory_store import DAMAGED, MemoryStore
from tests.loading.test_hot import Hot, inside_a_replica
from tests.stores import encode, trend
from tests.telemetry.fake_sink import ListSink

T = TypeVar("T")
CUSTOMERS = st.sampled_from("abcdep")
PINNED = "p"
HOT, WARM = 2, 3
INTERVAL_S, TTL_S = 10.0, 1.0
_BYTES = artefact.decode(encode(trend(1.0), 1), "any").nbytes + SLOT_BYTES


class Closable:
    """A forecaster with a `close`, which must come once and not while somebody uses it."""

    def __init__(self, model: ServedModel, closed: Counter[int], number: int) -> None:
        self.version = model.metadata.model_version
        self.number = number
        self._closed = closed

    def close(self) -> None:
        """Notes that it was closed."""
        self._closed[self.number] += 1


class ReplicaAgainstReference(RuleBasedStateMachine):
    """The reference is what the store has answered so far, and when."""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.store: MemoryStore = self.run(self.made(MemoryStore))
        self.now = 100.0
        self.closed: Counter[int] = Counter()
        self.decoded = 0
        self.held: list[ServedModel] = []
        self.asked_at: dict[Any, float] = {}
        self.good: dict[Any, int | None] = {}
        self.last: dict[Any, int | None] = {}
        self.replica = ExitStack()
        self.replica.enter_context(inside_a_replica())
        self.run(self.build())

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Its outcome."""
        return self.runner.run(coroutine)

    @staticmethod
    async def made(kind: type[T]) -> T:
        """An object that wants to be made in an event loop."""
        return kind()

    async def build(self) -> None:
        """Puts a replica together."""
        sink = ListSink()
        self.telemetry = Telemetry(sink=sink, log=sink.lines.append, log_requests=True, facts={}, gauges=dict)
        self.cache = ModelCache(WARM * _BYTES, pinned=frozenset(PINNED))
        self.loader = ModelLoader(
            store=self.store,  # type: ignore[arg-type]  # it does not publish
            decode=self.decode,
            cache=self.cache,
            telemetry=self.telemetry,
            limits=LoadLimits(
                max_concurrent=2,
                max_concurrent_refreshes=1,
                max_waiting=100,
                store_timeout_s=30.0,
                request_timeout_s=30.0,
                refresh_interval_s=INTERVAL_S,
                not_found_ttl_s=TTL_S,
                failed_ttl_s=TTL_S,
                max_remembered_failures=3,
            ),
            clock=lambda: self.now,
        )
        self.hot = Hot(self, HOT)  # type: ignore[arg-type]  # a bench, as far as it needs one

    def decode(self, data: bytes, customer: str, version: int | None = None) -> ServedModel:
        """As always, with a forecaster that can be closed."""
        model = artefact.decode(data, customer)
        del version
        self.decoded += 1
        forecaster: Any = Closable(model, self.closed, self.decoded)
        return replace(model, forecaster=forecaster)

    def teardown(self) -> None:
        """Everything lets go: what was decoded is closed."""
        if self.hot.bodies:
            self.run(self.hot.multiplexer.metrics_pusher.graceful_shutdown())
            self.run(self.hot.multiplexer.shutdown())
        self.runner.close()
        self.replica.close()

    # --- what happens to the store ---

    @rule(customer=CUSTOMERS)
    def publish(self, customer: str) -> None:
        """A new version."""
        self.store.versions[customer] = self.store.versions.get(customer, 0) + 1
        self.store.set(customer, self.store.versions[customer])

    @rule(customer=CUSTOMERS)
    def damage(self, customer: str) -> None:
        """A version that cannot be decoded."""
        self.store.set(customer, DAMAGED)

    @rule(customer=CUSTOMERS)
    def delete(self, customer: str) -> None:
        """The customer is gone."""
        self.store.active.pop(customer, None)

    @precondition(lambda self: any(self.store.versions.values()))
    @rule(data=st.data())
    def roll_back(self, data: st.DataObject) -> None:
        """An earlier version is the active one again."""
        customer = data.draw(st.sampled_from(sorted(self.store.versions)))
        self.store.set(customer, data.draw(st.integers(1, self.store.versions[customer])))

    @rule(down=st.booleans())
    def outage(self, down: bool) -> None:
        """The store goes away, or comes back."""
        self.store.down = down

    @rule(seconds=st.sampled_from([0.4, 1.1, 10.5]))
    def wait(self, seconds: float) -> None:
        """Time passes."""
        self.now += seconds

    # --- what callers do ---

    @rule(customer=CUSTOMERS)
    def ask(self, customer: str) -> None:
        """One request for the active version, and what came of it."""
        known_before = self.good.get((customer, None))
        due = self.now - self.asked_at.get((customer, None), -1e9) > INTERVAL_S
        outcome = self.run(self.outcome(customer, None))
        self.learn()
        self.judge((customer, None), outcome, known_before)
        self.run(self.settle())
        self.learn()
        if due and not self.store.down and isinstance(outcome, int):
            # Now it has been checked: the next one gets the truth, unless that cannot be had.
            truth = self.store.active.get(customer)
            again = self.run(self.outcome(customer, None))
            self.learn()
            if truth is None:
                assert again == "MODEL_NOT_FOUND"
            else:
                assert again == (known_before if truth == DAMAGED and known_before else truth) or (
                    truth == DAMAGED and again == "MODEL_CORRUPT"
                )

    @rule(customer=CUSTOMERS, version=st.integers(1, 3))
    def ask_for_version(self, customer: str, version: int) -> None:
        """One request that names a version: that one, or an error."""
        outcome = self.run(self.outcome(customer, version))
        self.learn()
        assert outcome in (version, "MODEL_NOT_FOUND", "MODEL_VERSION_NOT_FOUND", "STORE_UNAVAILABLE")

    @rule(customers=st.lists(CUSTOMERS, min_size=1, max_size=8), data=st.data())
    def herd(self, customers: list[str], data: st.DataObject) -> None:
        """Many at once, some of whom go away before they are answered."""
        leaving = data.draw(st.lists(st.booleans(), min_size=len(customers), max_size=len(customers)))
        before = dict(self.good)
        outcomes = self.run(self.at_once(customers, leaving))
        self.learn()
        for customer, outcome in zip(customers, outcomes, strict=True):
            if outcome is not None:
                self.judge((customer, None), outcome, before.get((customer, None)))

    @rule(customer=CUSTOMERS)
    def hold(self, customer: str) -> None:
        """A request that takes its time with its model."""
        outcome = self.run(self.outcome(customer, None, keep=True))
        self.learn()
        del outcome

    @precondition(lambda self: self.held)
    @rule()
    def let_go(self) -> None:
        """The oldest of those is answered."""
        del self.held[0]

    # --- how it is done ---

    async def outcome(self, customer: str, version: int | None, *, keep: bool = False) -> int | str:
        """The version that answered, or the reason of the error."""
        try:
            acquired = await self.hot.set.acquire(customer, version)
        except ForecastError as exc:
            return exc.reason
        if keep:
            self.held.append(acquired.model)
        forecaster: Any = acquired.model.forecaster
        assert not self.closed[forecaster.number]
        answered: int = forecaster.version
        return answered

    async def at_once(self, customers: Iterable[str], leaving: Iterable[bool]) -> list[int | str | None]:
        """The outcomes of those that stay; None for the others."""
        self.store.gate.clear()
        callers = [asyncio.create_task(self.outcome(customer, None)) for customer in customers]
        for _ in range(3):
            await asyncio.sleep(0)
        for caller, leaves in zip(callers, leaving, strict=True):
            if leaves:
                caller.cancel()
        await asyncio.sleep(0)
        self.store.gate.set()
        outcomes = await asyncio.gather(*callers, return_exceptions=True)
        await self.settle()
        return [None if isinstance(each, BaseException) else each for each in outcomes]

    async def settle(self) -> None:
        """Returns when nothing is under way."""
        while (
            self.loader.loads_in_flight
            or self.loader.refreshes_in_flight
            or (self.hot.bodies and self.hot.multiplexer._model_load_tasks)
        ):
            await asyncio.sleep(0)

    def learn(self) -> None:
        """Takes in what the store has answered since."""
        self.asked_at |= dict.fromkeys(self.store.asked, self.now)
        for key, version in self.store.answers:
            self.last[key] = version
            if version != DAMAGED:
                self.good[key] = version
        self.store.asked.clear()
        self.store.answers.clear()

    def judge(self, key: tuple[str, int | None], outcome: int | str, known_before: int | None) -> None:
        """Whether this answer may be: the last good one of the store, or an error that it gave just now."""
        if isinstance(outcome, int):
            assert outcome in (self.good.get(key), known_before)
        elif outcome == "STORE_UNAVAILABLE":
            assert self.store.down
        elif outcome == "MODEL_NOT_FOUND":
            assert self.last[key] is None
            assert self.now - self.asked_at[key] < INTERVAL_S
        else:
            assert (outcome, self.last[key]) == ("MODEL_CORRUPT", DAMAGED)

    @invariant()
    def nothing_leaks(self) -> None:
        """Tables are empty when nothing is under way, bytes add up, and who is in memory or in use is open."""
        self.run(self.settle())
        self.learn()
        multiplexer = self.hot.multiplexer if self.hot.bodies else None
        assert self.cache.hot_count == (len(multiplexer.models) if multiplexer else 0) <= HOT
        assert self.cache.warm_bytes <= WARM * _BYTES
        assert self.cache.warm_bytes == self.cache.warm_count * _BYTES
        assert self.cache.hot_bytes == self.cache.hot_count * _BYTES
        assert self.cache.pinned_count <= 1
        assert self.loader.remembered_failures <= 3
        assert set(self.closed.values()) <= {1}
        in_memory = self.cache.hot_count + self.cache.warm_count + self.cache.pinned_count
        if self.decoded - len(self.closed) > in_memory:
            # The traceback of an error may hold on to a model for a while.
            gc.collect()
        still_open = self.decoded - len(self.closed)
        assert in_memory <= still_open <= in_memory + len(self.held)
        for model in self.held:
            forecaster: Any = model.forecaster
            assert not self.closed[forecaster.number]


TestReplica = ReplicaAgainstReference.TestCase
TestReplica.settings = settings(max_examples=40, stateful_step_count=40, deadline=None)
