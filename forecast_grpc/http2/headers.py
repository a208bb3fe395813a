"""Headers and trailers: HPACK (RFC 7541), and what gRPC writes into them.

Blocks are read here and not by the library, which takes 40 us for one of HAProxy's: its own code for numbers and
strings, an object for each field. Huffman's code and the static table are the library's.
"""

import binascii
from base64 import b64decode, b64encode
from collections import deque
from collections.abc import Iterable
from urllib.parse import quote_from_bytes

import grpc
from hpack.exceptions import HPACKDecodingError
from hpack.huffman_table import decode_huffman
from hpack.table import HeaderTable

from forecast_grpc.http2.faults import RpcFault
from forecast_grpc.http2.frames import ConnectionFault, Reason

MAX_BYTES = 64 * 1024
"""Of all headers of a call together, unpacked."""

TABLE_BYTES = 4_096
"""How large a connection's own table may become."""

Field = tuple[str, str]
Fields = list[Field]
"""Names and values, in the order in which they came."""

_STATIC: list[Field] = [
    ("", ""),
    *((name.decode(), value.decode()) for name, value in HeaderTable.STATIC_TABLE),
]
_OVERHEAD_BYTES = 32  # What RFC 7541 counts for a field beside its name and its value.
_INDEXED, _ADDED, _RESIZED, _HUFFMAN = 0x80, 0x40, 0x20, 0x80
_LONG = 0x7F  # A string of so many bytes or more has its length in several.
_MAX_SHIFT = 28


class HeaderReader:
    """Reads one connection's blocks, in the order in which they come."""

    def __init__(self) -> None:
        self._table: deque[Field] = deque()
        self._used = 0
        self._limit = TABLE_BYTES

    def read(self, block: bytes) -> Fields:
        """The fields. Raises ConnectionFault: nothing that follows could be understood."""
        try:
            return self._fields(block)
        except (IndexError, HPACKDecodingError) as exc:
            raise _unreadable() from exc

    def _fields(self, block: bytes) -> Fields:
        fields: Fields = []
        at, end, size = 0, len(block), 0
        while at < end:
            first = block[at]
            if first & _INDEXED:
                index, at = _number(block, at, 0x7F)
                field = self._entry(index)
            elif first & _RESIZED and not first & _ADDED:
                limit, at = _number(block, at, 0x1F)
                self._resize(limit, first=not fields)
                continue
            else:
                index, at = _number(block, at, 0x3F if first & _ADDED else 0x0F)
                if index:
                    name = self._entry(index)[0]
                else:
                    name, at = _string(block, at)
                value, at = _string(block, at)
                field = (name, value)
                if first & _ADDED:
                    self._add(field)
            size += len(field[0]) + len(field[1]) + _OVERHEAD_BYTES
            if size > MAX_BYTES:
                raise ConnectionFault(Reason.ENHANCE_YOUR_CALM, "more headers than are taken")
            fields.append(field)
        if at > end:
            raise _unreadable()
        return fields

    def _entry(self, index: int) -> Field:
        if 0 < index < len(_STATIC):
            return _STATIC[index]
        if not index:
            raise _unreadable()
        return self._table[index - len(_STATIC)]

    def _add(self, field: Field) -> None:
        self._table.appendleft(field)
        self._used += len(field[0]) + len(field[1]) + _OVERHEAD_BYTES
        if self._used > self._limit:
            self._fit()

    def _resize(self, limit: int, *, first: bool) -> None:
        if limit > TABLE_BYTES or not first:
            raise _unreadable()
        self._limit = limit
        self._fit()

    def _fit(self) -> None:
        while self._used > self._limit:
            name, value = self._table.pop()
            self._used -= len(name) + len(value) + _OVERHEAD_BYTES


def _number(block: bytes, at: int, mask: int) -> tuple[int, int]:
    """A number in the lower bits of a byte, and in those that follow where it is larger; where it ends."""
    number = block[at] & mask
    at += 1
    if number < mask:
        return number, at
    for shift in range(0, _MAX_SHIFT, 7):
        byte = block[at]
        at += 1
        number += (byte & 0x7F) << shift
        if byte < _INDEXED:
            return number, at
    raise _unreadable()


def _string(block: bytes, at: int) -> tuple[str, int]:
    first = block[at]
    if first < _LONG:
        start = at + 1
        return _text(block[start : start + first]), start + first
    length, start = _number(block, at, _LONG)
    raw = block[start : start + length]
    if len(raw) < length:
        raise _unreadable()
    return _text(decode_huffman(raw) if first & _HUFFMAN else raw), start + length


def _text(raw: bytes) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw.decode("latin-1")


def _unreadable() -> ConnectionFault:
    return ConnectionFault(Reason.COMPRESSION_ERROR, "headers that cannot be read")


def block(fields: Iterable[tuple[str, str | bytes]]) -> bytes:
    """The block of some metadata: plain text, so that it can be made of pieces. Bytes under names in -bin."""
    return b"".join([_field(name, value) for name, value in fields])


def _field(name: str, value: str | bytes) -> bytes:
    if name.endswith("-bin"):
        raw = b64encode(value if isinstance(value, bytes) else value.encode()).rstrip(b"=")
    else:
        raw = value if isinstance(value, bytes) else value.encode()
    key = name.encode()
    if len(key) < _LONG and len(raw) < _LONG:
        return b"\0%c%b%c%b" % (len(key), key, len(raw), raw)
    return b"\0%b%b%b%b" % (_length(key), key, _length(raw), raw)


def _length(text: bytes) -> bytes:
    """A string's length, as HPACK writes numbers into seven bits and what they need beyond."""
    length = len(text)
    if length < _LONG:
        return bytes((length,))
    written, rest = bytearray((_LONG,)), length - _LONG
    while rest > _LONG:
        written.append(rest & _LONG | 0x80)
        rest >>= 7
    written.append(rest)
    return bytes(written)


ANSWER = block([(":status", "200"), ("content-type", "application/grpc")])
"""The block that every answer of gRPC begins with, an error too."""


def binary(name: str, value: str) -> bytes:
    """The bytes of a header whose name ends in -bin, in base64 with or without padding. Raises RpcFault."""
    try:
        return b64decode(value + "=" * (-len(value) % 4), validate=True)
    except binascii.Error as exc:
        text = f"The metadata {name[:40]} is not base64."
        raise RpcFault(grpc.StatusCode.INTERNAL, text) from exc


def message(text: str) -> str:
    """A status' sentence as `grpc-message` has it: percent-encoded outside of printable ASCII."""
    return quote_from_bytes(text.encode(), safe=_SAFE)


def status(code: grpc.StatusCode | int, details: str) -> bytes:
    """The block that says how a call has ended."""
    number = code.value[0] if isinstance(code, grpc.StatusCode) else int(code)
    return block([("grpc-status", str(number)), ("grpc-message", message(details))])


def seconds(timeout: str) -> float:
    """`grpc-timeout`, eight digits and a unit, in seconds. Raises RpcFault."""
    digits, unit = timeout[:-1], _UNITS.get(timeout[-1:])
    if unit is None or not digits.isdecimal() or not digits.isascii() or len(digits) > _MAX_DIGITS:
        raise RpcFault(grpc.StatusCode.INTERNAL, "grpc-timeout is eight digits at most, and a unit.")
    return int(digits) * unit


_SAFE = "".join(map(chr, range(0x20, 0x7F))).replace("%", "")
_UNITS = {"H": 3600.0, "M": 60.0, "S": 1.0, "m": 1e-3, "u": 1e-6, "n": 1e-9}
_MAX_DIGITS = 8
