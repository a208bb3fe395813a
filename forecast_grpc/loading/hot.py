"""The hot models, and the only place that knows how Ray's multiplexer wants to be treated.

`@serve.multiplexed` decides which customers a replica holds and counts them in Ray's metrics. Its body runs under
one lock for the whole replica and must take microseconds, so a model is loaded *before* the multiplexer is
entered and handed in through a context variable.
"""

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from contextvars import ContextVar
from typing import Any, NamedTuple

from forecast_grpc.domain import CacheTier, ServedModel
from forecast_grpc.loading.cache import ModelCache
from forecast_grpc.loading.loader import ModelLoader
from forecast_grpc.loading.rings import ModelSlot
from forecast_grpc.telemetry import Telemetry

SWAPS_PER_S = 100.0
"""Models that may take another's place among the hot ones, a second. An exchange costs Ray fifty times a warm
request; with this limit a replica whose customers come evenly pays next to nothing, and the hot ones still follow
the traffic, since whoever comes often is seldom missed."""

TELL_INTERVAL_S = 1.0
"""Seconds by which Ray's count of the requests for hot models may be late: telling it of each one costs a request
more than looking its model up."""

PUSH_INTERVAL_S = 5.0
"""How often Ray's controller and metrics are told which models are hot, in seconds."""

_BURST_S = 1.0  # Exchanges of so many seconds may come at once.

_arriving: ContextVar[list[ModelSlot]] = ContextVar("arriving_model")
"""The loaded model that the multiplexer is about to be given, in a box that is emptied: contexts are copied, and
the copy that Ray's own task makes lives as long as the replica."""


class HotModel:
    """What the multiplexer holds for a customer: a lease on a slot, handed back when Ray evicts it."""

    def __init__(self, slot: ModelSlot, on_evict: Callable[[ModelSlot], None]) -> None:
        self.slot = slot
        """The model's place in memory."""

        async def evicted() -> None:
            on_evict(slot)

        # Ray calls `__del__` of what it evicts, and awaits it if it is a coroutine function. On the instance it
        # is invisible to Python's own finalisation, which would call it a second time.
        self.__del__ = evicted


class _Mute:
    """A gauge that nobody reads."""

    def set(self, value: float, tags: object = None) -> None:
        """Does nothing."""


def multiplexer_of(get_model: Callable[[str], Awaitable[HotModel]]) -> Any:  # noqa: ANN401 - Ray's own
    """Ray's multiplexer behind a loader in use; None where there is none, as with a loader that is not Ray's."""
    return getattr(inspect.unwrap(get_model), "__serve_multiplex_wrapper", None)


def quieten(get_model: Callable[[str], Awaitable[HotModel]]) -> None:
    """Has a multiplexed loader in use tell less, and less often.

    Ray sets the gauge `serve_registered_multiplexed_model_id{model_id}` for every model ten times a second, and
    never forgets a customer: the time series grow with the customers that ever came, and the idle cost with those
    that are hot. `num_multiplexed_models` and the log say what it said. As often it lists the models for the
    controller, which passes the list on to every proxy: a sixth of a core where hot models change all the time,
    for routers that go by it, and ours go by the customer's hash. All this is private to Ray, so tests hold it.
    """
    multiplexer = multiplexer_of(get_model)
    if multiplexer is None:
        return
    multiplexer.registered_model_gauge = _Mute()
    with suppress(AttributeError):  # Another Ray tells as often as it likes.
        multiplexer.metrics_pusher.register_or_update_task(
            multiplexer._PUSH_MULTIPLEXED_MODEL_IDS_TASK_NAME,  # noqa: SLF001
            multiplexer._push_model_ids_info,  # noqa: SLF001
            PUSH_INTERVAL_S,
        )


class Acquired(NamedTuple):
    """A model that a request may use for as long as it holds this."""

    model: ServedModel
    """The model."""

    tier: CacheTier
    """Where it was when the request came."""


_HOT, _COLD = CacheTier.HOT, CacheTier.COLD  # To look a member up in its enum takes ten times as long.


