"""The ordinary request and the ordinary answer, read from their bytes and written as bytes.

Most requests are a sequence, perhaps with a horizon, and most answers numbers and the name of a model. protobuf
makes an object of each field, which takes a busy replica as long as the arithmetic. The encoding of a message is
that of its fields one after the other, in any order, and a packed field of doubles is their little-endian bytes
(https://protobuf.dev/programming-guides/encoding/). All else is protobuf's. See
docs/decisions/0020-plain-messages.md.
"""

from array import array
from functools import lru_cache

import numpy as np

from forecast_grpc.domain import Answer, ForecastQuery, RequestLimits
from forecast_grpc.finite import adds_up
from forecast_grpc.quick import maker
from forecast_grpc.v1.forecast_pb2 import ForecastRequest
from forecast_grpc.wire.answers import answer_to_proto, naming
from forecast_grpc.wire.encoding import varint
from forecast_grpc.wire.requests import judged, query_from_proto

_SEQUENCE = 0x0A  # ForecastRequest.sequence_data: field 1, bytes follow.
_HORIZON = 0x10  # ForecastRequest.horizon: field 2, a number follows.
_CUSTOMER = b"\x0a"  # ForecastResponse.customer_id: field 1, bytes follow.
_FORECAST = b"\x12"  # ForecastResponse.forecast: field 2, bytes follow.

_SMALL = 128  # Numbers below it take one byte.
_VALUE = 8  # Bytes of a double.
_LEAST = 2  # Bytes of a sequence's tag and length.

_query = maker(ForecastQuery)


class PlainRequest:
    """A `ForecastRequest` of a sequence, and perhaps a horizon, and nothing else."""

    __slots__ = ("doubles", "horizon")

    def __init__(self, doubles: bytes, horizon: int | None) -> None:
        self.doubles = doubles
        """The observations, eight bytes each, little-endian."""
        self.horizon = horizon
        """Steps; None where the caller did not say."""


class EncodedResponse:
    """A `ForecastResponse` as it travels. To Ray, which asks every answer for its bytes, it is a message."""

    __slots__ = ("data",)

    def __init__(self, data: bytes = b"") -> None:
        self.data = data
        """The message's encoding."""

    def SerializeToString(self) -> bytes:  # noqa: N802 - protobuf's name
        """The message's encoding."""
        return self.data


def read_request(data: bytes) -> PlainRequest | ForecastRequest:
    """The request in a message's bytes: plain, if it is quickly seen to be. Raises protobuf's DecodeError."""
    size = len(data)
    if size > _LEAST and data[0] == _SEQUENCE:
        start, length = 2, data[1]
        if length >= _SMALL:
            # Its second byte is the last one, unless the sequence is so long that nothing else matters.
            start, length = 3, length - _SMALL + _SMALL * data[2] if data[2] < _SMALL else size
        end = start + length
        if end == size and not length % _VALUE:
            return PlainRequest(data[start:], None)
        if end == size - 2 and not length % _VALUE and data[end] == _HORIZON and data[-1] < _SMALL:
            return PlainRequest(data[start:end], data[-1])
    return ForecastRequest.FromString(data)


def query_from_request(request: PlainRequest | ForecastRequest, limits: RequestLimits) -> ForecastQuery:
    """The query of a gRPC request. Raises RequestInvalid."""
    if not isinstance(request, PlainRequest):
        return query_from_proto(request, limits)
    values, horizon = array("d", request.doubles), request.horizon
    complete = adds_up(values)
    query = _query(sequence=np.frombuffer(values), horizon=horizon, complete=complete)
    # What `judged` looks at in such a request; if anything is amiss, it finds the words.
    short = complete and len(values) <= limits.max_sequence_length
    if short and (horizon is None or 1 <= horizon <= limits.max_horizon):
        return query
    return judged(query, limits)


def answer_to_bytes(answer: Answer) -> EncodedResponse:
    """The gRPC response."""
    result = answer.result
    if result.quantiles or result.start_time is not None:
        return EncodedResponse(answer_to_proto(answer).SerializeToString())
    doubles = result.forecast.tobytes()
    return EncodedResponse(
        _customer(answer.customer_id) + _forecast_head(len(doubles)) + doubles + naming(answer.metadata)
    )


@lru_cache(maxsize=4_096)
def _customer(customer_id: str) -> bytes:
    """The field `customer_id`."""
    encoded = customer_id.encode()
    return _CUSTOMER + varint(len(encoded)) + encoded


@lru_cache(maxsize=1_024)
def _forecast_head(length: int) -> bytes:
    """What stands before so many bytes of the field `forecast`."""
    return _FORECAST + varint(length)
