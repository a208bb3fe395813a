"""Single flight: whoever asks for what is already on its way waits for that, and does not ask again."""

import asyncio
from collections.abc import Callable, Coroutine, Hashable
from functools import partial
from typing import Any, Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class SingleFlight(Generic[K, V]):
    """At most one call a key under way. Every caller gets the outcome of the flight that it joined."""

    def __init__(self) -> None:
        self._flights: dict[K, asyncio.Task[V]] = {}

    def __len__(self) -> int:
        """Flights under way."""
        return len(self._flights)

    def __contains__(self, key: K) -> bool:
        """Whether a flight for this key is under way."""
        return key in self._flights

    async def run(self, key: K, call: Callable[[], Coroutine[Any, Any, V]]) -> V:
        """The outcome of `call`, or of the flight for `key` that is already under way.

        A caller that is cancelled leaves the flight; the flight goes on to its end for the others, and for the
        cache. Raises what `call` raises.
        """
        task = self._flights.get(key)
        if task is None:
            task = asyncio.create_task(call())
            self._flights[key] = task
            task.add_done_callback(partial(self._land, key))
        return await asyncio.shield(task)

    def _land(self, key: K, task: asyncio.Task[V]) -> None:
        del self._flights[key]
        if not task.cancelled():
            # Mark the exception as seen: when every caller has left, nobody else will look at it.
            task.exception()
