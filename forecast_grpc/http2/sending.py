"""What a call sends: no more at a time than the other side has room for (RFC 9113, section 5.2)."""

import asyncio
from typing import Protocol

from forecast_grpc.http2.frames import END_HEADERS, END_STREAM, Kind, frame


class Waiting(Protocol):
    """Who waits for room."""

    def flush(self) -> None:
        """There is room."""
        ...

    def wake(self) -> None:
        """The kernel takes more."""
        ...


class Line(Protocol):
    """The connection, as far as calls send on it."""

    window: int
    """Bytes that may be sent on all streams together."""

    max_frame: int
    """Bytes that a frame may hold."""

    paused: bool
    """Whether the kernel takes no more for the time being."""

    blocked: set[int]
    """The streams that wait for room, by number."""

    def write(self, data: bytes) -> None:
        """Sends these bytes, now or as soon as they are taken."""
        ...


class Sender:
    """One stream's way out."""

    __slots__ = ("_last", "_line", "_unsent", "_waiter", "stream_id", "window")

    def __init__(self, line: Line, stream_id: int, window: int) -> None:
        self._line = line
        self.stream_id = stream_id
        """The stream's number."""
        self.window = window
        """Bytes that may be sent on this stream."""
        self._unsent = memoryview(b"")
        self._last: bytes | None = None
        self._waiter: asyncio.Future[None] | None = None

    @property
    def ended(self) -> bool:
        """Whether the stream's last frame has been sent, or is to follow what waits."""
        return self._last is not None

    def send(self, head: bytes, body: bytes, last: bytes | None) -> bool:
        """Sends a frame as it is, these bytes as data, and the stream's last frame. Whether that was the end."""
        size, line = len(body), self._line
        self._last = last
        if not self._unsent and size <= self.window and size <= line.window and size <= line.max_frame:
            if size:
                self.window -= size
                line.window -= size
                head += frame(Kind.DATA, 0, self.stream_id, body)
            line.write(head + last if last else head)
            return last is not None
        if head:
            line.write(head)
        self._unsent = memoryview(bytes(self._unsent) + body) if self._unsent else memoryview(body)
        return self.flush()

    def flush(self) -> bool:
        """Sends what there is room for of what waits. Whether the stream is at its end."""
        line = self._line
        while self._unsent:
            room = min(self.window, line.window, line.max_frame)
            if room <= 0:
                line.blocked.add(self.stream_id)
                return False
            piece, self._unsent = self._unsent[:room], self._unsent[room:]
            self.window -= len(piece)
            line.window -= len(piece)
            line.write(frame(Kind.DATA, 0, self.stream_id, bytes(piece)))
        self.wake()
        if self._last is None:
            return False
        line.write(self._last)
        return True

    async def sent(self) -> None:
        """Waits until all has been sent and there is room for more."""
        while self._unsent or self._line.paused:
            self._line.blocked.add(self.stream_id)
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None

    def wake(self) -> None:
        """Has who waits look again."""
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


def header_frame(stream_id: int, block: bytes, max_frame: int, *, last: bool) -> bytes:
    """A block of headers, in as many frames as it needs; the last ones of its stream, or not."""
    end = END_STREAM if last else 0
    if len(block) <= max_frame:
        return frame(Kind.HEADERS, END_HEADERS | end, stream_id, block)
    first, rest = block[:max_frame], block[max_frame:]
    frames = [frame(Kind.HEADERS, end, stream_id, first)]
    while rest:
        piece, rest = rest[:max_frame], rest[max_frame:]
        frames.append(frame(Kind.CONTINUATION, 0 if rest else END_HEADERS, stream_id, piece))
    return b"".join(frames)
