"""The errors of the service: one tree, each leaf with its gRPC code, its reason and its HTTP status.

    ForecastError
     ├─ InvalidArgument ── CustomerIdMissing, CustomerIdInvalid, RequestInvalid
     ├─ NotFound ───────── ModelNotFound, ModelVersionNotFound
     ├─ FailedPrecondition  ModelFormatForbidden, ModelFormatUnsupported
     ├─ ModelVersionChanged
     ├─ ModelServiceDisabled
     ├─ ModelCorrupt
     ├─ StoreUnavailable
     ├─ Overloaded
     ├─ DeadlineExceeded
     └─ InternalError

A message is for the caller: it holds no traceback, no path and no address. What the operator needs beside it
goes into the `__cause__` (`raise ... from exc`) and from there into the log.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import ClassVar

DOMAIN = "forecast-grpc"
"""The `domain` of every `google.rpc.ErrorInfo` that we send."""

MAX_REQUEST_ID_LENGTH = 128
"""Characters of a request id that an error repeats: it may be the caller's own, and of any length."""


class Code(IntEnum):
    """The gRPC status codes that we use, by their numbers on the wire."""

    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    ABORTED = 10
    INTERNAL = 13
    UNAVAILABLE = 14
    DATA_LOSS = 15


HTTP_STATUS: Mapping[Code, int] = {
    Code.INVALID_ARGUMENT: 400,
    Code.DEADLINE_EXCEEDED: 504,
    Code.NOT_FOUND: 404,
    Code.PERMISSION_DENIED: 403,
    Code.RESOURCE_EXHAUSTED: 429,
    Code.FAILED_PRECONDITION: 400,
    Code.ABORTED: 409,
    Code.INTERNAL: 500,
    Code.UNAVAILABLE: 503,
    Code.DATA_LOSS: 500,
}
"""HTTP is derived from the gRPC code, as google.rpc.Code documents it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldViolation:
    """One field of a request that cannot be accepted."""

    field: str
    """The field's path in the proto, such as `sequence_data[3]`."""

    description: str
    """What is accepted, and what came instead."""


class ForecastError(Exception):
    """An error that a caller gets to see."""

    code: ClassVar[Code]
    reason: ClassVar[str]

    def __init__(
        self,
        message: str,
        *,
        violations: tuple[FieldViolation, ...] = (),
        metadata: Mapping[str, str] | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        """One sentence for a person: what is wrong, and what to do."""
        self.violations = violations
        """The fields at fault, for `google.rpc.BadRequest`."""
        self.metadata = dict(metadata or {})
        """Facts for a program, for `google.rpc.ErrorInfo.metadata`."""
        self.retry_after_s = retry_after_s
        """Seconds after which a retry may succeed, for `google.rpc.RetryInfo`; None where a retry is no use."""

    @property
    def http_status(self) -> int:
        """The HTTP status that goes with the gRPC code."""
        return HTTP_STATUS[self.code]


class InvalidArgument(ForecastError):
    """The request cannot be served whatever the state of the server."""

    code = Code.INVALID_ARGUMENT


class CustomerIdMissing(InvalidArgument):
    """No customer was named."""

    reason = "CUSTOMER_ID_MISSING"


class CustomerIdInvalid(InvalidArgument):
    """The customer's name is malformed."""

    reason = "CUSTOMER_ID_INVALID"


class RequestInvalid(InvalidArgument):
    """A field of the request is of the wrong type or out of range."""

    reason = "REQUEST_INVALID"

    @classmethod
    def of(cls, field: str, description: str) -> "RequestInvalid":
        """The error for one field; its message is `field: description`."""
        violation = FieldViolation(field=field, description=description)
        return cls(f"{field}: {description}", violations=(violation,))


class NotFound(ForecastError):
    """What was asked for does not exist."""

    code = Code.NOT_FOUND


class ModelNotFound(NotFound):
    """The store has no model of this customer."""

    reason = "MODEL_NOT_FOUND"


class ModelVersionNotFound(NotFound):
    """The customer has a model, but not in this version."""

    reason = "MODEL_VERSION_NOT_FOUND"


class FailedPrecondition(ForecastError):
    """The operator or the publisher has to change something first."""

    code = Code.FAILED_PRECONDITION


class ModelFormatForbidden(FailedPrecondition):
    """The model would run code when loaded, and the operator has not allowed it."""

    reason = "MODEL_FORMAT_FORBIDDEN"


class ModelFormatUnsupported(FailedPrecondition):
    """The model is of a family or a format version that this release does not know."""

    reason = "MODEL_FORMAT_UNSUPPORTED"


class ModelVersionChanged(ForecastError):
    """The active model is not the one that the caller saw: somebody was quicker."""

    code = Code.ABORTED
    reason = "MODEL_VERSION_CHANGED"


class ModelServiceDisabled(ForecastError):
    """The operator has not switched this part of the model service on."""

    code = Code.PERMISSION_DENIED
    reason = "MODEL_SERVICE_DISABLED"


class ModelCorrupt(ForecastError):
    """The model's bytes are truncated or do not match their digest."""

    code = Code.DATA_LOSS
    reason = "MODEL_CORRUPT"


class StoreUnavailable(ForecastError):
    """The store of models does not answer."""

    code = Code.UNAVAILABLE
    reason = "STORE_UNAVAILABLE"


class Overloaded(ForecastError):
    """The server has all the requests that it may take."""

    code = Code.RESOURCE_EXHAUSTED
    reason = "OVERLOADED"


class DeadlineExceeded(ForecastError):
    """The server's time limit for a request has passed."""

    code = Code.DEADLINE_EXCEEDED
    reason = "DEADLINE_EXCEEDED"


class InternalError(ForecastError):
    """Anything else. The caller gets a fixed sentence and the request id, never the cause."""

    code = Code.INTERNAL
    reason = "INTERNAL"

    def __init__(self, request_id: str) -> None:
        request_id = request_id[:MAX_REQUEST_ID_LENGTH]
        super().__init__(
            f"The server failed to answer. Report this with the request id {request_id}.",
            metadata={"request_id": request_id},
        )

    def __reduce__(self) -> tuple[type["InternalError"], tuple[str]]:
        """Pickled by its request id: the default takes the message for the constructor's argument."""
        return InternalError, (self.metadata["request_id"],)
