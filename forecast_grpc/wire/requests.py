"""Requests from both wires to domain values, and every check of a request that needs no model.

Both wires come together in `judged`, so that a request is judged the same whichever door it came through.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from itertools import islice
from typing import Annotated, Any, TypeVar

import numpy as np
from google.protobuf.timestamp_pb2 import Timestamp
from pydantic import (
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    FailFast,
    Field,
    Strict,
    ValidationError,
)
from pydantic_core import ErrorDetails, PydanticCustomError

from forecast_grpc.domain import CUSTOMER_ID_PATTERN, MAX_COVARIATES, ForecastQuery, RequestLimits
from forecast_grpc.errors import FieldViolation, RequestInvalid
from forecast_grpc.finite import adds_up
from forecast_grpc.quick import maker
from forecast_grpc.v1.forecast_pb2 import ForecastRequest
from forecast_grpc.wire.covariates import (
    CovariateBody,
    check_covariates,
    covariates_from_bodies,
    covariates_from_messages,
)
from forecast_grpc.wire.values import Values, check_finite, to_array

_query = maker(ForecastQuery)

T = TypeVar("T", bytes, Mapping[str, object])

MAX_MODEL_VERSION = 2**63 - 1
"""The largest version that the wire can name."""

VERSION_SCHEMA: dict[str, Any] = {
    "type": "integer",
    "format": "int64",
    "minimum": 1,
    "maximum": MAX_MODEL_VERSION,
}
"""What a version may be, as JSON schemas say it."""

CUSTOMER_SCHEMA: dict[str, Any] = {"type": "string", "pattern": f"^{CUSTOMER_ID_PATTERN.pattern}$"}
"""What a customer may be called, as JSON schemas say it."""

MAX_FIELD_LENGTH = 64
"""Characters of a field's name that an error repeats: a name that we do not know may be of any length."""

_SHORT_BODY = 2**16  # Bytes.

MAX_VIOLATIONS = 20
"""Fields at fault that one error names at most: a caller mends the first few."""


def _not_a_number(value: object) -> object:
    """Refuses what pydantic would take for seconds, or for milliseconds if it is large, since 1970."""
    if isinstance(value, datetime) or (isinstance(value, str) and _RFC3339_START.match(value)):
        return value
    raise PydanticCustomError("start_time", "must be a time by RFC 3339, such as 2026-01-31T00:00:00Z")


_RFC3339_START = re.compile(r"\d{4}-", re.ASCII)


