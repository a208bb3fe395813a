"""Asking the store: so many loads at a time, each within its time limit; and noticing that it does not answer."""

import asyncio
from collections.abc import Callable

from forecast_grpc.errors import ForecastError, ModelNotFound, StoreUnavailable
from forecast_grpc.loading.allowance import Allowance
from forecast_grpc.loading.limits import LoadLimits
from forecast_grpc.loading.rings import ModelKey
from forecast_grpc.store import Fetched, ModelStore
from forecast_grpc.telemetry import Telemetry

DOWN_AFTER = 8
"""Fetches in a row without an answer after which the store is taken to be down: one may be about one model."""

_RETRY_AFTER_S = 1.0


def no_answer() -> StoreUnavailable:
    """The error for a store that takes too long."""
    return StoreUnavailable("The store of models did not answer in time.", retry_after_s=_RETRY_AFTER_S)


class Fetcher:
    """The loader's way to the store."""

    def __init__(
        self, *, store: ModelStore, limits: LoadLimits, telemetry: Telemetry, clock: Callable[[], float]
    ) -> None:
        self._store = store
        self._timeout_s = limits.store_timeout_s
        self._turns = asyncio.Semaphore(limits.max_concurrent)
        self._telemetry = telemetry
        self._clock = clock
        self._unanswered = 0
        self._allowance = Allowance()

    @property
    def down(self) -> bool:
        """Whether the store has not answered for a while. The first answer, to whatever question, ends it."""
        return self._unanswered >= DOWN_AFTER

    async def load(self, key: ModelKey, etag: str) -> Fetched | None:
        """The model's bytes, when its turn has come; None where the store still calls them `etag`.

        Raises as `ModelStore.fetch`. While the store is down only a load that finds a free turn asks it: those
        that had to wait fail at once, so that a queue does not take its time limit many times over.
        """
        started, had_to_wait = self._clock(), self._turns.locked()
        async with self._turns:
            began = self._clock()
            self._telemetry.load_stage("wait", began - started)
            if had_to_wait and self.down:
                raise no_answer()
            fetched = await self.fetch(key, etag)
            self._telemetry.load_stage("fetch", self._clock() - began)
            return fetched

    async def turn(self) -> None:
        """Waits for a round of the loop that has time to look at what is at hand: as a rule this one."""
        await self._allowance.wait()

    def at_hand(self, key: ModelKey) -> Fetched | None:
        """The model's bytes where the store has them at hand; after a `turn`.

        Raises ModelNotFound where the store knows at once that there is no such customer.
        """
        customer_id, version = key
        try:
            found = self._store.at_hand(customer_id, version=version)
        except ModelNotFound:
            self._unanswered = 0
            raise
        if found is not None:
            self._unanswered = 0
        return found

    async def check(self, key: ModelKey, etag: str) -> Fetched | None:
        """As `fetch`, for what nobody waits for: what the store has at hand costs no thread."""
        await self.turn()
        found = self.at_hand(key)
        if found is None:
            return await self.fetch(key, etag)
        return None if found.etag == etag else found

    async def fetch(self, key: ModelKey, etag: str) -> Fetched | None:
        """As `load`, without waiting for a turn."""
        customer_id, version = key
        try:
            async with asyncio.timeout(self._timeout_s):
                fetched = await self._store.fetch(customer_id, version=version, if_none_match=etag or None)
        except TimeoutError as exc:
            self._unanswered += 1
            raise no_answer() from exc
        except StoreUnavailable:
            self._unanswered += 1
            raise
        except ForecastError:
            self._unanswered = 0
            raise
        self._unanswered = 0
        return fetched
