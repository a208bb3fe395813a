"""The loader: fetches and decodes models outside Ray's lock, once for all who wait, and keeps them fresh.

Ray's multiplexer loads one model at a time, evicts before it knows whether the new model exists, and leaks on a
cancelled load. So nothing is handed to it before it is loaded: see `hot.py`.
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass

from forecast_grpc.domain import ServedModel
from forecast_grpc.errors import (
    DeadlineExceeded,
    ForecastError,
    NotFound,
    Overloaded,
    StoreUnavailable,
)
from forecast_grpc.loading.cache import ModelCache, ModelKey, ModelSlot
from forecast_grpc.loading.flight import SingleFlight
from forecast_grpc.store import Fetched, ModelStore
from forecast_grpc.telemetry import Telemetry

Decode = Callable[[bytes, str], ServedModel]
"""From the bytes of an artefact and its customer to a model; raises a ForecastError."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadLimits:
    """What the loader may spend."""

    max_concurrent: int
    """Models loaded at the same time."""

    max_waiting: int
    """Models that may wait for their turn."""

    store_timeout_s: float
    """Seconds that the store may take over one model."""

    request_timeout_s: float
    """Seconds that a request may wait for its model."""

    refresh_interval_s: float
    """Seconds after which a model in use is checked against the store."""


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
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._decode = decode
        self._cache = cache
        self._telemetry = telemetry
        self._limits = limits
        self._clock = clock
        self._flights: SingleFlight[ModelKey, ModelSlot] = SingleFlight()
        self._slots = asyncio.Semaphore(limits.max_concurrent)
        # The event loop keeps only weak references to tasks; a refresh must not be collected half-way.
        self._refreshes: set[asyncio.Task[None]] = set()

    @property
    def loads_in_flight(self) -> int:
        """Models that are being loaded or wait for it."""
        return len(self._flights)

    @property
    def refreshes_in_flight(self) -> int:
        """Models that are being checked against the store."""
        return len(self._refreshes)

    def lookup(self, customer_id: str, version: int | None = None) -> ModelSlot | None:
        """The model if it is in memory, without waiting. An old one is checked against the store afterwards."""
        slot = self._cache.get((customer_id, version))
        if slot is None:
            # A pinned version is often the active one: no need to have it twice.
            slot = self._cache.get((customer_id, None)) if version is not None else None
            if slot is None or slot.model.metadata.model_version != version:
                return None
        # A published version never changes, so only what follows the active one can get old.
        if slot.key[1] is None and self._clock() - slot.checked_at > self._limits.refresh_interval_s:
            self._refresh_soon(slot)
        return slot

    async def load(self, customer_id: str, version: int | None = None) -> ModelSlot:
        """The model, fetched from the store; shared with everyone who waits for the same one.

        Raises ModelNotFound, ModelVersionNotFound, ModelFormatForbidden, ModelFormatUnsupported, ModelCorrupt,
        StoreUnavailable; Overloaded where too many models wait; DeadlineExceeded where the wait is too long.
        """
        key = (customer_id, version)
        if len(self._flights) >= self._limits.max_waiting and key not in self._flights:
            raise Overloaded("Too many models are being loaded; try again in a moment.", retry_after_s=1.0)
        try:
            async with asyncio.timeout(self._limits.request_timeout_s):
                return await self._flights.run(key, lambda: self._load(key))
        except TimeoutError as exc:
            raise DeadlineExceeded("The model was not loaded in time; try again.") from exc

    async def _load(self, key: ModelKey) -> ModelSlot:
        started = self._clock()
        try:
            async with self._slots:
                fetched = await self._fetch(key, if_none_match=None)
            assert fetched is not None  # noqa: S101 - without `if_none_match` there is always an answer
            model = self._decode(fetched.data, key[0])
        except ForecastError as exc:
            self._telemetry.load_failed(key[0], exc, self._clock() - started)
            raise
        self._telemetry.loaded(key[0], model, self._clock() - started)
        return self._cache.put(ModelSlot(key=key, model=model, etag=fetched.etag, checked_at=self._clock()))

    async def _fetch(self, key: ModelKey, *, if_none_match: str | None) -> Fetched | None:
        customer_id, version = key
        try:
            async with asyncio.timeout(self._limits.store_timeout_s):
                return await self._store.fetch(customer_id, version=version, if_none_match=if_none_match)
        except TimeoutError as exc:
            raise StoreUnavailable("The store of models did not answer in time.", retry_after_s=1.0) from exc

    def _refresh_soon(self, slot: ModelSlot) -> None:
        if slot.refreshing:
            return
        slot.refreshing = True
        task = asyncio.create_task(self._refresh(slot))
        self._refreshes.add(task)
        task.add_done_callback(self._refreshes.discard)

    async def _refresh(self, slot: ModelSlot) -> None:
        """Checks one model against the store. Whatever goes wrong, what is in memory goes on serving."""
        try:
            async with self._slots:
                fetched = await self._fetch(slot.key, if_none_match=slot.etag)
            if fetched is None:
                slot.checked_at = self._clock()
                self._telemetry.refreshed(slot.key[0], "unchanged")
                return
            model = self._decode(fetched.data, slot.key[0])
            self._cache.replace(slot, model, fetched.etag, self._clock())
            self._telemetry.refreshed(slot.key[0], "replaced", version=model.metadata.model_version)
        except NotFound:
            self._cache.remove(slot)
            self._telemetry.refreshed(slot.key[0], "gone")
        except ForecastError as exc:
            # Not to be asked again at once by every request that comes.
            slot.checked_at = self._clock()
            self._telemetry.refreshed(slot.key[0], "failed", error=exc)
        except Exception as exc:  # noqa: BLE001 - logged whole: nobody waits for this task and would see it
            slot.checked_at = self._clock()
            self._telemetry.refreshed(slot.key[0], "failed")
            self._telemetry.failure("", exc)
        finally:
            slot.refreshing = False
