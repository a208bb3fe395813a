"""Requests from every wire come out alike, or are refused with the field that is wrong."""

import json
import math
import time
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from forecast_grpc.domain import MAX_COVARIATE_NAME, ForecastQuery, RequestLimits
from forecast_grpc.errors import RequestInvalid
from forecast_grpc.v1.forecast_pb2 import ForecastRequest
from forecast_grpc.wire import ForecastBody, query_from_json, query_from_mapping, query_from_proto

LIMITS = RequestLimits(
    max_sequence_length=20, max_horizon=50, max_quantile_levels=3, max_covariates=3, max_covariate_values=60
)

doubles = st.floats(allow_nan=True, allow_infinity=True, width=64)


def same(one: ForecastQuery, other: ForecastQuery) -> bool:
    """Whether two queries are equal to the last bit; a NaN is any NaN, since JSON has but one."""
    fields = ("horizon", "quantile_levels", "start_time", "model_version")
    values = [np.where(np.isnan(query.sequence), np.nan, query.sequence) for query in (one, other)]
    return values[0].tobytes() == values[1].tobytes() and all(
        getattr(one, name) == getattr(other, name) for name in fields
    )


def outcome(read: Any, request: Any) -> ForecastQuery | str:
    """The query, or the field at fault."""
    try:
        query: ForecastQuery = read(request, LIMITS)
    except RequestInvalid as error:
        return error.violations[0].field
    return query


@given(
    sequence=st.lists(doubles, max_size=22),
    horizon=st.none() | st.integers(-5, 60),
    levels=st.lists(st.floats(-0.5, 1.5), max_size=4),
    version=st.none() | st.integers(-2, 2**63 - 1),
)
def test_every_wire_is_judged_alike(
    sequence: list[float], horizon: int | None, levels: list[float], version: int | None
) -> None:
    """Protobuf, JSON and a Python mapping give the same query to the last bit, or blame the same field."""
    fields = {"horizon": horizon, "model_version": version}
    set_fields: dict[str, Any] = {name: value for name, value in fields.items() if value is not None}
    message = ForecastRequest(sequence_data=sequence, quantile_levels=levels, **set_fields)
    body = {"sequence_data": sequence, "quantile_levels": levels} | set_fields
    by_proto = outcome(query_from_proto, message)
    for other in (outcome(query_from_mapping, body), outcome(query_from_json, json.dumps(body).encode())):
        if isinstance(by_proto, str) or isinstance(other, str):
            assert by_proto == other
        else:
            assert same(by_proto, other)


@given(body=st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_any_bytes_are_a_request_or_refused(body: bytes) -> None:
    """Whatever is sent as JSON, the only error is RequestInvalid, with a field."""
    assert outcome(query_from_json, body)


@pytest.mark.parametrize("values", [[-0.0], [5e-324], [1.7976931348623157e308], [0.1 + 0.2]])
def test_doubles_arrive_to_the_last_bit(values: list[float]) -> None:
    """Negative zero, the smallest and the largest double, and sums that decimal text would round."""
    query = query_from_json(json.dumps({"sequence_data": values}).encode(), LIMITS)
    assert query.sequence.tobytes() == np.array(values).tobytes()


@pytest.mark.parametrize("missing", ["null", '"NaN"', "NaN"])
def test_missing_observations_in_json(missing: str) -> None:
    """null, and NaN as JSON libraries write it: with quotes and without."""
    query = query_from_json(f'{{"sequence_data": [1, {missing}]}}'.encode(), LIMITS)
    assert query.sequence[0] == 1
    assert math.isnan(query.sequence[1])


@pytest.mark.parametrize(
    "values",
    [
        (1, 2.5),
        np.array([1, 2.5]),
        np.array([1, 2.5], dtype=np.float32),
        np.array([[0, 1], [0, 2.5]])[:, 1],
        [np.float64(1), np.float32(2.5)],
        [np.int64(1), 2.5],
    ],
    ids=repr,
)
def test_a_handles_caller_may_send_arrays(values: Any) -> None:
    """From Python a sequence may be a tuple, an array of any kind of number, or hold numpy's numbers."""
    assert query_from_mapping({"sequence_data": values}, LIMITS).sequence.tolist() == [1, 2.5]


def test_a_handles_caller_may_send_numpys_numbers() -> None:
    """Every field may come from numpy, and a masked value is a missing one."""
    query = query_from_mapping(
        {
            "sequence_data": np.ma.masked_array([1.0, 7.0], [False, True]),
            "horizon": np.int64(3),
            "quantile_levels": np.array([0.1, 0.9]),
            "model_version": np.int32(2),
        },
        LIMITS,
    )
    assert query.sequence[0] == 1
    assert math.isnan(query.sequence[1])
    assert (query.horizon, query.quantile_levels, query.model_version) == (3, (0.1, 0.9), 2)


@pytest.mark.parametrize(
    "values",
    [
        np.ones((2, 2)),
        np.float64(1.0),
        np.array([True]),
        np.array(["1"]),
        np.array([1j]),
        np.array(["2026-01-01"], dtype="datetime64[D]"),
        [[1.0]],
        [10**400],
        3,
        None,
    ],
    ids=repr,
)
def test_what_is_no_sequence_of_numbers_is_refused(values: Any) -> None:
    """Tables, single numbers, truth values, texts and times are refused in Python as they are in JSON."""
    field = outcome(query_from_mapping, {"sequence_data": values})
    assert isinstance(field, str)
    assert field.startswith("sequence_data")


@given(
    request=st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary() | st.datetimes(),
        lambda inner: (
            st.lists(inner, max_size=3) | st.dictionaries(st.text() | st.integers(), inner, max_size=3)
        ),
    ).map(lambda value: {"start_time": value, "sequence_data": [1.0]})
    | st.dictionaries(st.sampled_from([*ForecastBody.model_fields, 1, "\ud800"]), st.integers() | st.floats())
    | st.lists(st.floats())
)
def test_any_python_value_is_a_request_or_refused(request: Any) -> None:
    """Whatever a handle's caller passes, the only error is RequestInvalid, with a field."""
    assert outcome(query_from_mapping, request)


