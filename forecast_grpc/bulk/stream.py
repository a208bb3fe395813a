"""One stream: it reads while there is room, answers what it has read, and gives out what is ready."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import closing, suppress
from typing import Generic, TypeVar

from forecast_grpc.bulk.work import Work
from forecast_grpc.items import Block, Items

R = TypeVar("R")


class Stream(Generic[R]):
    """From items, as they come, to results, as they are ready.

    An item takes a place in the window from the moment that its message is read until the results that are given
    out after its own are asked for: so a caller who does not read ends up with a full window, and nothing more is
    read from it.
    """

    def __init__(
        self,
        *,
        work: Work,
        messages: AsyncIterator[Items],
        encode: Callable[[Block], Sequence[R]],
        window: int,
    ) -> None:
        """`window`: items that may be on their way; a message that begins within it is read whole."""
        self._work = work
        self._messages = messages
        self._encode = encode
        self._window = window
        self._open = 0
        self._room = asyncio.Event()
        self._ready: list[R] = []
        self._changed = asyncio.Event()

    async def results(self) -> AsyncGenerator[Sequence[R], None]:
        """All that is ready, whenever there is something, until the caller has sent all and got all.

        Raises what reading raises.
        """
        reading = asyncio.create_task(self._read())
        reading.add_done_callback(lambda _: self._changed.set())
        try:
            with closing(self._work):
                while not reading.done() or self._ready:
                    await self._changed.wait()
                    self._changed.clear()
                    if self._ready:
                        ready, self._ready = self._ready, []
                        yield ready
                        self._open -= len(ready)
                        self._room.set()
                await reading
        finally:
            reading.cancel()
            with suppress(asyncio.CancelledError):
                await reading

    async def _read(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            waiting: asyncio.Task[None] | None = None
            async for items in self._messages:
                self._open += len(items)
                async for block in self._work.taken(items):
                    self._put(block)
                if self._work.is_waiting and (waiting is None or waiting.done()):
                    waiting = tasks.create_task(self._wait())
                while self._open >= self._window:
                    self._room.clear()
                    await self._room.wait()

    async def _wait(self) -> None:
        """Takes the results of items whose models are loaded, as long as there are such items."""
        while self._work.is_waiting:
            async for block in self._work.loaded():
                self._put(block)

    def _put(self, block: Block) -> None:
        self._ready.extend(self._encode(block))
        self._changed.set()
