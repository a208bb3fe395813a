"""Answers on both wires are the model's, to the last bit."""

import json
import struct
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from forecast_grpc.domain import Answer, CacheTier, ForecastResult, ModelMetadata, QuantileForecast
from forecast_grpc.v1.forecast_pb2 import ForecastResponse
from forecast_grpc.wire import AnswerBody, answer_to_json, answer_to_proto

finite = st.floats(allow_nan=False, allow_infinity=False)
SHA = "0123456789abcdef" * 4


def answer(forecast: list[float], *, levels: tuple[float, ...] = (), **changes: Any) -> Answer:
    """An answer with this forecast, the same at each level."""
    values = np.array(forecast, dtype=np.float64)
    quantiles = tuple(QuantileForecast(level=level, values=values) for level in levels)
    metadata: dict[str, Any] = {
        "family": "trend",
        "model_version": 2**63 - 1,
        "horizon": 7,
        "min_length": 1,
        "digest": bytes.fromhex(SHA),
    }
    times = {name: changes.pop(name) for name in ("start_time",) if name in changes}
    return Answer(
        customer_id="c",
        result=ForecastResult(forecast=values, quantiles=quantiles, **times),
        metadata=ModelMetadata(**(metadata | changes)),
        tier=CacheTier.HOT,
    )


def bits(values: list[float]) -> bytes:
    """Doubles as they lie in memory: -0.0 is not 0.0 here."""
    return struct.pack(f"{len(values)}d", *values)


@given(
    forecast=st.lists(finite, min_size=1, max_size=20), levels=st.lists(st.floats(0.001, 0.999), max_size=3)
)
def test_doubles_travel_to_the_last_bit(forecast: list[float], levels: list[float]) -> None:
    """Denormals, negative zero and 1e308 included, a client reads the model's numbers from either wire."""
    given_ = answer(forecast, levels=tuple(levels))
    message = ForecastResponse.FromString(answer_to_proto(given_).SerializeToString())
    body = json.loads(json.dumps(answer_to_json(given_), allow_nan=False))
    assert bits(list(message.forecast)) == bits(body["forecast"]) == bits(forecast)
    assert [q.level for q in message.quantiles] == [q["level"] for q in body.get("quantiles", [])] == levels
    for quantile in [
        *(list(q.values) for q in message.quantiles),
        *(q["values"] for q in body.get("quantiles", [])),
    ]:
        assert bits(quantile) == bits(forecast)


def test_the_body_is_what_the_documentation_says() -> None:
    """Every field that is set is in the documented shape, with no other beside it."""
    time = datetime(2026, 1, 2, tzinfo=UTC)
    body = answer_to_json(answer([1.0], levels=(0.5,), trained_time=time, start_time=time))
    assert AnswerBody.model_validate(body, strict=True).model_dump() == body
    assert set(body) == set(AnswerBody.model_fields)


def test_what_is_not_set_is_left_out() -> None:
    """No quantiles, no times: the fields are absent, not null."""
    given_ = answer([1.0])
    assert answer_to_json(given_) == {
        "customer_id": "c",
        "forecast": [1.0],
        "model": {"version": 2**63 - 1, "family": "trend", "sha256": SHA},
    }
    message = answer_to_proto(given_)
    assert not message.HasField("forecast_start_time")
    assert not message.model.HasField("trained_time")


@pytest.mark.parametrize(
    "time",
    [
        datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
        datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC),
        datetime(1969, 12, 31, 23, 59, 59, tzinfo=UTC),
        datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone(timedelta(hours=-5, minutes=-30))),
    ],
    ids=str,
)
def test_times_are_the_same_instant_on_both_wires(time: datetime) -> None:
    """RFC 3339 in UTC with a Z in JSON, a Timestamp in protobuf, whatever zone the value came in."""
    given_ = answer([1.0], trained_time=time, start_time=time)
    message, body = answer_to_proto(given_), answer_to_json(given_)
    texts = (body["model"]["trained_time"], body["forecast_start_time"])
    stamps = (message.model.trained_time, message.forecast_start_time)
    assert all(text.endswith("Z") for text in texts)
    assert {datetime.fromisoformat(text) for text in texts} == {time}
    assert {stamp.ToDatetime(UTC) for stamp in stamps} == {time}
