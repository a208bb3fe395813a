"""Values <-> the messages of the wire."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

import grpc

from forecast_grpc_client._errors import FieldViolation, ForecastError
from forecast_grpc_client._values import Forecast, Model, Provenance, Request
from forecast_grpc_client.v1 import forecast_pb2 as pb

SHARE_OF_TIME = 0.9
"""Of a batch's deadline, the share that the service may use: what is left is for the answer to come back in."""

_CODES: Mapping[int, grpc.StatusCode] = {code.value[0]: code for code in grpc.StatusCode}


def to_message(request: Request) -> pb.ForecastRequest:
    """The message of a request. Raises TypeError or ValueError where a field is not of its type."""
    message = pb.ForecastRequest(
        sequence_data=request.sequence,
        horizon=request.horizon,
        quantile_levels=request.quantile_levels,
        covariates=[pb.Covariate(name=name, values=values) for name, values in request.covariates.items()],
        model_version=request.model_version,
    )
    if request.start_time is not None:
        message.start_time.FromDatetime(request.start_time)
    return message


def from_message(message: pb.ForecastResponse, provenance: Provenance) -> Forecast:
    """The forecast in an answer."""
    return Forecast(
        customer_id=message.customer_id,
        values=list(message.forecast),
        quantiles={each.level: list(each.values) for each in message.quantiles},
        model=Model(
            version=message.model.version,
            family=message.model.family,
            sha256=message.model.sha256,
            trained_time=_time(message.model, "trained_time"),
        ),
        start_time=_time(message, "forecast_start_time"),
        provenance=provenance,
    )


def to_item(request: Request, tag: str = "") -> pb.ForecastItem:
    """The item of a batch or a stream. Raises as `to_message`."""
    return pb.ForecastItem(tag=tag, customer_id=request.customer_id, request=to_message(request))


def to_batch(requests: Iterable[Request], timeout_s: float) -> pb.BatchForecastRequest:
    """The message of a batch that is to be answered, in part at least, within this time."""
    batch = pb.BatchForecastRequest(items=map(to_item, requests))
    batch.time_limit.FromNanoseconds(round(1e9 * SHARE_OF_TIME * timeout_s))
    return batch


def from_result(result: pb.ForecastResult, provenance: Provenance) -> Forecast | ForecastError:
    """What became of an item."""
    if result.WhichOneof("outcome") == "response":
        return from_message(result.response, provenance)
    found = result.error
    error = ForecastError(_CODES.get(found.code, grpc.StatusCode.UNKNOWN), found.message, reason=found.reason)
    error.provenance = provenance
    if found.field:
        error.violations = (FieldViolation(field=found.field, description=found.message),)
    if found.HasField("retry_delay"):
        error.retry_after_s = found.retry_delay.ToNanoseconds() / 1e9
    return error


def only_customer(requests: Iterable[Request]) -> str:
    """The customer of all the requests; empty where there are several. A batch of one goes where its model is."""
    customers = {request.customer_id for request in requests}
    return customers.pop() if len(customers) == 1 else ""


def _time(message: Any, field: str) -> datetime | None:  # noqa: ANN401 - messages with a Timestamp
    return getattr(message, field).ToDatetime(UTC) if message.HasField(field) else None
