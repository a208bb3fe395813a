"""Errors to both wires: `google.rpc.Status` with rich details, and its JSON twin."""

from typing import Any

from google.protobuf import any_pb2, duration_pb2
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2
from pydantic import BaseModel, ConfigDict

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


class ErrorDetails(BaseModel):
    """What went wrong."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    code: int
    """The HTTP status."""

    status: str
    """The name of the gRPC status code."""

    message: str
    """One sentence for a person."""

    details: list[dict[str, Any]]
    """`google.rpc.ErrorInfo` with the reason, and `BadRequest` or `RetryInfo` where they say more."""


class ErrorBody(BaseModel):
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
