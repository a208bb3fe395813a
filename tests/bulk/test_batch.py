"""Batches: each item gets what it would get alone, and none stands in the way of another."""

import asyncio
import math
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import pytest
from google.protobuf.duration_pb2 import Duration
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from forecast_grpc import artefact, wire
from forecast_grpc.bulk.work import CHUNK
from forecast_grpc.call import Call
from forecast_grpc.domain import ServedModel
from forecast_grpc.errors import Code, RequestInvalid
from forecast_grpc.models import Trend
from forecast_grpc.v1 import forecast_pb2 as pb
from tests.bulk.bench import Bench, bench, item
from tests.stores import MANY, SLOPES, residuals

CUSTOMERS = [
    *SLOPES,
    "four-lags",
    "weekly",
    "versioned",
    "monthly",
    "promoted",
    "nobody",
    "flipped",
    "../x",
    "",
]

finite = st.floats(-1e6, 1e6)
values = st.one_of(
    st.lists(finite, max_size=9),
    st.lists(st.one_of(finite, st.sampled_from([math.nan, math.inf, 1e308])), max_size=9),
)
requests = st.builds(
    pb.ForecastRequest,
    sequence_data=values,
    horizon=st.one_of(st.none(), st.integers(-1, 101)),
    quantile_levels=st.lists(st.sampled_from([0.1, 0.5, 0.9, 1.0]), max_size=4),
    start_time=st.one_of(st.none(), st.none(), st.builds(dict, seconds=st.integers(0, 2**31))),
    model_version=st.one_of(st.none(), st.integers(-1, 4)),
)
items = st.builds(
    pb.ForecastItem, tag=st.text(max_size=3), customer_id=st.sampled_from(CUSTOMERS), request=requests
)


@pytest.fixture
def at(tmp_path: Path) -> Bench:
    """A bench."""
    return bench(tmp_path)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(asked=st.lists(items, max_size=30))
def test_each_item_gets_what_it_would_get_alone(tmp_path: Path, asked: list[pb.ForecastItem]) -> None:
    """Whatever is asked, rightly or not, of models in memory or not: the same bits, the same errors."""

    async def compare() -> None:
        cold, warm = bench(tmp_path), bench(tmp_path)
        alone = [await warm.unary(each) for each in asked]
        assert await cold.batch(asked) == alone
        assert await warm.batch(asked) == alone

    asyncio.run(compare())


async def test_more_items_than_are_decoded_at_a_time(at: Bench) -> None:
    """The results keep the order of the items across all the parts in which they are dealt with."""
    asked = [item(MANY[place % 7], float(place), tag=str(place)) for place in range(2 * CHUNK + 100)]
    results = await at.batch(asked)
    assert [result.tag for result in results] == [each.tag for each in asked]
    assert results[:: CHUNK - 1] == [await at.unary(each) for each in asked[:: CHUNK - 1]]


async def test_models_are_loaded_at_the_same_time(at: Bench) -> None:
    """As many at once as one call may, each once, while the results of models in memory are made already."""
    await at.batch([item("customer_123", 1.0)])
    at.store.gate.clear()
    asked = [item(customer, 1.0) for customer in ("customer_123", *MANY[:20], *MANY[:20])]
    answering = asyncio.create_task(at.batch(asked))
    while at.store.at_once < at.bulk.max_loads:
        await asyncio.sleep(0)
    at.store.gate.set()
    results = await answering
    assert at.store.most_at_once == at.bulk.max_loads
    assert sorted(at.store.fetches) == ["customer_123", *MANY[:20]]
    assert {result.WhichOneof("outcome") for result in results} == {"response"}


async def test_what_is_late_is_told_so(at: Bench) -> None:
    """When the time limit has passed the results that are there are sent; the load goes on for the next caller."""
    await at.batch([item("customer_123", 1.0)])
    at.store.gate.clear()
    asked = [item("customer_123", 1.0), item("weekly", *range(7)), item("nobody"), item("customer_123", 2.0)]
    results = await at.batch(asked, time_limit=Duration(nanos=20_000_000))
    assert [result.WhichOneof("outcome") for result in results] == ["response", "error", "error", "response"]
    assert results[1].error.code == Code.DEADLINE_EXCEEDED
    assert results[1].error.reason == "DEADLINE_EXCEEDED"
    at.store.gate.set()
    (late,) = await at.batch([asked[1]])
    assert late == await at.unary(asked[1])
    assert at.store.fetches.count("weekly") == 1


@pytest.mark.parametrize(("remaining_s", "limit_s"), [(0.2, 10.0), (10.0, 0.02), (0.2, None)])
async def test_the_earliest_limit_counts(at: Bench, remaining_s: float, limit_s: float | None) -> None:
    """Of the caller's deadline, where it is known, and its time limit; the results come before the deadline."""
    at.store.gate.clear()
    call = Call(protocol="grpc", request_id="a-batch", remaining_s=remaining_s)
    request = pb.BatchForecastRequest(items=[item("weekly", *range(7))])
    if limit_s is not None:
        request.time_limit.FromNanoseconds(int(limit_s * 1e9))
    decode = partial(wire.order_from_proto, request, at.bulk.limits, "")
    async with asyncio.timeout(remaining_s):
        (late,) = await at.bulk.batch(call, decode, wire.results_to_proto)  # type: ignore[misc]
    assert wire.batch_response([late]).results[0].error.code == Code.DEADLINE_EXCEEDED


