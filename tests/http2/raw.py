"""A client that writes and reads frames as it likes."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import NamedTuple

import hpack

from forecast_grpc.http2 import frames
from forecast_grpc.http2.frames import Kind, frame

POST = [(":method", "POST"), (":scheme", "http"), (":authority", "a"), (":path", "/t/echo")]
GRPC = [*POST, ("content-type", "application/grpc"), ("te", "trailers")]
WHOLE = frames.END_HEADERS | frames.END_STREAM


class Frame(NamedTuple):
    """One that has come."""

    kind: int
    flags: int
    stream_id: int
    payload: bytes


class Raw:
    """A connection whose preface and settings have been sent."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self._decoder = hpack.Decoder()

    def send(self, *parts: bytes) -> None:
        """Bytes, as they are."""
        self._writer.write(b"".join(parts))

    async def next(self, *kinds: Kind) -> Frame:
        """The next frame of one of these kinds. Raises IncompleteReadError where the connection ends before."""
        while True:
            head = await asyncio.wait_for(self._reader.readexactly(9), 20)
            high, low, kind, flags, stream_id = frames.HEAD.unpack(head)
            payload = await self._reader.readexactly(high << 16 | low)
            if kind in kinds:
                return Frame(kind, flags, stream_id, payload)

    async def headers(self) -> tuple[Frame, dict[str, str]]:
        """The next headers or trailers."""
        found = await self.next(Kind.HEADERS)
        return found, {str(name): str(value) for name, value in self._decoder.decode(found.payload)}

    async def sent_away(self) -> frames.Reason:
        """Why the server closes the connection, once it has."""
        told = await self.next(Kind.GOAWAY)
        assert await asyncio.wait_for(self._reader.read(), 20) == b""
        return frames.Reason(int.from_bytes(told.payload[4:8], "big"))

    async def alive(self) -> bool:
        """Whether the server answers a ping."""
        self.send(frame(Kind.PING, 0, 0, b"sure? 12"))
        while (await self.next(Kind.PING)).payload != b"sure? 12":
            pass  # The answer to another one.
        return True


def block(fields: Sequence[tuple[str, str]]) -> bytes:
    """Headers, of which no table learns."""
    encoder = hpack.Encoder()
    encoder.header_table_size = 0
    return encoder.encode(fields)


def call(stream_id: int, path: str = "/t/echo", flags: int = frames.END_HEADERS) -> bytes:
    """The headers of a call."""
    fields = [(name, path if name == ":path" else value) for name, value in GRPC]
    return frame(Kind.HEADERS, flags, stream_id, block(fields))


def data(stream_id: int, message: bytes, flags: int = frames.END_STREAM) -> bytes:
    """A message."""
    return frame(Kind.DATA, flags, stream_id, b"\0" + len(message).to_bytes(4, "big") + message)


@asynccontextmanager
async def connected(port: int, settings: dict[frames.Setting, int] | None = None) -> AsyncIterator[Raw]:
    """A connection that has begun, with these settings."""
    reader, writer = await asyncio.open_connection("localhost", port)
    try:
        raw = Raw(reader, writer)
        raw.send(frames.PREFACE, frames.settings(settings or {}))
        yield raw
    finally:
        writer.close()
