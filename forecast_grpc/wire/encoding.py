"""Forecasts to the bytes of a message's field `results`, many at a time.

protobuf would build an object for each field of each item, which takes as long as all the rest. So the fields of a
forecast that differ between items, its numbers, are put behind those that do not, which protobuf has encoded once:
the encoding of a message is that of its fields one after the other, in any order, and a packed field of doubles is
their little-endian bytes (https://protobuf.dev/programming-guides/encoding/). See docs/decisions.
"""

import struct
from collections.abc import Iterator, Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from forecast_grpc.domain import FloatArray
from forecast_grpc.items import Rows, Source
from forecast_grpc.v1 import forecast_pb2 as pb
from forecast_grpc.wire.answers import model_to_proto

_RESULTS = b"\x0a"  # BatchForecastResponse.results and StreamForecastResponse.results: field 1, bytes follow.
_RESULT_TAG = b"\x0a"  # ForecastResult.tag: 1
_RESULT_RESPONSE = b"\x12"  # ForecastResult.response: 2
_FORECAST = b"\x12"  # ForecastResponse.forecast: 2
_QUANTILES = b"\x1a"  # ForecastResponse.quantiles: 3
_LEVEL = b"\x09"  # QuantileForecast.level: 1, eight bytes follow.
_VALUES = b"\x12"  # QuantileForecast.values: 2

_CONTINUED = 128


def entry(result: pb.ForecastResult) -> bytes:
    """One result as an entry of the field `results`."""
    return _field(_RESULTS, result.SerializeToString())


def rows_to_entries(rows: Rows, tags: Sequence[str]) -> list[bytes]:
    """The result of each row, under its tag, as an entry of the field `results`."""
    numbers, width = _numbers(rows)
    heads: dict[int, bytes] = {}
    entries: list[bytes] = []
    start = 0
    for source, tag in zip(rows.sources, tags, strict=True):
        head = heads.get(id(source))
        if head is None:
            head = heads[id(source)] = _RESULT_RESPONSE + _of_model(source, width)
        if tag:
            head = _field(_RESULT_TAG, tag.encode()) + head
        entries.append(_RESULTS + varint(len(head) + width) + head + numbers[start : start + width])
        start += width
    return entries


def _of_model(source: Source, width: int) -> bytes:
    """A ForecastResponse without its numbers, behind the length that it has with them."""
    response = pb.ForecastResponse(customer_id=source.customer_id, model=model_to_proto(source.metadata))
    encoded = response.SerializeToString()
    return varint(len(encoded) + width) + encoded


def _numbers(rows: Rows) -> tuple[bytes, int]:
    """The fields `forecast` and `quantiles` of all rows, one row after the other, and the bytes of each."""
    parts = [(_FORECAST, b"", rows.forecast)]
    for place, level in enumerate(rows.levels):
        assert rows.quantiles is not None  # noqa: S101 - there are as many as levels
        parts.append((_QUANTILES, _LEVEL + struct.pack("<d", level), rows.quantiles[:, place]))
    columns = [column for part in parts for column in _columns(*part)]
    matrix = np.concatenate(columns, axis=1)
    return matrix.tobytes(), matrix.shape[1]


def _columns(tag: bytes, level: bytes, values: FloatArray) -> Iterator[NDArray[np.uint8]]:
    """What stands before the values of each row, and their bytes: two arrays of shape (k, n)."""
    count, horizon = values.shape
    before = _head(tag, level, 8 * horizon)
    yield np.broadcast_to(np.frombuffer(before, np.uint8), (count, len(before)))
    yield np.ascontiguousarray(values, "<f8").view(np.uint8)


def _head(tag: bytes, level: bytes, size: int) -> bytes:
    """What stands before so many bytes of doubles: those of the forecast itself, or of the one at a level."""
    if not level:
        return tag + varint(size)
    inside = level + _VALUES + varint(size)
    return tag + varint(len(inside) + size) + inside


def _field(tag: bytes, content: bytes) -> bytes:
    return tag + varint(len(content)) + content


@lru_cache(maxsize=4_096)
def varint(number: int) -> bytes:
    """A number in a message: seven bits a byte, the lowest first; in all but the last the eighth bit is set."""
    encoded = bytearray()
    while number >= _CONTINUED:
        encoded.append(number % _CONTINUED | _CONTINUED)
        number //= _CONTINUED
    encoded.append(number)
    return bytes(encoded)
