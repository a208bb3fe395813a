"""Errors to both wires: `google.rpc.Status` with rich details, and its JSON twin."""

from typing import Any, Literal

from google.protobuf import any_pb2, duration_pb2
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2
from pydantic import BaseModel, ConfigDict, Field

from forecast_grpc.errors import DOMAIN, FieldViolation, ForecastError

_TYPE = "type.googleapis.com/google.rpc."

MAX_STATUS_BYTES = 4_096
"""Bytes of `grpc-status-details-bin` at most. All trailing metadata, the caller's request id among it, must stay
below 8 KiB together: above, gRPC clients drop the answer and report RESOURCE_EXHAUSTED in its place."""


def error_to_status(error: ForecastError) -> bytes:
    """The serialised `google.rpc.Status` of an error, for `grpc-status-details-bin`.

    Of too many field violations for `MAX_STATUS_BYTES` the first ones go in.
    """
    violations = error.violations
    status = _status(error, violations)
    while status.ByteSize() > MAX_STATUS_BYTES and violations:
        violations = violations[: len(violations) // 2]
        status = _status(error, violations)
    return status.SerializeToString()


class _Body(BaseModel):
    model_config = ConfigDict(use_attribute_docstrings=True)


class ErrorInfoBody(_Body):
    """Why the request failed."""

    type: Literal["type.googleapis.com/google.rpc.ErrorInfo"] = Field(alias="@type")
    """Which of the details it is."""

    reason: str
    """For programs: a name of `forecast.v1.ErrorReason` without its prefix, such as `MODEL_NOT_FOUND`."""

    domain: str
    """Whose reason it is."""

    metadata: dict[str, str]
    """Facts for programs."""


class FieldViolationBody(_Body):
    """One field of a request that cannot be accepted."""

    field: str
    """The field's path, such as `sequence_data[3]`; `body` for the body as a whole."""

    description: str
    """What is accepted."""


class BadRequestBody(_Body):
    """Which fields are at fault."""

    type: Literal["type.googleapis.com/google.rpc.BadRequest"] = Field(alias="@type")
    """Which of the details it is."""

    field_violations: list[FieldViolationBody] = Field(alias="fieldViolations")
    """Each field at fault."""


class RetryInfoBody(_Body):
    """When a retry may succeed."""

    type: Literal["type.googleapis.com/google.rpc.RetryInfo"] = Field(alias="@type")
    """Which of the details it is."""

    retry_delay: str = Field(alias="retryDelay")
    """How long to wait, in seconds, such as `1s`."""


class ErrorDetails(_Body):
    """What went wrong."""

    code: int
    """The HTTP status."""

    status: str
    """The name of the gRPC status code."""

    message: str
    """One sentence for a person."""

    details: list[ErrorInfoBody | BadRequestBody | RetryInfoBody]
    """`google.rpc.ErrorInfo` with the reason, and `BadRequest` or `RetryInfo` where they say more."""


class ErrorBody(_Body):
    """The JSON body of an error."""

    error: ErrorDetails
    """What went wrong."""


def error_to_json(error: ForecastError) -> dict[str, Any]:
    """The JSON body of an error: code (HTTP), status (gRPC's name), message and details."""
    info = {
        "@type": _TYPE + "ErrorInfo",
        "reason": error.reason,
        "domain": DOMAIN,
        "metadata": error.metadata,
    }
    details: list[dict[str, Any]] = [info]
    if error.violations:
        violations = [{"field": v.field, "description": v.description} for v in error.violations]
        details.append({"@type": _TYPE + "BadRequest", "fieldViolations": violations})
    if error.retry_after_s is not None:
        details.append({"@type": _TYPE + "RetryInfo", "retryDelay": f"{error.retry_after_s:g}s"})
    return {
        "error": {
            "code": error.http_status,
            "status": error.code.name,
            "message": error.message,
            "details": details,
        }
    }


def _status(error: ForecastError, violations: tuple[FieldViolation, ...]) -> status_pb2.Status:
    status = status_pb2.Status(code=error.code, message=error.message)
    info = error_details_pb2.ErrorInfo(reason=error.reason, domain=DOMAIN, metadata=error.metadata)
    _add(status, info)
    if violations:
        fields = [
            error_details_pb2.BadRequest.FieldViolation(field=v.field, description=v.description)
            for v in violations
        ]
        _add(status, error_details_pb2.BadRequest(field_violations=fields))
    if error.retry_after_s is not None:
        delay = duration_pb2.Duration()
        delay.FromNanoseconds(round(error.retry_after_s * 1e9))
        _add(status, error_details_pb2.RetryInfo(retry_delay=delay))
    return status


def _add(status: status_pb2.Status, detail: Message) -> None:
    packed = any_pb2.Any()
    packed.Pack(detail)
    status.details.append(packed)