def _whole(value: object) -> object:
    """A whole number as an int: JSON does not tell 7.0 from 7, and neither do the libraries of every language."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


Whole = Annotated[int, Strict(), BeforeValidator(_whole)]
"""A whole number in JSON."""

# For the document alone: `judged` holds both protocols to it, in one wording.
_LEVEL = Field(json_schema_extra={"exclusiveMinimum": 0, "exclusiveMaximum": 1})


class ForecastBody(BaseModel):
    """The JSON body of a forecast request: the fields of `forecast.v1.ForecastRequest` under their proto names."""

    model_config = ConfigDict(
        # Unknown fields are refused in `_parsed`, and lists end at their first bad item: pydantic's errors cost
        # microseconds each, and a body of half a megabyte can hold so many that it would stop the replica.
        extra="allow",
        use_attribute_docstrings=True,
        json_schema_extra={
            "additionalProperties": False,
            "example": {"sequence_data": [100, 102, 98, 105, 110, 108, 112, 115, 118, 120]},
        },
    )

    sequence_data: Values = []
    """Observations, oldest first, equally spaced. `null` or `"NaN"` is a missing one. Empty: the forecast goes on
    from the end of the series that the model was fitted to."""

    horizon: Annotated[Whole, Field(json_schema_extra={"minimum": 1})] | None = None
    """Steps to forecast. Unset: the horizon that the model was fitted for."""

    quantile_levels: Annotated[list[Annotated[float, Strict(), _LEVEL]], FailFast()] = []
    """Quantile levels to forecast too, each above 0 and below 1."""

    start_time: Annotated[AwareDatetime, BeforeValidator(_not_a_number)] | None = None
    """The time of the first observation, RFC 3339 with an offset or `Z`; not without `sequence_data`. The answer
    then says when it starts."""

    covariates: Annotated[list[CovariateBody], FailFast(), Field(max_length=MAX_COVARIATES)] = []
    """Each of the covariates that the model was fitted with, in any order."""

    model_version: Annotated[Whole, Field(json_schema_extra=VERSION_SCHEMA)] | None = None
    """The version of the model. Unset: the active one."""


def query_from_proto(request: ForecastRequest, limits: RequestLimits) -> ForecastQuery:
    """The query of a gRPC request. Raises RequestInvalid."""
    values: list[float] = []
    more: dict[str, Any] = {}
    # One look at the fields that are set, of which most requests have two.
    for field, value in request.ListFields():
        name = field.name
        if name == "sequence_data":
            # An array is made from a list in a third of the time.
            values = value[:]
        else:
            read = _READERS.get(name)
            more[name] = value if read is None else read(value)
    query = _query(sequence=np.fromiter(values, np.float64, len(values)), complete=adds_up(values), **more)
    return judged(query, limits)


def query_from_json(body: bytes, limits: RequestLimits) -> ForecastQuery:
    """The query of an HTTP request. Raises RequestInvalid."""
    check_commas(body, limits)
    return _parsed(ForecastBody.model_validate_json, body, limits)


def check_commas(body: bytes, limits: RequestLimits) -> None:
    """Raises RequestInvalid where a JSON body holds more numbers than any acceptable request."""
    # Counting takes a hundredth of the time of parsing: as many short numbers as fit into the largest body would
    # stop the replica for half a second. A short body holds too few to matter.
    if len(body) > _SHORT_BODY and body.count(b",") > limits.max_commas:
        raise RequestInvalid.of("body", f"may hold {limits.max_numbers} numbers at most")


def query_from_mapping(request: object, limits: RequestLimits) -> ForecastQuery:
    """The query of a Python caller, a mapping with the fields of the JSON body. Raises RequestInvalid.

    What has a `tolist` stands for the plain values that it gives: numpy's arrays and numbers, pandas' series.
    """
    if not isinstance(request, Mapping):
        raise RequestInvalid.of(
            "body", "must be a mapping with the fields of the JSON body, or a ForecastRequest"
        )
    plain = {name: _plain(value) for name, value in request.items()}
    return _parsed(ForecastBody.model_validate, plain, limits)


def _plain(value: object) -> object:
    if isinstance(value, list | tuple):
        return [_plain(item) if isinstance(item, np.generic | dict) else item for item in value]
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    tolist: Callable[[], object] | None = getattr(value, "tolist", None)
    return value if tolist is None else tolist()


def _parsed(parse: Callable[[T], ForecastBody], request: T, limits: RequestLimits) -> ForecastQuery:
    try:
        body = parse(request)
    except ValidationError as exc:
        raise shape_invalid(exc) from exc
    if body.model_extra:
        raise unknown_fields(body.model_extra, ForecastBody)
    query = ForecastQuery(
        sequence=to_array(body.sequence_data),
        horizon=body.horizon,
        quantile_levels=tuple(body.quantile_levels),
        start_time=body.start_time,
        covariates=covariates_from_bodies(body.covariates) if body.covariates else (),
        model_version=body.model_version,
    )
    return judged(query, limits)


def judged(query: ForecastQuery, limits: RequestLimits) -> ForecastQuery:
    """The query, if it may be answered. Raises RequestInvalid with the first field at fault."""
    length = query.sequence.size
    if length > limits.max_sequence_length:
        text = f"may hold {limits.max_sequence_length} values at most, got {length}"
        raise RequestInvalid.of("sequence_data", text)
    if not query.complete:
        check_finite("sequence_data", query.sequence)
    if query.horizon is not None and not 1 <= query.horizon <= limits.max_horizon:
        raise RequestInvalid.of("horizon", f"must be from 1 to {limits.max_horizon}, got {query.horizon}")
    if query.quantile_levels:
        _check_levels(query.quantile_levels, limits.max_quantile_levels)
    if query.start_time is not None and not length:
        text = "is the time of sequence_data[0], and there is no sequence_data"
        raise RequestInvalid.of("start_time", text)
    if query.covariates:
        check_covariates(query.covariates, limits)
    version = query.model_version
    if version is not None and not 1 <= version <= MAX_MODEL_VERSION:
        raise RequestInvalid.of("model_version", f"must be from 1 to {MAX_MODEL_VERSION}, got {version}")
    return query


def _start_time(time: Timestamp) -> datetime:
    try:
        return time.ToDatetime(UTC)
    except (ValueError, OverflowError) as exc:
        raise RequestInvalid.of("start_time", "must be a time in the years 1 to 9999") from exc


_READERS: Mapping[str, Callable[[Any], object]] = {
    "quantile_levels": tuple,
    "start_time": _start_time,
    "covariates": covariates_from_messages,
}
"""What makes a field of a `ForecastRequest` one of a query, where it is not that already."""


def _check_levels(levels: Sequence[float], max_levels: int) -> None:
    if len(levels) > max_levels:
        raise RequestInvalid.of("quantile_levels", f"may hold {max_levels} levels at most, got {len(levels)}")
    for index, level in enumerate(levels):
        if not 0 < level < 1:
            raise RequestInvalid.of(
                f"quantile_levels[{index}]", f"must be above 0 and below 1, got {level:g}"
            )


def shape_invalid(exc: ValidationError) -> RequestInvalid:
    """The error for a JSON body that is not of the right shape. Names fields, quotes no values."""
    violations = dict.fromkeys(
        FieldViolation(field=_path(error["loc"]), description=_description(error))
        for error in exc.errors(include_url=False, include_context=False, include_input=False)
    )
    return _invalid(tuple(violations))


def unknown_fields(names: Iterable[str], body: type[BaseModel]) -> RequestInvalid:
    """The error for a JSON body with fields that its kind does not have."""
    description = "there is no such field; the fields are " + ", ".join(body.model_fields)
    return _invalid(
        tuple(
            FieldViolation(field=name[:MAX_FIELD_LENGTH], description=description)
            for name in islice(names, MAX_VIOLATIONS)
        )
    )


def _invalid(violations: tuple[FieldViolation, ...]) -> RequestInvalid:
    first = violations[0]
    return RequestInvalid(f"{first.field}: {first.description}", violations=violations)


def _path(location: tuple[int | str, ...]) -> str:
    """The proto path of a field, such as `covariates[0].values[3]`; `body` for the document as a whole."""
    if not location:
        return "body"
    # Other texts name the alternatives of a type.
    parts = (
        f"[{part}]" if isinstance(part, int) else f".{part}" if part in _NESTED else ""
        for part in location[1:]
    )
    return f"{location[0]}{''.join(parts)}"


_NESTED = {*CovariateBody.model_fields, "tag", "customer_id", "request"}
"""Fields of what stands in lists: covariates, and items of a batch."""


def _description(error: ErrorDetails) -> str:
    if error["type"] in {"float_type", "none_required", "literal_error"}:
        missing = "" if error["loc"][0] == "quantile_levels" else "; null or NaN where one is missing"
        return "must be a number" + missing
    message = error["msg"]
    return message[:1].lower() + message[1:]