class HotSet:
    """Gets the model of a request: through the multiplexer for the active version, beside it for a pinned one."""

    def __init__(
        self,
        *,
        loader: ModelLoader,
        cache: ModelCache,
        telemetry: Telemetry,
        get_model: Callable[[str], Awaitable[HotModel]],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`get_model` is the `@serve.multiplexed` loader, whose body is to return `admit(customer_id)`."""
        self._loader = loader
        self._cache = cache
        self._telemetry = telemetry
        self._get_model = get_model
        self._clock = clock
        self._quiet = False
        # Until when the exchanges that have been made are paid for.
        self._swapped_until = 0.0
        # Models that the multiplexer has taken in so far: an epoch of its LRU order.
        self._admitted = 0
        # Requests for hot models of which the multiplexer has not been told, and when it is to be.
        self._untold = 0
        self._tell_at = 0.0

    async def acquire(self, customer_id: str, version: int | None = None) -> Acquired:
        """The customer's model in this version (None: the active one). Raises as `ModelLoader.load` does."""
        found = self.at_hand(customer_id, version)
        return found if isinstance(found, Acquired) else await found

    def at_hand(self, customer_id: str, version: int | None = None) -> Acquired | Awaitable[Acquired]:
        """As `acquire`, without a coroutine where nothing has to be waited for: for nearly every request."""
        slot = self._loader.lookup(customer_id, version)
        tier = _COLD if slot is None else slot.tier
        self._telemetry.cache_request(tier)
        if slot is not None:
            if version is not None:
                return Acquired(slot.model, tier)
            # The multiplexer's order of use decides who goes when another comes. So as long as none has come since
            # a model was last moved to the end, it need not be moved again: whoever comes next throws out one that
            # was not in use.
            if tier is _HOT and slot.touched_in == self._admitted:
                self._untold += 1
                if slot.used_at >= self._tell_at:
                    self._tell(slot.used_at)
                return Acquired(slot.model, tier)
        return self._taken_in(customer_id, version, slot, tier)

    async def _taken_in(
        self, customer_id: str, version: int | None, slot: ModelSlot | None, tier: CacheTier
    ) -> Acquired:
        """The model from the store, if it is in no slot yet, and its place among the hot ones."""
        if slot is None:
            slot = await self._loader.load(customer_id, version)
        if version is None:
            if tier is _HOT:
                slot.touched_in = self._admitted
                await self._touch(slot)
            elif self._swapped_until <= self._clock():
                # Ray leaks the customer of a caller that is cancelled while it waits for the lock.
                await asyncio.shield(self._touch(slot))
        return Acquired(slot.model, tier)

    def held(self, customer_id: str, version: int | None = None) -> Acquired | None:
        """The model if it is in memory, without a place among the hot ones.

        For calls that ask many customers: such a sweep is not to push out those who ask all the time.
        """
        slot = self._loader.lookup(customer_id, version)
        if slot is None:
            return None
        self._telemetry.cache_request(slot.tier)
        return Acquired(slot.model, slot.tier)

    async def fetch(self, customer_id: str, version: int | None = None) -> Acquired:
        """The model from the store, without a place among the hot ones. Raises as `ModelLoader.load` does."""
        self._telemetry.cache_request(_COLD)
        slot = await self._loader.load(customer_id, version)
        return Acquired(slot.model, _COLD)

    def admit(self, customer_id: str) -> HotModel:
        """The body of the `@serve.multiplexed` loader: the lease on the customer's model, loaded by now."""
        (slot,) = _arriving.get()
        assert slot.key == (customer_id, None)  # noqa: S101 - set by `_touch`, the only caller of the loader
        self._cache.promote(slot)
        self._admitted += 1
        if not self._quiet:
            # Ray makes the multiplexer when its first model comes, which is now.
            quieten(self._get_model)
            self._quiet = True
        return HotModel(slot, self._evicted)

    def _evicted(self, slot: ModelSlot) -> None:
        self._cache.demote(slot)
        self._swapped_until = max(self._swapped_until, self._clock() - _BURST_S) + 1 / SWAPS_PER_S
        self._telemetry.unloaded(slot.key[0], slot.model.metadata.model_version)

    def _tell(self, now: float) -> None:
        """Has Ray's counter of requests catch up: it stays right, a second late."""
        if (multiplexer := multiplexer_of(self._get_model)) is not None:
            multiplexer.get_model_requests_counter.inc(self._untold)
        self._untold, self._tell_at = 0, now + TELL_INTERVAL_S

    async def _touch(self, slot: ModelSlot) -> None:
        """Makes the slot the multiplexer's most recently used one, or hands it over if it is not held yet."""
        box = [slot]
        _arriving.set(box)
        try:
            await self._get_model(slot.key[0])
        finally:
            box.clear()
