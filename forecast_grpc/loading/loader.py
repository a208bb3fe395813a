"""The loader: fetches and decodes models outside Ray's lock, once for all who wait, and keeps them fresh.

Ray's multiplexer loads one model at a time, evicts before it knows whether the new model exists, and leaks on a
cancelled load. So nothing is handed to it before it is loaded: see `hot.py`.
"""

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress

from forecast_grpc.domain import ServedModel
from forecast_grpc.errors import DeadlineExceeded, ForecastError, Overloaded, StoreUnavailable
from forecast_grpc.loading.cache import ModelCache
from forecast_grpc.loading.closing import closed_after_use
from forecast_grpc.loading.collector import Collector
from forecast_grpc.loading.failures import Failures
from forecast_grpc.loading.fetching import Fetcher, no_answer
from forecast_grpc.loading.flight import SingleFlight
from forecast_grpc.loading.freshness import Refresher
from forecast_grpc.loading.lending import Borrow, Borrower, nobody
from forecast_grpc.loading.limits import LoadLimits
from forecast_grpc.loading.rings import ModelKey, ModelSlot
from forecast_grpc.store import Fetched, ModelStore
from forecast_grpc.telemetry import Telemetry, loading_for

Decode = Callable[[bytes, str, int | None], ServedModel]
"""From the bytes of an artefact, its customer and the version asked for to a model; raises a ForecastError."""

PATIENCE_S = 0.25
"""How long a caller waits for a model while the store is down, in seconds. The load goes on, and is what finds out
that the store is back."""


