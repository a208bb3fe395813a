"""The frames of HTTP/2 (RFC 9113): what they look like, and what is said where they are wrong."""

from enum import IntEnum
from struct import Struct

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
"""What a client sends first."""

HEAD = Struct(">BHBBI")
"""Of each frame: the length's upper eight and lower sixteen bits, type, flags, stream."""

MAX_FRAME_BYTES = 16_384
"""The payload that either side takes if it says nothing else."""

FIRST_WINDOW_BYTES = 65_535
"""What may be sent before the other side has said anything."""

MAX_WINDOW_BYTES = 2**31 - 1
"""The largest window that there is."""

END_STREAM = ACK = 0x1
END_HEADERS = 0x4
PADDED = 0x8
PRIORITY = 0x20


class Kind(IntEnum):
    """The types of frames."""

    DATA = 0
    HEADERS = 1
    PRIORITY = 2
    RST_STREAM = 3
    SETTINGS = 4
    PUSH_PROMISE = 5
    PING = 6
    GOAWAY = 7
    WINDOW_UPDATE = 8
    CONTINUATION = 9


class Reason(IntEnum):
    """Why a stream or a connection ends."""

    NO_ERROR = 0
    PROTOCOL_ERROR = 1
    INTERNAL_ERROR = 2
    FLOW_CONTROL_ERROR = 3
    FRAME_SIZE_ERROR = 6
    REFUSED_STREAM = 7
    CANCEL = 8
    COMPRESSION_ERROR = 9
    ENHANCE_YOUR_CALM = 11


class Setting(IntEnum):
    """What one side tells the other of itself."""

    INITIAL_WINDOW_SIZE = 4
    MAX_FRAME_SIZE = 5
    MAX_HEADER_LIST_SIZE = 6


class ConnectionFault(Exception):
    """The other side has broken the protocol, and the connection ends."""

    def __init__(self, reason: Reason, text: str) -> None:
        super().__init__(text)
        self.reason = reason
        """What the other side is told."""


def frame(kind: Kind, flags: int, stream_id: int, payload: bytes = b"") -> bytes:
    """A frame's bytes."""
    length = len(payload)
    return HEAD.pack(length >> 16, length & 0xFFFF, kind, flags, stream_id) + payload


def settings(values: dict[Setting, int]) -> bytes:
    """The frame that tells them."""
    return frame(Kind.SETTINGS, 0, 0, b"".join(_SETTING.pack(name, value) for name, value in values.items()))


def settings_in(payload: bytes) -> dict[int, int]:
    """What the other side tells of itself. Raises ConnectionFault."""
    if len(payload) % _SETTING.size:
        raise ConnectionFault(Reason.FRAME_SIZE_ERROR, "settings of half a value")
    told: dict[int, int] = dict(_SETTING.iter_unpack(payload))
    if told.get(Setting.INITIAL_WINDOW_SIZE, 0) > MAX_WINDOW_BYTES:
        raise ConnectionFault(Reason.FLOW_CONTROL_ERROR, "a window that is too large")
    if not MAX_FRAME_BYTES <= told.get(Setting.MAX_FRAME_SIZE, MAX_FRAME_BYTES) < _FRAME_LIMIT:
        raise ConnectionFault(Reason.PROTOCOL_ERROR, "frames of a size that there is not")
    return told


def window_update(stream_id: int, size: int) -> bytes:
    """So many bytes more may come."""
    return frame(Kind.WINDOW_UPDATE, 0, stream_id, size.to_bytes(4, "big"))


def reset(stream_id: int, reason: Reason) -> bytes:
    """A stream ends here."""
    return frame(Kind.RST_STREAM, 0, stream_id, reason.to_bytes(4, "big"))


def going(last_stream_id: int, reason: Reason) -> bytes:
    """No stream after this one is answered on this connection."""
    return frame(Kind.GOAWAY, 0, 0, last_stream_id.to_bytes(4, "big") + reason.to_bytes(4, "big"))


def content(flags: int, payload: bytes) -> bytes:
    """What a frame of DATA or HEADERS holds, without padding and priority. Raises ConnectionFault."""
    first, last = 0, len(payload)
    if flags & PADDED:
        if not payload:
            raise ConnectionFault(Reason.FRAME_SIZE_ERROR, "padding without its length")
        first, last = 1, last - payload[0]
    if flags & PRIORITY:
        first += 5
    if first > last:
        raise ConnectionFault(Reason.PROTOCOL_ERROR, "more padding than payload")
    return payload[first:last]


_SETTING = Struct(">HI")
_FRAME_LIMIT = 2**24
