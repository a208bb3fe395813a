"""Covariates from both wires, and every check of them that needs no model."""

from collections.abc import Iterable
from typing import Annotated

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from forecast_grpc.domain import MAX_COVARIATE_NAME, Covariate, RequestLimits, is_covariate_name
from forecast_grpc.errors import RequestInvalid
from forecast_grpc.v1.forecast_pb2 import Covariate as CovariateMessage
from forecast_grpc.wire.values import Values, check_finite, to_array


class CovariateBody(BaseModel):
    """What is known beside the series itself at each step, before the forecast and during it."""

    model_config = ConfigDict(
        # Unknown fields are refused in `covariates_from_bodies`: see `ForecastBody`.
        extra="allow",
        use_attribute_docstrings=True,
        json_schema_extra={"additionalProperties": False},
    )

    name: Annotated[str, Field(json_schema_extra={"minLength": 1, "maxLength": MAX_COVARIATE_NAME})] = ""
    """The name that the model was fitted with: printable characters, each name once in a request."""

    values: Values = []
    """One value a step, in time order; the last belongs to the last step of the forecast. As many as the forecast
    has steps, or as many as `sequence_data` and the forecast have together. `null` or `"NaN"` is a missing one: in
    the forecast's steps there may be none."""


def covariates_from_messages(messages: Iterable[CovariateMessage]) -> tuple[Covariate, ...]:
    """The covariates of a gRPC request."""
    return tuple(
        Covariate(name=message.name, values=np.array(message.values, dtype=np.float64))
        for message in messages
    )


def covariates_from_bodies(bodies: Iterable[CovariateBody]) -> tuple[Covariate, ...]:
    """The covariates of a JSON body. Raises RequestInvalid where one has a field that there is not."""
    return tuple(_covariate(place, body) for place, body in enumerate(bodies))


def _covariate(place: int, body: CovariateBody) -> Covariate:
    if body.model_extra:
        fields = ", ".join(CovariateBody.model_fields)
        raise RequestInvalid.of(f"covariates[{place}]", f"has a field too many; the fields are {fields}")
    return Covariate(name=body.name, values=to_array(body.values))


def check_covariates(covariates: tuple[Covariate, ...], limits: RequestLimits) -> None:
    """Raises RequestInvalid with the first field at fault."""
    if len(covariates) > limits.max_covariates:
        text = f"may hold {limits.max_covariates} at most, got {len(covariates)}"
        raise RequestInvalid.of("covariates", text)
    total = sum(covariate.values.size for covariate in covariates)
    if total > limits.max_covariate_values:
        text = f"may hold {limits.max_covariate_values} values together at most, got {total}"
        raise RequestInvalid.of("covariates", text)
    names: set[str] = set()
    for place, covariate in enumerate(covariates):
        _check_name(f"covariates[{place}].name", covariate.name, names)
        check_finite(f"covariates[{place}].values", covariate.values)
        names.add(covariate.name)


def _check_name(field: str, name: str, before: set[str]) -> None:
    if not is_covariate_name(name):
        raise RequestInvalid.of(field, f"must be 1 to {MAX_COVARIATE_NAME} printable characters")
    if name in before:
        raise RequestInvalid.of(field, f"must name each covariate once, got {name} again")