class ModelLoader:
    """Gets models from the store into memory."""

    def __init__(
        self,
        *,
        store: ModelStore,
        decode: Decode,
        cache: ModelCache,
        telemetry: Telemetry,
        limits: LoadLimits,
        borrow: Borrow = nobody,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`borrow` asks other replicas, while the store does not answer."""
        self._decode = decode
        self._cache = cache
        self._telemetry = telemetry
        self._limits = limits
        self._clock = clock
        self._flights: SingleFlight[ModelKey, ModelSlot] = SingleFlight()
        self._failures = Failures(limits, clock)
        self._collector = Collector()
        self._borrower = Borrower(borrow, limit_s=PATIENCE_S)
        self._fetcher = Fetcher(store=store, limits=limits, telemetry=telemetry, clock=clock)
        self._refresher = Refresher(
            fetcher=self._fetcher,
            decode=self._decoded,
            cache=cache,
            telemetry=telemetry,
            limits=limits,
            clock=clock,
        )

    @property
    def loads_in_flight(self) -> int:
        """Models that are being loaded or wait for it."""
        return len(self._flights)

    @property
    def refreshes_in_flight(self) -> int:
        """Models that are being checked against the store or wait for it."""
        return self._refresher.in_flight

    @property
    def remembered_failures(self) -> int:
        """Models that are remembered as not there or not usable."""
        return len(self._failures)

    @property
    def store_down(self) -> bool:
        """Whether the store has not answered for a while."""
        return self._fetcher.down

    def lookup(self, customer_id: str, version: int | None = None) -> ModelSlot | None:
        """The model if it is in memory, without waiting. An old one is checked against the store afterwards."""
        slot = self._cache.get((customer_id, version))
        if slot is None:
            # A version that a request names is often the active one: no need to have it twice.
            slot = self._cache.get((customer_id, None)) if version is not None else None
            if slot is None or slot.model.metadata.model_version != version:
                return None
        slot.used_at = now = self._clock()
        # A published version never changes, so only what follows the active one can get old.
        if now - slot.checked_at > self._limits.refresh_interval_s and slot.key[1] is None:
            self._refresher.ask(slot)
        if slot.stale:
            self._telemetry.stale_serve()
        return slot

    def peek(self, customer_id: str) -> ModelSlot | None:
        """The active model as it is in memory, without using it; None where it is not."""
        return self._cache.peek((customer_id, None))

    async def refresh(self, customer_id: str) -> None:
        """Compares the active model with the store as it is now, where it is in memory or on its way there.

        The store is asked again even where a request or a check has just asked it: its answer may be older.
        """
        key = (customer_id, None)
        self._failures.forget(key)
        if key in self._flights:
            with suppress(ForecastError):
                await self.load(customer_id)
        slot = self._cache.peek(key)
        if slot is not None:
            await self._refresher.check_now(slot)

    async def load(self, customer_id: str, version: int | None = None) -> ModelSlot:
        """The model, fetched from the store; shared with everyone who waits for the same one.

        Raises ModelNotFound, ModelVersionNotFound, ModelFormatForbidden, ModelFormatUnsupported, ModelCorrupt,
        StoreUnavailable; Overloaded where too many models wait; DeadlineExceeded where the wait is too long.
        """
        key = (customer_id, version)
        known = self._failures.current(key)
        if known is not None:
            self._telemetry.negative_hit(known.reason)
            raise known
        self._telemetry.missed(self._cause(key))
        await self._fetcher.turn()
        if (slot := self._at_hand(key)) is not None:
            return slot
        if len(self._flights) >= self._limits.max_waiting and key not in self._flights:
            raise Overloaded("Too many models are being loaded; try again in a moment.", retry_after_s=1.0)
        was_down = self._fetcher.down
        if was_down and (lent := await self._lent(key)):
            return lent
        try:
            return await self._awaited(key)
        except StoreUnavailable:
            if not was_down and (lent := await self._lent(key)):
                return lent
            raise

    def _at_hand(self, key: ModelKey) -> ModelSlot | None:
        """The model, where the store has it at hand: without the thread and the task of a flight.

        Raises ModelNotFound where the store knows at once that there is no such customer, and what others have
        learnt of it meanwhile.
        """
        if (slot := self._cache.peek(key)) is not None:
            return slot
        if (known := self._failures.current(key)) is not None:
            raise known
        failure = self._failures.last(key)
        if key in self._flights or (failure is not None and failure.etag):
            return None
        started = self._clock()
        try:
            fetched = self._fetcher.at_hand(key)
        except ForecastError as exc:
            self._failed(key, exc, "", started)
            raise
        if fetched is None:
            return None
        self._telemetry.load_stage("fetch", self._clock() - started)
        return self._taken_in(key, fetched, started)

    async def _awaited(self, key: ModelKey) -> ModelSlot:
        """The model from the store, if it comes within the time that there is for that.

        Next to none where the store is down; if it is back by then, as much as always.
        """
        limit_s = self._limits.request_timeout_s
        if self._fetcher.down:
            if slot := await self._patiently(key):
                return slot
            limit_s -= PATIENCE_S
        try:
            return await self._within(limit_s, key)
        except TimeoutError as exc:
            if self._fetcher.down:
                raise no_answer() from exc
            raise DeadlineExceeded("The model was not loaded in time; try again.") from exc

    async def _patiently(self, key: ModelKey) -> ModelSlot | None:
        """The model from a store that is down; None where that is back, without the model as yet."""
        try:
            return await self._within(PATIENCE_S, key)
        except TimeoutError as exc:
            if self._fetcher.down:
                raise no_answer() from exc
            return None

    async def _within(self, limit_s: float, key: ModelKey) -> ModelSlot:
        async with asyncio.timeout(limit_s):
            return await self._flights.run(key, lambda: self._load(key))

    def _cause(self, key: ModelKey) -> str:
        """Why a model is not in memory."""
        if key in self._flights:
            return "loading"
        return "dropped" if self._cache.was_dropped(key) else "new"

    async def _lent(self, key: ModelKey) -> ModelSlot | None:
        """The active model from another replica, to be checked as soon as the store answers again."""
        customer_id, version = key
        loan = None if version is not None else await self._borrower.loan(customer_id)
        if loan is None:
            return None
        # Whoever else has waited for the same loan has put it there already.
        if (slot := self._cache.get(key)) is None:
            now = self._clock()
            self._telemetry.borrowed(customer_id, loan.model.metadata.model_version)
            slot = ModelSlot(key=key, model=loan.model, etag=loan.etag, checked_at=now, loaded_at=now)
            slot.used_at, slot.loaded_for = now, loading_for.get()
            slot = self._cache.put(slot)
            slot.stale = True
        return slot

    async def _load(self, key: ModelKey) -> ModelSlot:
        started = self._clock()
        failure = self._failures.last(key)
        etag = failure.etag if failure is not None else ""
        try:
            fetched = await self._fetcher.load(key, etag)
            if fetched is None:
                assert failure is not None  # noqa: S101 - without its etag there is always an answer
                raise failure.error
        except ForecastError as exc:
            self._failed(key, exc, etag, started)
            raise
        return self._taken_in(key, fetched, started)

    def _taken_in(self, key: ModelKey, fetched: Fetched, started: float) -> ModelSlot:
        """The model in memory, of what a load that began at `started` has brought."""
        try:
            model = self._decoded(fetched, key)
        except ForecastError as exc:
            self._failed(key, exc, fetched.etag, started)
            raise
        self._failures.forget(key)
        self._collector.loaded()
        now = self._clock()
        self._telemetry.loaded(key[0], model, now - started)
        slot = ModelSlot(key=key, model=model, etag=fetched.etag, checked_at=now, loaded_at=now, used_at=now)
        slot.loaded_for = loading_for.get()
        return self._cache.put(slot)

    def _failed(self, key: ModelKey, error: ForecastError, etag: str, started: float) -> None:
        self._failures.note(key, error, etag)
        self._telemetry.load_failed(key[0], error, self._clock() - started)

    def _decoded(self, fetched: Fetched, key: ModelKey) -> ServedModel:
        started = self._clock()
        model = closed_after_use(self._decode(fetched.data, *key))
        self._telemetry.load_stage("decode", self._clock() - started)
        return model
