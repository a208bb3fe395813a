"""The messages of a caller who sends a stream of them, for the method that reads them."""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, Self


class Requests:
    """What has come and has not been read."""

    __slots__ = ("_come", "_emptied", "_ended", "_open", "_reader")

    def __init__(self, open_message: Callable[[bytes], Any], emptied: Callable[[], None]) -> None:
        """`open_message` is called for each as it is read; `emptied` when more may come."""
        self._open, self._emptied = open_message, emptied
        self._come: deque[bytes] = deque()
        self._ended = False
        self._reader: asyncio.Future[None] | None = None

    @property
    def waiting(self) -> int:
        """How many have not been read."""
        return len(self._come)

    def add(self, messages: Iterable[bytes]) -> None:
        """They have come."""
        self._come.extend(messages)
        self._wake()

    def end(self) -> None:
        """No more will come."""
        self._ended = True
        self._wake()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Any:  # noqa: ANN401 - the method's own type
        while not self._come:
            if self._ended:
                raise StopAsyncIteration
            self._reader = asyncio.get_running_loop().create_future()
            try:
                await self._reader
            finally:
                self._reader = None
        message = self._come.popleft()
        if not self._come:
            self._emptied()
        return self._open(message)

    def _wake(self) -> None:
        if self._reader is not None and not self._reader.done():
            self._reader.set_result(None)
