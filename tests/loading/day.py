"""A small fleet on one folder: what happens to the store and to the replicas in a day, and who knows of it."""

import asyncio
import gc
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np

from forecast_grpc import artefact
from forecast_grpc.call import Call
from forecast_grpc.domain import Answer, ForecastQuery, RequestLimits
from forecast_grpc.engine import Engine
from forecast_grpc.errors import NotFound
from forecast_grpc.loading import LoadLimits, ModelCache, ModelLoader
from forecast_grpc.loading.handover import leave, take
from forecast_grpc.loading.rings import SLOT_BYTES
from forecast_grpc.store import Fetched, FolderStore, files, publish_all
from forecast_grpc.store.base import store_unavailable
from forecast_grpc.telemetry import TagValues, Telemetry
from tests.loading.test_handover import Notes
from tests.loading.test_hot import Hot
from tests.stores import HORIZON, encode, trend

REFRESH_INTERVAL_S = 60.0
MAX_HOT, MAX_WARM, MAX_FAILURES, MAX_THREADS = 40, 160, 100, 8
DAMAGED = -1
"""What stands for the version of bytes that cannot be decoded."""

_BYTES = artefact.decode(encode(trend(1.0), 1), "any").nbytes + SLOT_BYTES
_LIMITS = RequestLimits(
    max_sequence_length=10,
    max_horizon=HORIZON,
    max_quantile_levels=1,
    max_covariates=0,
    max_covariate_values=0,
)


def line(version: int) -> bytes:
    """A version of any customer's model: its slope is its number."""
    return encode(trend(float(version)), version)


class World:
    """The store as it is now, and the time."""

    def __init__(self, root: Path, customers: int, seed: int) -> None:
        self.now = 0.0
        """The time since the day began, in seconds."""
        self.down = False
        """Whether the store answers nobody."""
        self.customers = [f"customer-{number:04}" for number in range(customers)]
        """Those who have a model when the day begins, the one who asks most first."""
        self.rng = np.random.default_rng(seed)
        self.folder = FolderStore(root)
        self.active: dict[str, int] = dict(
            publish_all(self.folder, ((each, line) for each in self.customers))
        )
        """What the store would answer for each customer."""

    def clock(self) -> float:
        """The time."""
        return self.now

    def anyone(self) -> str:
        """A customer that has or had a model, of each as likely."""
        return str(self.rng.choice(self.customers))

    def publish(self) -> None:
        """A new version, of a deleted customer too."""
        customer = self.anyone()
        self.active[customer] = self.folder.publish(customer, line)

    def roll_back(self) -> None:
        """Any version is the active one again."""
        customer = self.anyone()
        if customer in self.active:
            version = int(self.rng.choice(self.folder.versions(customer)))
            self.folder.activate(customer, version)
            self.active[customer] = version

    def delete(self) -> None:
        """A customer is gone."""
        customer = self.anyone()
        if self.active.pop(customer, None):
            shutil.rmtree(self.folder.root / customer)

    def damage(self) -> None:
        """The active artefact is broken."""
        customer = self.anyone()
        if customer in self.active:
            files.replace(self.folder.root / customer, "model.safetensors", b"damaged")
            self.active[customer] = DAMAGED


class Told(FolderStore):
    """The store as one replica knows it."""

    def __init__(self, world: World) -> None:
        super().__init__(world.folder.root, max_concurrent=MAX_THREADS)
        self.last: dict[str, int | None] = {}
        """The last answer for each customer: a version, or that there is none."""
        self.good: dict[str, int] = {}
        """The last version of each that could be served."""
        self.asked_at: dict[str, float] = {}
        """When it was last asked for each customer's active version, whether it answered or not."""
        self._world = world

    def at_hand(self, customer_id: str, *, version: int | None = None) -> Fetched | None:
        """See ModelStore."""
        if self._world.down:
            return None
        try:
            found = super().at_hand(customer_id, version=version)
        except NotFound:
            self._answered(customer_id, version, None)
            raise
        if found is not None:
            self._answered(customer_id, version, self._world.active[customer_id])
        return found

    async def fetch(
        self, customer_id: str, *, version: int | None = None, if_none_match: str | None = None
    ) -> Fetched | None:
        """See ModelStore."""
        if version is None:
            self.asked_at[customer_id] = self._world.now
        if self._world.down:
            raise store_unavailable("The store of models does not answer.")
        try:
            fetched = await super().fetch(customer_id, version=version, if_none_match=if_none_match)
        except NotFound:
            self._answered(customer_id, version, None)
            raise
        self._answered(customer_id, version, self._world.active[customer_id])
        return fetched

    def _answered(self, customer_id: str, asked: int | None, version: int | None) -> None:
        """The active model was `version`, or there was none; unless another one was asked for."""
        if asked is not None:
            return
        self.asked_at[customer_id] = self._world.now
        self.last[customer_id] = version
        if version is None:
            self.good.pop(customer_id, None)
        elif version != DAMAGED:
            self.good[customer_id] = version