@pytest.mark.parametrize("number", ["1700000000", '"1700000000"', "1.5", "true", '""'])
def test_a_number_is_no_time(number: str) -> None:
    """Seconds or milliseconds since when? Nobody has to guess: a time is RFC 3339."""
    body = f'{{"sequence_data": [1], "start_time": {number}}}'.encode()
    assert outcome(query_from_json, body) == "start_time"


@pytest.mark.parametrize("field", ["horizon", "model_version"])
def test_a_whole_number_may_have_a_point(field: str) -> None:
    """7.0 is 7 in JSON, as some languages write it; 7.5, "7" and true are refused."""
    plain, pointed, *refused = (
        outcome(query_from_json, f'{{"{field}": {value}}}'.encode())
        for value in ("7", "7.0", "7.5", '"7"', "true")
    )
    assert getattr(plain, field) == getattr(pointed, field) == 7
    assert refused == [field] * 3


@given(time=st.datetimes(timezones=st.timezones()))
def test_times_arrive_alike(time: datetime) -> None:
    """RFC 3339 with any offset, a Python time and a Timestamp name the same instant."""
    instant = time.astimezone(UTC) if 1 < time.year < 9999 else time.replace(tzinfo=UTC)
    message = ForecastRequest(sequence_data=[1.0])
    message.start_time.FromDatetime(instant)
    body = {"sequence_data": [1.0], "start_time": instant.isoformat()}
    queries = [
        outcome(query_from_proto, message),
        outcome(query_from_mapping, body),
        outcome(query_from_mapping, body | {"start_time": instant}),
        outcome(query_from_json, json.dumps(body).encode()),
    ]
    assert [isinstance(query, ForecastQuery) and query.start_time for query in queries] == [instant] * 4


def test_an_error_stays_short() -> None:
    """However many fields are wrong, and however long their names, an error names a few, and quotes no value."""
    unknown = {f"{number}-{'unknown' * 100}": "xxx" for number in range(100)}
    for body in ({"sequence_data": ["xxx"] * 20, "quantile_levels": ["xxx"] * 3}, unknown):
        with pytest.raises(RequestInvalid) as error:
            query_from_json(json.dumps(body).encode(), LIMITS)
        assert len(error.value.violations) <= 20
        assert "xxx" not in str(error.value)
        assert max(len(violation.field) for violation in error.value.violations) <= 64


@pytest.mark.parametrize(
    "body",
    [
        b'{"sequence_data": [' + b'"",' * 200_000 + b'""]}',
        b'{"quantile_levels": [' + b"{}," * 200_000 + b"{}]}",
        b"{" + b",".join(b'"%d": 0' % number for number in range(60_000)) + b"}",
        b'{"covariates": [' + b"0," * 300_000 + b"0]}",
        b'{"covariates": [' + b"{}," * 200_000 + b"{}]}",
        b'{"covariates": [' + b'{"name": "a"},' * 100_000 + b'{"name": "a"}]}',
        b'{"covariates": [{"values": [' + b"{}," * 200_000 + b"{}]}]}",
        b'{"covariates": [{' + b",".join(b'"%d": 0' % number for number in range(60_000)) + b"}]}",
    ],
    ids=[
        "items",
        "levels",
        "fields",
        "no covariates",
        "empty covariates",
        "short covariates",
        "values",
        "fields of a covariate",
    ],
)
def test_a_body_full_of_mistakes_is_refused_at_once(body: bytes) -> None:
    """The largest bodies that are read cost milliseconds, not seconds: meanwhile the replica answers nobody."""
    started = time.process_time()
    with pytest.raises(RequestInvalid):
        query_from_json(body, LIMITS)
    assert time.process_time() - started < 0.5


