"""Messages of gRPC, as they come in pieces: a flag, a length, the bytes."""

import zlib
from struct import Struct

import grpc

from forecast_grpc.http2.faults import RpcFault

PREFIX = Struct(">BI")
"""Before each message: whether it is compressed, and its length in bytes."""

ENCODINGS = {"deflate": 15, "gzip": 31}
"""Ways to compress a message that are understood, with zlib's `wbits`."""


class Messages:
    """Puts one call's messages together."""

    __slots__ = ("_encoding", "_limit", "_pieces")

    def __init__(self, encoding: str, limit: int) -> None:
        """How they are compressed, and how long each may be, unpacked, in bytes. Raises RpcFault."""
        if encoding not in ENCODINGS and encoding != "identity":
            text = f"Messages may be compressed by {' or '.join(ENCODINGS)}, not by {encoding[:20]}."
            raise RpcFault(grpc.StatusCode.UNIMPLEMENTED, text)
        self._encoding, self._limit = encoding, limit
        self._pieces = bytearray()

    @property
    def whole(self) -> bool:
        """Whether nothing is left of which the rest has not come."""
        return not self._pieces

    def feed(self, data: bytes) -> list[bytes]:
        """What has become whole with this piece. Raises RpcFault."""
        size = len(data)
        # As a rule a message comes in one piece.
        if not self._pieces and size >= PREFIX.size:
            compressed, length = PREFIX.unpack_from(data)
            if length == size - PREFIX.size and length <= self._limit:
                return [self._opened(compressed, data[PREFIX.size :])]
        self._pieces += data
        return self._cut()

    def _cut(self) -> list[bytes]:
        found, at, pieces = [], 0, self._pieces
        while len(pieces) - at >= PREFIX.size:
            compressed, length = PREFIX.unpack_from(pieces, at)
            if length > self._limit:
                raise self._too_long(length)
            start, end = at + PREFIX.size, at + PREFIX.size + length
            if len(pieces) < end:
                break
            found.append(self._opened(compressed, bytes(pieces[start:end])))
            at = end
        del pieces[:at]
        return found

    def _opened(self, compressed: int, body: bytes) -> bytes:
        if not compressed:
            return body
        if compressed != 1 or self._encoding == "identity":
            raise RpcFault(grpc.StatusCode.INTERNAL, "A message says that it is compressed, and not how.")
        unpacker = zlib.decompressobj(ENCODINGS[self._encoding])
        try:
            opened = unpacker.decompress(body, self._limit)
        except zlib.error as exc:
            raise RpcFault(grpc.StatusCode.INTERNAL, "A compressed message cannot be unpacked.") from exc
        if unpacker.unconsumed_tail:
            raise self._too_long(None)
        if not unpacker.eof:
            raise RpcFault(grpc.StatusCode.INTERNAL, "A compressed message is cut off.")
        return opened

    def _too_long(self, length: int | None) -> RpcFault:
        size = f"of {length} bytes" if length is not None else "that is unpacked"
        text = f"A message {size} is longer than the {self._limit} bytes that are taken."
        return RpcFault(grpc.StatusCode.RESOURCE_EXHAUSTED, text)
