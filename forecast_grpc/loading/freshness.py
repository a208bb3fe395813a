"""Checks of models in memory against the store, behind the back of the requests that use them."""

import asyncio
from collections import deque
from collections.abc import Callable

from forecast_grpc.domain import ServedModel
from forecast_grpc.errors import ForecastError, NotFound
from forecast_grpc.loading.cache import ModelCache
from forecast_grpc.loading.fetching import Fetcher
from forecast_grpc.loading.limits import LoadLimits
from forecast_grpc.loading.rings import ModelKey, ModelSlot
from forecast_grpc.store import Fetched
from forecast_grpc.telemetry import Telemetry


class Refresher:
    """Checks slots in the order in which they were asked for, some at a time, beside the loads.

    A slot that waits costs a place in a queue; tasks there are no more than checks under way.
    """

    def __init__(
        self,
        *,
        fetcher: Fetcher,
        decode: Callable[[Fetched, ModelKey], ServedModel],
        cache: ModelCache,
        telemetry: Telemetry,
        limits: LoadLimits,
        clock: Callable[[], float],
    ) -> None:
        self._fetcher = fetcher
        self._decode = decode
        self._cache = cache
        self._telemetry = telemetry
        self._max_workers = limits.max_concurrent_refreshes
        self._clock = clock
        self._waiting: deque[ModelSlot] = deque()
        # The event loop keeps only weak references to tasks; a check must not be collected half-way.
        self._workers: set[asyncio.Task[None]] = set()
        self._now = asyncio.Lock()

    @property
    def in_flight(self) -> int:
        """Models that are being checked or wait for it."""
        return len(self._waiting) + len(self._workers)

    def ask(self, slot: ModelSlot) -> None:
        """Has a slot checked soon; once, however often it is asked for meanwhile."""
        if slot.refreshing:
            return
        slot.refreshing = True
        self._waiting.append(slot)
        if len(self._workers) < self._max_workers:
            self._workers.add(asyncio.create_task(self._work()))

    async def check_now(self, slot: ModelSlot) -> None:
        """Checks a slot at once, and whatever check of it is under way has no say any more: it may know less."""
        # One after the other: of two answers the later one counts.
        async with self._now:
            if slot.ring is not None:
                await self._check(slot, overriding=True)

    async def _work(self) -> None:
        worker = asyncio.current_task()
        assert worker is not None  # noqa: S101 - a coroutine that runs
        try:
            while self._waiting:
                await self._check_asked(self._waiting.popleft())
        finally:
            # Not in a callback, which comes later: a slot that is asked for in between would wait for nobody.
            self._workers.discard(worker)

    async def _check_asked(self, slot: ModelSlot) -> None:
        try:
            # One that was dropped while it waited is nobody's business any more.
            if slot.ring is not None:
                await self._check(slot)
        finally:
            slot.refreshing = False

    async def _check(self, slot: ModelSlot, *, overriding: bool = False) -> None:
        """Checks one model. Whatever goes wrong, what is in memory goes on serving."""
        checked_at = slot.checked_at
        try:
            fetched = await self._fetcher.check(slot.key, slot.refused_etag or slot.etag)
            if overriding or slot.checked_at == checked_at:
                self._take(slot, fetched)
        except NotFound:
            self._cache.remove(slot)
            self._telemetry.refreshed(slot.key[0], "gone")
        except ForecastError as exc:
            self._failed(slot, exc)
        except Exception as exc:  # noqa: BLE001 - logged whole: nobody waits for this task and would see it
            self._failed(slot, None)
            self._telemetry.failure("", exc)

    def _take(self, slot: ModelSlot, fetched: Fetched | None) -> None:
        now = self._clock()
        if fetched is None and slot.refused_etag:
            # The same damaged bytes as before: neither fetched nor reported again.
            slot.checked_at = now
            self._telemetry.refreshed(slot.key[0], "damaged", known=True)
        elif fetched is None or fetched.etag == slot.etag:
            slot.checked_at, slot.stale, slot.refused_etag = now, False, ""
            self._telemetry.refreshed(slot.key[0], "unchanged", known=True)
        else:
            self._replace(slot, fetched)

    def _replace(self, slot: ModelSlot, fetched: Fetched) -> None:
        try:
            model = self._decode(fetched, slot.key)
        except ForecastError as exc:
            slot.refused_etag = fetched.etag
            slot.checked_at, slot.stale = self._clock(), True
            self._telemetry.refreshed(slot.key[0], "damaged", error=exc)
            return
        self._cache.replace(slot, model, fetched.etag, self._clock())
        self._telemetry.refreshed(slot.key[0], "replaced", version=model.metadata.model_version)

    def _failed(self, slot: ModelSlot, error: ForecastError | None) -> None:
        # Not to be asked again at once by every request that comes; and told once, not at each attempt.
        slot.checked_at = self._clock()
        self._telemetry.refreshed(slot.key[0], "failed", error=error, known=slot.stale)
        slot.stale = True