class Sink:
    """Counts lines and samples, and keeps none."""

    def __init__(self) -> None:
        self.lines = 0
        """Lines of the log."""

    def log(self, text: str) -> None:
        """Takes a flush's lines: each is JSON."""
        self.lines += sum(bool(json.loads(each)) for each in text.splitlines())

    def add(self, name: str, tags: TagValues, amount: float) -> None:
        """See MetricSink."""

    observe: Any = add
    set: Any = add


class Replica:
    """A replica as `app` puts it together, on Ray's own multiplexer, in this process."""

    def __init__(self, world: World, number: int) -> None:
        self.name = f"replica-{number}"
        self.store = Told(world)
        self.sink = Sink()
        self.telemetry = Telemetry(
            sink=self.sink,
            log=self.sink.log,
            log_requests=True,
            facts={"replica": self.name},
            gauges=dict,
            wall_clock=world.clock,
        )
        self.cache = ModelCache(MAX_WARM * _BYTES)
        self.loader = ModelLoader(
            store=self.store,
            decode=artefact.decode,
            cache=self.cache,
            telemetry=self.telemetry,
            limits=LoadLimits(
                max_concurrent=MAX_THREADS,
                max_concurrent_refreshes=4,
                max_waiting=1_000,
                store_timeout_s=30.0,
                request_timeout_s=30.0,
                refresh_interval_s=REFRESH_INTERVAL_S,
                not_found_ttl_s=1.0,
                failed_ttl_s=1.0,
                max_remembered_failures=MAX_FAILURES,
            ),
            clock=world.clock,
        )
        self.hot = Hot(self, MAX_HOT, clock=world.clock)  # type: ignore[arg-type]  # a bench, as far as it needs one
        self.engine = Engine(replica=self.name, limits=_LIMITS, hot=self.hot.set, telemetry=self.telemetry)

    async def ask(self, customer: str, version: int | None = None) -> int | str:
        """The version that answered a request, or the reason of the error."""
        query = ForecastQuery(sequence=np.array([]), model_version=version)
        outcome = await self.engine.forecast(Call(protocol="grpc", request_id="r"), customer, lambda: query)
        if not isinstance(outcome, Answer):
            return outcome.reason
        # The line begins at 100, and its slope is its version: the model is the one that it says it is.
        assert round(outcome.result.forecast[0] - 100.0) == outcome.metadata.model_version
        return outcome.metadata.model_version

    async def settle(self) -> None:
        """Returns when nothing is under way."""
        while (
            self.loader.loads_in_flight
            or self.loader.refreshes_in_flight
            or (self.hot.bodies and self.hot.multiplexer._model_load_tasks)
        ):
            await asyncio.sleep(0)

    def check(self) -> None:
        """Nothing leaks and every limit holds, while nothing is under way."""
        held = len(self.hot.multiplexer.models) if self.hot.bodies else 0
        assert self.cache.hot_count == held <= MAX_HOT
        assert self.cache.warm_bytes == self.cache.warm_count * _BYTES <= MAX_WARM * _BYTES
        assert self.loader.remembered_failures <= MAX_FAILURES
        assert self.telemetry.in_flight == 0

    async def stop(self) -> None:
        """Its process ends."""
        if self.hot.bodies:
            await self.hot.multiplexer.metrics_pusher.graceful_shutdown()
        self.store._threads.shutdown()
        # What was put aside from the collector would have gone with the process.
        gc.unfreeze()


class Fleet:
    """Replicas, and the notes that they leave each other."""

    def __init__(self, world: World, size: int) -> None:
        self.world = world
        self.notes = Notes()
        self.started = size
        """Replicas that were ever started."""
        self.replicas = [Replica(world, number) for number in range(size)]

    def of(self, customer: str) -> Replica:
        """Where a customer lives."""
        return self.replicas[sum(customer.encode()) % len(self.replicas)]

    def leave_notes(self) -> None:
        """Each replica notes who asks it most."""
        for each in self.replicas:
            leave(self.notes, each.name, each.engine.accesses.top(1_000), now=self.world.now)

    async def kill(self) -> None:
        """A replica dies, and another takes its place, warmed with what was noted."""
        index = int(self.world.rng.integers(len(self.replicas)))
        await self.replicas[index].stop()
        self.replicas[index] = new = Replica(self.world, self.started)
        self.started += 1
        await new.engine.prewarm(tuple(take(self.notes, MAX_HOT, now=self.world.now)))
