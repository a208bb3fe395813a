"""From bytes to frames: what a client sends first, frames in pieces, headers in several frames."""

from collections.abc import Iterator

from forecast_grpc.http2 import frames, headers
from forecast_grpc.http2.frames import HEAD, ConnectionFault, Kind, Reason

Frame = tuple[int, int, int, bytes]
"""Type, flags, stream, payload."""

_STREAM_BITS = 2**31 - 1
_OF_HEADERS = frozenset({Kind.HEADERS, Kind.CONTINUATION})


class FrameReader:
    """Reads one connection."""

    def __init__(self) -> None:
        self._rest = b""
        self._greeted = False
        self._block: Frame | None = None  # Headers whose end has not come.

    def read(self, data: bytes) -> Iterator[Frame]:
        """The frames that have become whole; headers as one, without padding. Raises ConnectionFault."""
        data = self._rest + data if self._rest else data
        at, end = 0 if self._greeted else self._greeting(data), len(data)
        while self._greeted and end - at >= HEAD.size:
            high, low, kind, flags, stream_id = HEAD.unpack_from(data, at)
            size = high << 16 | low
            if size > frames.MAX_FRAME_BYTES:
                raise ConnectionFault(Reason.FRAME_SIZE_ERROR, "a frame that is too long")
            start = at + HEAD.size
            if end - start < size:
                break
            at = start + size
            frame: Frame | None = (kind, flags, stream_id & _STREAM_BITS, data[start:at])
            if kind in _OF_HEADERS or self._block is not None:
                frame = self._joined(kind, flags, stream_id & _STREAM_BITS, data[start:at])
            if frame is not None:
                yield frame
        self._rest = data[at:]

    def _greeting(self, data: bytes) -> int:
        """Where the frames begin, once all has come that a client sends before them."""
        size = len(frames.PREFACE)
        if not frames.PREFACE.startswith(data[:size]):
            raise ConnectionFault(Reason.PROTOCOL_ERROR, "no HTTP/2")
        self._greeted = len(data) >= size
        return size if self._greeted else 0

    def _joined(self, kind: int, flags: int, stream_id: int, payload: bytes) -> Frame | None:
        """Headers with all that belongs to them; None as long as they go on."""
        if kind == Kind.HEADERS and self._block is None:
            block = (kind, flags, stream_id, frames.content(flags, payload))
        elif kind == Kind.CONTINUATION and self._block is not None and self._block[2] == stream_id:
            _, first_flags, _, before = self._block
            block = (Kind.HEADERS, first_flags, stream_id, before + payload)
        else:
            raise ConnectionFault(Reason.PROTOCOL_ERROR, "headers that do not go on, or go on from nowhere")
        if len(block[3]) > headers.MAX_BYTES:
            raise ConnectionFault(Reason.ENHANCE_YOUR_CALM, "headers without an end")
        self._block = None if flags & frames.END_HEADERS else block
        return None if self._block else block
