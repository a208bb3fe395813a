"""Answers to both wires."""

from datetime import UTC, datetime
from functools import lru_cache
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from forecast_grpc.domain import Answer, ModelMetadata
from forecast_grpc.v1.forecast_pb2 import ForecastResponse, ModelRef, QuantileForecast

MAX_MODEL_REFS = 4_096
"""Models whose `ModelRef` is kept made, in two forms: half a kilobyte each."""


def answer_to_proto(answer: Answer) -> ForecastResponse:
    """The gRPC response."""
    result, metadata = answer.result, answer.metadata
    # Read from bytes that name the model, a message is made in two thirds of the time of one by its fields.
    response = ForecastResponse.FromString(naming(metadata))
    response.customer_id = answer.customer_id
    response.forecast.extend(result.forecast.tolist())
    if result.start_time is not None:
        response.forecast_start_time.FromDatetime(result.start_time)
    if result.quantiles:
        response.quantiles.extend(
            QuantileForecast(level=quantile.level, values=quantile.values.tolist())
            for quantile in result.quantiles
        )
    return response


def model_to_proto(metadata: ModelMetadata) -> ModelRef:
    """Which model it was."""
    return _model_ref(metadata.model_version, metadata.family, metadata.digest, metadata.trained_time)


def naming(metadata: ModelMetadata) -> bytes:
    """The bytes of an answer that says no more than which model it was."""
    return _naming(metadata.model_version, metadata.family, metadata.digest, metadata.trained_time)


@lru_cache(maxsize=MAX_MODEL_REFS)
def _model_ref(version: int, family: str, digest: bytes, trained_time: datetime | None) -> ModelRef:
    """The message that names a model: the same in each of its answers, and to be copied, never changed."""
    reference = ModelRef(version=version, family=family, sha256=digest.hex())
    if trained_time is not None:
        reference.trained_time.FromDatetime(trained_time)
    return reference


@lru_cache(maxsize=MAX_MODEL_REFS)
def _naming(version: int, family: str, digest: bytes, trained_time: datetime | None) -> bytes:
    return ForecastResponse(model=_model_ref(version, family, digest, trained_time)).SerializeToString()


Time = Annotated[str, Field(json_schema_extra={"format": "date-time"})]
"""A time in an answer, RFC 3339 in UTC."""


class QuantileBody(BaseModel):
    """The forecast at one quantile level."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    level: float
    """As it was asked for."""

    values: list[float]
    """One value a step, nearest step first."""


class ModelBody(BaseModel):
    """The model that answered."""

    model_config = ConfigDict(use_attribute_docstrings=True, protected_namespaces=())

    version: int
    """Counted from 1 within a customer."""

    family: str
    """`trend`, `seasonal_naive`, `theta`, `ets`, `linear` or another."""

    sha256: str
    """Digest of the model's tensor bytes."""

    trained_time: Time | None = None
    """When the model was fitted, RFC 3339."""


class AnswerBody(BaseModel):
    """The JSON body of a forecast: the fields of `forecast.v1.ForecastResponse` that are set."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    customer_id: str
    """The customer whose model answered."""

    forecast: list[float]
    """The point forecast, one value a step, nearest step first."""

    quantiles: list[QuantileBody] | None = None
    """One for each of `quantile_levels`, in their order."""

    model: ModelBody
    """The model that answered."""

    forecast_start_time: Time | None = None
    """The time of the first step, RFC 3339 in UTC, where it is known."""


def answer_to_json(answer: Answer) -> dict[str, Any]:
    """The HTTP response: the shape of `AnswerBody`, without the fields that are not set."""
    result, metadata = answer.result, answer.metadata
    model: dict[str, Any] = {
        "version": metadata.model_version,
        "family": metadata.family,
        "sha256": metadata.sha256,
    }
    if metadata.trained_time is not None:
        model["trained_time"] = _rfc3339(metadata.trained_time)
    body: dict[str, Any] = {
        "customer_id": answer.customer_id,
        "forecast": result.forecast.tolist(),
        "model": model,
    }
    if result.start_time is not None:
        body["forecast_start_time"] = _rfc3339(result.start_time)
    if result.quantiles:
        body["quantiles"] = [{"level": q.level, "values": q.values.tolist()} for q in result.quantiles]
    return body


def _rfc3339(time: datetime) -> str:
    return time.astimezone(UTC).isoformat().replace("+00:00", "Z")
