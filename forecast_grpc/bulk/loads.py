"""The models that a call lacks, loaded at the same time, so many and no more."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable

from forecast_grpc.errors import ForecastError
from forecast_grpc.items import ModelKey
from forecast_grpc.loading import Acquired

Arrival = tuple[ModelKey, Acquired | Exception]
"""What became of the load of a model."""


class Loads:
    """Loads models in the background. One call's loads: they end with it, though a load under way goes on."""

    def __init__(self, fetch: Callable[[str, int | None], Awaitable[Acquired]], width: int) -> None:
        """`width`: how many at the same time."""
        self._fetch = fetch
        self._width = width
        self._keys: deque[ModelKey] = deque()
        self._workers: set[asyncio.Task[None]] = set()
        self._arrivals: list[Arrival] = []
        self._arrived = asyncio.Event()

    def want(self, key: ModelKey) -> None:
        """Loads this model, after those that were wanted before."""
        self._keys.append(key)
        if len(self._workers) < self._width:
            worker = asyncio.create_task(self._work())
            self._workers.add(worker)
            worker.add_done_callback(self._workers.discard)

    async def arrivals(self) -> list[Arrival]:
        """All that have arrived since the last call; waits for the first."""
        await self._arrived.wait()
        self._arrived.clear()
        arrivals, self._arrivals = self._arrivals, []
        return arrivals

    def close(self) -> None:
        """Starts no more loads."""
        self._keys.clear()
        for worker in self._workers:
            worker.cancel()

    async def _work(self) -> None:
        while self._keys:
            key = self._keys.popleft()
            # Not in one line: the list is another one after the wait.
            outcome = await self._loaded(key)
            self._arrivals.append((key, outcome))
            self._arrived.set()

    async def _loaded(self, key: ModelKey) -> Acquired | Exception:
        try:
            return await self._fetch(*key)
        except ForecastError as exc:
            return exc
        except Exception as exc:  # noqa: BLE001 - whoever waits for it gets INTERNAL, and the log all of it
            return exc