async def test_a_caller_who_leaves_stops_its_loads(at: Bench) -> None:
    """Of a batch that is cancelled no more loads are started than were under way."""
    at.store.gate.clear()
    answering = asyncio.create_task(at.batch([item(customer, 1.0) for customer in MANY]))
    while at.store.at_once < at.bulk.max_loads:
        await asyncio.sleep(0)
    answering.cancel()
    with pytest.raises(asyncio.CancelledError):
        await answering
    at.store.gate.set()
    while at.store.at_once:
        await asyncio.sleep(0)
    assert len(at.store.fetches) == at.bulk.max_loads
    assert [line["code"] for line in at.lines("request")] == ["CANCELLED"]


async def test_hot_models_stay_hot(at: Bench) -> None:
    """A batch over all customers takes no place among the models that the multiplexer holds."""
    await at.unary(item("customer_123", 1.0))
    await at.batch([item(customer, 1.0) for customer in (*MANY, "customer_123")])
    assert at.cache.hot_count == 1
    assert at.calls[-1].tier == "cold"


class Broken(Trend):
    """Raises what nobody foresaw for a window that ends with 13."""

    family: ClassVar[str] = "trend"

    def line(self, last: float, horizon: int) -> list[float]:
        """See Trend."""
        if last == 13.0:
            raise ZeroDivisionError("no luck")
        return super().line(last, horizon)


async def test_an_unforeseen_error_is_that_of_its_item(tmp_path: Path) -> None:
    """It is INTERNAL for the one item, with the request id, and stands in the log; the others are answered."""

    def decode(data: bytes, *key: Any) -> ServedModel:
        model = artefact.decode(data, *key)
        return replace(model, forecaster=Broken(slope=1.0, base_level=0.0, residuals=residuals()))

    at = bench(tmp_path, decode)
    results = await at.batch([item("customer_123", value) for value in (12.0, 13.0, 14.0)])
    assert [result.WhichOneof("outcome") for result in results] == ["response", "error", "response"]
    assert results[1].error.reason == "INTERNAL"
    assert "a-batch" in results[1].error.message
    assert "no luck" not in str(results)
    assert any("no luck" in line["traceback"] for line in at.lines("unexpected_error"))


async def test_others_get_their_turn(at: Bench) -> None:
    """While a large batch is computed the event loop comes round again and again."""
    await at.batch([item("customer_123", 1.0)])
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    ticking = asyncio.create_task(others())
    # Of covariates, times and gaps: the items that take longest.
    asked = [item("customer_123", 1.0, math.nan, float(place)) for place in range(2_000)]
    await at.batch(asked)
    ticking.cancel()
    assert turns > 10


async def test_forecasts_that_would_not_fit_are_refused(at: Bench) -> None:
    """All forecasts together may hold so many values, of groups and of single items."""
    asked = [item("customer_123", 1.0, horizon=100), item("customer_456", 1.0, math.nan, horizon=100)] * 600
    results = await at.batch(asked)
    refused = [result.error for result in results if result.HasField("error")]
    assert {error.field for error in refused} == {"horizon"}
    answered = sum(len(result.response.forecast) for result in results)
    assert 90_000 < answered <= 100_000
    assert len(refused) + answered // 100 == len(asked)


@pytest.mark.parametrize(
    ("asked", "fields", "field"),
    [
        ([item("a")] * 2_001, {}, "items"),
        ([item("a", *range(1_000))] * 101, {}, "items"),
        ([], {"time_limit": Duration()}, "time_limit"),
        ([], {"time_limit": Duration(seconds=-1)}, "time_limit"),
    ],
)
async def test_what_a_batch_may_not_ask(
    at: Bench, asked: list[pb.ForecastItem], fields: dict[str, Any], field: str
) -> None:
    """Too many items, too many values and an impossible limit are errors of the call, which name the field."""
    with pytest.raises(RequestInvalid) as caught:
        await at.batch(asked, **fields)
    assert caught.value.violations[0].field == field


async def test_one_line_and_a_count_by_codes(at: Bench) -> None:
    """A batch leaves one line in the log, with how many items came to what; the metric counts them so."""
    await at.batch(
        [item("customer_123", 1.0), item("customer_456", 1.0), item("nobody"), item("weekly", 1.0)]
    )
    (line,) = at.lines("request")
    assert line["code"] == "OK"
    assert line["items"] == {"OK": 2, "NOT_FOUND": 1, "INVALID_ARGUMENT": 1}
    assert at.sink.counters["items", (("code", "OK"), ("protocol", "grpc"))] == 2
    assert at.sink.counters["requests", (("code", "OK"), ("protocol", "grpc"))] == 1
