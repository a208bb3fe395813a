"""Results that are put together from parts are those that protobuf would make of their fields."""

from datetime import UTC, datetime
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from forecast_grpc.domain import ModelMetadata
from forecast_grpc.items import Rows, Source
from forecast_grpc.v1 import forecast_pb2 as pb
from forecast_grpc.wire.batches import batch_response, stream_response
from forecast_grpc.wire.encoding import entry, rows_to_entries

TRAINED = datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=UTC)


def source(customer: str, version: int, trained: datetime | None) -> Source:
    """A model."""
    metadata = ModelMetadata(
        family="linear",
        model_version=version,
        horizon=7,
        min_length=1,
        digest=bytes.fromhex("ab" * 32),
        trained_time=trained,
    )
    return Source(customer_id=customer, metadata=metadata)


def message(
    where: Source, tag: str, forecast: Any, levels: tuple[float, ...], quantiles: Any
) -> pb.ForecastResult:
    """The result, field by field."""
    response = pb.ForecastResponse(customer_id=where.customer_id, forecast=forecast)
    metadata = where.metadata
    response.model.MergeFrom(
        pb.ModelRef(version=metadata.model_version, family=metadata.family, sha256=metadata.sha256)
    )
    if metadata.trained_time is not None:
        response.model.trained_time.FromDatetime(metadata.trained_time)
    for level, values in zip(levels, quantiles, strict=True):
        response.quantiles.add(level=level, values=values)
    return pb.ForecastResult(tag=tag, response=response)


@given(
    tags=st.lists(st.one_of(st.just(""), st.text(max_size=300)), min_size=1, max_size=20),
    horizon=st.integers(1, 300),
    levels=st.lists(st.floats(0.01, 0.99), max_size=3),
    seed=st.integers(0, 99),
)
def test_rows_are_the_messages_that_protobuf_makes(
    tags: list[str], horizon: int, levels: list[float], seed: int
) -> None:
    """Of any length, with or without tags, quantiles and times: each field of each message is the same."""
    rng = np.random.default_rng(seed)
    known = [source("a", 1, None), source("customer_" * 14, 2**63 - 1, TRAINED)]
    sources = [known[int(place)] for place in rng.integers(0, 2, len(tags))]
    forecast = rng.normal(size=(len(tags), horizon)) * 10.0 ** rng.integers(-300, 300)
    quantiles = rng.normal(size=(len(tags), len(levels), horizon))
    rows = Rows(
        sources=sources,
        forecast=forecast,
        levels=tuple(levels),
        quantiles=quantiles if levels else None,
    )
    columns = zip(sources, tags, forecast.tolist(), quantiles.tolist(), strict=True)
    expected = [message(where, tag, point, rows.levels, others) for where, tag, point, others in columns]
    entries = rows_to_entries(rows, tags)
    assert list(batch_response(entries).results) == expected
    assert list(stream_response(entries).results) == expected


def test_rows_of_a_column_are_encoded_in_their_order() -> None:
    """Forecasts that do not lie row by row in memory, as some arithmetic leaves them, are encoded row by row."""
    forecast = np.arange(12.0).reshape(4, 3).T
    rows = Rows(sources=[source("a", 1, None)] * 3, forecast=forecast)
    results = batch_response(rows_to_entries(rows, ["", "", ""])).results
    assert [list(result.response.forecast) for result in results] == forecast.tolist()


def test_an_entry_is_a_result() -> None:
    """A message that was made field by field stands among the others, however long it is."""
    results = [pb.ForecastResult(tag="x" * size) for size in (0, 1, 127, 128, 20_000)]
    assert list(batch_response(map(entry, results)).results) == results
