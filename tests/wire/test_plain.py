"""Plain requests and answers, read and written by hand, are to the last bit what protobuf makes of them."""

import pickle
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest
from google.protobuf.message import DecodeError
from hypothesis import example, given
from hypothesis import strategies as st

from forecast_grpc.domain import Answer
from forecast_grpc.v1.forecast_pb2 import ForecastRequest, ForecastResponse
from forecast_grpc.wire import (
    PlainRequest,
    answer_to_bytes,
    query_from_proto,
    query_from_request,
    read_request,
)
from forecast_grpc.wire.answers import answer_to_proto
from tests.wire.test_answers import answer
from tests.wire.test_requests import LIMITS, doubles, outcome, same

WIDE = 300
"""Observations whose length takes two bytes."""


def alike(data: bytes) -> None:
    """The query is the one of the message that protobuf reads, or both are refused."""
    try:
        message = ForecastRequest.FromString(data)
    except DecodeError:
        with pytest.raises(DecodeError):
            read_request(data)
        return
    ours, theirs = outcome(query_from_request, read_request(data)), outcome(query_from_proto, message)
    if isinstance(theirs, str):
        assert ours == theirs
    else:
        assert not isinstance(ours, str)
        assert same(ours, theirs)


@given(
    sequence=st.lists(doubles, max_size=25),
    horizon=st.none() | st.integers(-5, 200),
    levels=st.lists(st.floats(0.1, 0.9), max_size=2),
    version=st.none() | st.integers(0, 3),
)
def test_requests_of_clients(
    sequence: list[float], horizon: int | None, levels: list[float], version: int | None
) -> None:
    """As a client's protobuf writes them, plain or not."""
    fields: dict[str, Any] = {"horizon": horizon, "model_version": version}
    chosen = {name: value for name, value in fields.items() if value is not None}
    alike(ForecastRequest(sequence_data=sequence, quantile_levels=levels, **chosen).SerializeToString())


@given(st.binary(max_size=40) | st.binary(max_size=40).map(lambda data: bytes([10, len(data)]) + data))
@example(b"")
@example(b"\x0a")
@example(b"\x0a\x00")
@example(b"\x0a\x08")
@example(b"\x0a\x88\x00" + bytes(8))
@example(b"\x0a\x88\x80\x00" + bytes(8))
@example(b"\x0a\x88\x80\x00" + bytes(8) + b"\x7a\x7c" + bytes(124))
@example(b"\x0a\x08" + bytes(8) + b"\x10\x07")
@example(b"\x0a\x08" + bytes(8) + b"\x10\x87")
@example(b"\x0a\x08" + bytes(8) + b"\x18\x07")
@example(b"\x0a\x00\x10\x07")
@example(b"\x0a\x04" + bytes(4) + b"\x10\x07")
def test_any_bytes(data: bytes) -> None:
    """Lengths in more bytes than they need, cut off, other fields where the horizon would stand."""
    alike(data)


@pytest.mark.parametrize("count", [1, 15, 16, WIDE])
@pytest.mark.parametrize("horizon", [None, 7, 127])
def test_the_ordinary_request_is_plain(count: int, horizon: int | None) -> None:
    """A sequence with or without a horizon needs no message, and comes through Ray's proxy, which pickles it."""
    message = ForecastRequest(sequence_data=range(count), horizon=horizon)
    request = pickle.loads(pickle.dumps(read_request(message.SerializeToString())))
    assert isinstance(request, PlainRequest)
    assert request.horizon == horizon
    assert np.frombuffer(request.doubles).tolist() == list(range(count))


def test_a_model_may_write_to_its_window() -> None:
    """The array is aligned, and nobody else's."""
    data = ForecastRequest(sequence_data=[1.0, 2.0]).SerializeToString()
    sequence = query_from_request(read_request(data), LIMITS).sequence
    assert sequence.flags.aligned
    sequence[0] = 3.0
    assert query_from_request(read_request(data), LIMITS).sequence.tolist() == [1.0, 2.0]


TIME = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)


@pytest.mark.parametrize(
    "given_",
    [
        answer([1.0]),
        answer([-0.0, 5e-324, 1e308], trained_time=TIME),
        answer([float(number) for number in range(WIDE)]),
        answer([1.0], levels=(0.1, 0.9)),
        answer([1.0], start_time=TIME),
    ],
)
def test_answers(given_: Answer) -> None:
    """What the client reads is what protobuf would have written."""
    assert ForecastResponse.FromString(answer_to_bytes(given_).SerializeToString()) == answer_to_proto(given_)
