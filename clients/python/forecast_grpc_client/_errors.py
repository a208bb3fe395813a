"""What a failed call says."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import grpc
from google.rpc import error_details_pb2, status_pb2

from forecast_grpc_client._values import Provenance


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldViolation:
    """A field of the request that the service cannot accept."""

    field: str
    """Its path in the proto, such as `sequence_data[3]`."""

    description: str
    """What is accepted, and what came instead."""


class ForecastError(Exception):
    """A call that failed. `reason` is what to decide by; sentences may change."""

    def __init__(self, code: grpc.StatusCode, message: str, *, reason: str = "") -> None:
        super().__init__(f"{code.name}: {message}")
        self.code = code
        """The status."""
        self.message = message
        """One sentence for a person."""
        self.reason = reason
        """A name of `ErrorReason` without its prefix, such as `MODEL_NOT_FOUND`. Empty where the error does not
        come from the service itself: nobody listens, or the deadline has passed."""
        self.metadata: Mapping[str, str] = {}
        """Facts for a program."""
        self.violations: tuple[FieldViolation, ...] = ()
        """The fields of the request that are at fault."""
        self.retry_after_s: float | None = None
        """Seconds after which a retry may succeed; None where the service does not say."""
        self.provenance = Provenance(request_id="", replica="", cache="")
        """Where the error came from."""


def provenance_of(trailing: Iterable[Any] | None) -> Provenance:
    """The provenance in trailing metadata, pairs of key and value."""
    found = dict(map(tuple, trailing or ()))
    request_id, replica, cache = (
        str(found.get(key, "")) for key in ("request_id", "forecast-replica", "forecast-cache")
    )
    return Provenance(request_id=request_id, replica=replica, cache=cache)


def is_cut_off(failed: Any) -> bool:  # noqa: ANN401 - as in `error_of`
    """Whether a call was ended that its caller did not end: its replica died while the answer came.

    gRPC tries again only what has not begun to be answered, so this is to be asked once more by hand.
    """
    return failed.code() is grpc.StatusCode.CANCELLED


def error_of(failed: Any) -> ForecastError:  # noqa: ANN401 - an error of grpc or grpc.aio, which is the call too
    """What a failed call says."""
    trailing = failed.trailing_metadata() or ()
    error = ForecastError(failed.code(), failed.details() or "")
    error.provenance = provenance_of(trailing)
    rich = dict(map(tuple, trailing)).get("grpc-status-details-bin", b"")
    for detail in status_pb2.Status.FromString(rich).details:
        if detail.Unpack(info := error_details_pb2.ErrorInfo()):
            error.reason, error.metadata = info.reason, dict(info.metadata)
        elif detail.Unpack(bad := error_details_pb2.BadRequest()):
            error.violations = tuple(
                FieldViolation(field=each.field, description=each.description)
                for each in bad.field_violations
            )
        elif detail.Unpack(retry := error_details_pb2.RetryInfo()):
            error.retry_after_s = retry.retry_delay.ToNanoseconds() / 1e9
    return error