# --- covariates ---

PROMO = {"name": "promo", "values": [1.0, None, 0.5]}


def test_covariates_come_alike_from_every_wire() -> None:
    """Names and values, missing ones among them, from protobuf, JSON, a mapping, and one that holds arrays."""
    message = ForecastRequest(covariates=[{"name": "promo", "values": [1.0, math.nan, 0.5]}])  # type: ignore[list-item]
    body = {"covariates": [PROMO]}
    arrays = {"covariates": ({"name": "promo", "values": np.array([1.0, np.nan, 0.5])},)}
    for query in (
        query_from_proto(message, LIMITS),
        query_from_json(json.dumps(body).encode(), LIMITS),
        query_from_json(b'{"covariates": [{"name": "promo", "values": [1, "NaN", 0.5]}]}', LIMITS),
        query_from_mapping(body, LIMITS),
        query_from_mapping(arrays, LIMITS),
    ):
        [covariate] = query.covariates
        assert covariate.name == "promo"
        assert covariate.values.tobytes() == np.array([1.0, np.nan, 0.5]).tobytes()


@pytest.mark.parametrize(
    ("covariates", "field"),
    [
        ([{"name": "a"}] * 4, "covariates"),
        ([{"name": "a", "values": [0.0] * 61}], "covariates"),
        ([{"name": "a", "values": [0.0] * 31}, {"name": "b", "values": [0.0] * 30}], "covariates"),
        ([{"name": "a"}, {"name": "a"}], "covariates[1].name"),
        ([{"values": [1.0]}], "covariates[0].name"),
        ([{"name": "a" * 65}], "covariates[0].name"),
        ([{"name": "a\nb"}], "covariates[0].name"),
        ([{"name": "a"}, {"name": "b", "values": [0.0, math.inf]}], "covariates[1].values[1]"),
    ],
    ids=["count", "length", "total", "twice", "no name", "long name", "line break", "infinite"],
)
def test_covariates_are_judged_alike(covariates: list[dict[str, Any]], field: str) -> None:
    """Whatever the wire, the same field is blamed."""
    assert outcome(query_from_proto, ForecastRequest(covariates=covariates)) == field  # type: ignore[arg-type]
    assert outcome(query_from_mapping, {"covariates": covariates}) == field
    assert outcome(query_from_json, json.dumps({"covariates": covariates}).encode()) == field


@pytest.mark.parametrize(
    ("covariates", "field"),
    [
        ("{}", "covariates"),
        ("[1]", "covariates[0]"),
        ('[{"name": "a", "vlaues": []}]', "covariates[0]"),
        ('[{"name": 1}]', "covariates[0].name"),
        ('[{"name": "a"}, {"name": "b", "values": [1, true]}]', "covariates[1].values[1]"),
        ('[{"name": "a", "values": 1}]', "covariates[0].values"),
    ],
)
def test_what_is_no_covariate_is_refused(covariates: str, field: str) -> None:
    """A wrong type or a field that there is not, with its place."""
    assert outcome(query_from_json, f'{{"covariates": {covariates}}}'.encode()) == field


def test_more_numbers_than_any_request_holds_are_not_parsed() -> None:
    """A body within the bytes of the largest request, of numbers of one digit."""
    limits = replace(LIMITS, max_sequence_length=40_000)
    body = b'{"sequence_data": [' + b"1," * (limits.max_commas + 1) + b"1]}"
    assert len(body) < limits.max_body_bytes
    with pytest.raises(RequestInvalid, match="body: may hold 40063 numbers at most"):
        query_from_json(body, limits)


def test_the_largest_request_fits_into_a_body() -> None:
    """What the limits allow is not refused for its bytes or its commas, however it is written."""
    number = -1.7976931348623157e308
    commas = "," * (MAX_COVARIATE_NAME - 1)
    names = ("\u3042" * MAX_COVARIATE_NAME, commas + "a", commas + "b")
    covariates = [{"name": name, "values": [number] * 20} for name in names]
    body = json.dumps(
        {"sequence_data": [number] * 20, "quantile_levels": [0.1 + 0.2] * 3, "covariates": covariates},
        indent=8,
    )
    assert len(body) <= LIMITS.max_body_bytes
    assert isinstance(outcome(query_from_json, body.encode()), ForecastQuery)
