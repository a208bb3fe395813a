"""One stream: it reads while there is room, answers what it has read, and gives out what is ready."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field

from forecast_grpc.bulk.work import Work
from forecast_grpc.errors import ForecastError
from forecast_grpc.items import Block, Items

MAX_MESSAGE_BYTES = 2**20
"""Bytes of results that share a message: gRPC clients accept 4 MiB unless told otherwise."""

_VALUE_BYTES = 8


@dataclass(slots=True, kw_only=True)
class Window:
    """What a stream holds, and how much that may be."""

    max_items: int
    """Items that have been read, and whose results have not been taken."""

    max_values: int
    """Values in those items and results."""

    items: int = 0
    """How many items that is now."""

    values: int = 0
    """How many values."""

    room: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when there is less than there was."""

    async def wait(self) -> None:
        """Returns when more may be read."""
        while self.items >= self.max_items or self.values >= self.max_values:
            self.room.clear()
            await self.room.wait()


@dataclass(slots=True, eq=False)
class _Message:
    """A message whose items have not all been answered."""

    items: Items
    unanswered: int


class Stream:
    """From items, as they come, to results, as they are ready.

    A result takes its place in the window until the caller's side has taken it and asks for the next ones. So a
    caller who does not read ends up with a full window, and nothing more is read from it; after a while the stream
    ends.
    """

    def __init__(
        self,
        *,
        work: Work,
        messages: AsyncIterator[Items],
        encode: Callable[[Block], Sequence[bytes]],
        window: Window,
        patience_s: float,
        late: ForecastError,
    ) -> None:
        """`encode` gives the result of each place of a block as the wire has it.

        The task that takes the results is cancelled, with `late`, when it has been busy with some of them for
        `patience_s`.
        """
        self._work = work
        self._source = messages
        self._encode = encode
        self._window = window
        self._patience_s = patience_s
        self._late = late
        self.stalled = False
        """Whether the caller has taken no results for longer than we wait."""
        self._messages: dict[int, _Message] = {}
        self._ready: list[bytes] = []
        self._changed = asyncio.Event()

    async def results(self) -> AsyncGenerator[Sequence[bytes], None]:
        """What is ready, whenever there is something, until the caller has sent all and got all.

        Raises what reading raises.
        """
        reading = asyncio.create_task(self._read())
        reading.add_done_callback(lambda _: self._changed.set())
        try:
            with closing(self._work):
                while self._ready or not reading.done():
                    if not self._ready:
                        self._changed.clear()
                        await self._changed.wait()
                        continue
                    some = self._some()
                    with self._limited():
                        yield some
                    self._window.items -= len(some)
                    self._window.values -= sum(map(len, some)) // _VALUE_BYTES
                    self._window.room.set()
                await reading
        finally:
            reading.cancel()
            with suppress(asyncio.CancelledError):
                await reading

    @contextmanager
    def _limited(self) -> Iterator[None]:
        """Ends a stream whose results nobody takes.

        Whether the caller is still there cannot be known: HAProxy reads nothing more from one whose buffers are
        full.
        """
        timer = asyncio.get_running_loop().call_later(self._patience_s, self._stall, asyncio.current_task())
        try:
            yield
        finally:
            timer.cancel()

    def _stall(self, taker: asyncio.Task[object] | None) -> None:
        self.stalled = True
        if taker is not None:
            taker.cancel(self._late)

    def _some(self) -> Sequence[bytes]:
        """As many of the results that are ready as share a message."""
        size = 0
        for count, result in enumerate(self._ready):
            size += len(result)
            if size > MAX_MESSAGE_BYTES and count:
                some, self._ready = self._ready[:count], self._ready[count:]
                return some
        some, self._ready = self._ready, []
        return some

    async def _read(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            waiting: asyncio.Task[None] | None = None
            async for items in self._source:
                self._window.items += len(items)
                self._window.values += items.values
                if len(items):
                    self._messages[id(items)] = _Message(items, len(items))
                async for block in self._work.taken(items):
                    self._put(block)
                if self._work.is_waiting and (waiting is None or waiting.done()):
                    waiting = tasks.create_task(self._wait())
                await self._window.wait()

    async def _wait(self) -> None:
        """Takes the results of items whose models are loaded, as long as there are such items."""
        while self._work.is_waiting:
            async for block in self._work.loaded():
                self._put(block)

    def _put(self, block: Block) -> None:
        encoded = self._encode(block)
        self._ready.extend(encoded)
        self._window.values += sum(map(len, encoded)) // _VALUE_BYTES
        message = self._messages[id(block.items)]
        message.unanswered -= len(block.places)
        if not message.unanswered:
            self._window.values -= block.items.values
            del self._messages[id(block.items)]
        self._changed.set()
