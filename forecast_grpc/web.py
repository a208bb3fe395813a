"""What every route of the HTTP door shares: who calls, what was sent, and how an answer or an error leaves."""

import math
from collections.abc import Callable
from typing import Any, NoReturn, TypeVar

from fastapi import Request
from fastapi.responses import JSONResponse
from ray import serve

from forecast_grpc import wire
from forecast_grpc.call import Call, new_request_id
from forecast_grpc.errors import ForecastError, RequestInvalid

T = TypeVar("T")

CUSTOMER_HEADERS = ("serve_multiplexed_model_id", "multiplexed_model_id")
"""Where a request names its customer; the first is the one that Ray routes by."""


def call_of(request: Request) -> Call:
    """The call that a request is, under the caller's own request id if there is one."""
    return Call(protocol="http", request_id=request.headers.get("x-request-id") or new_request_id())


def customer_of(request: Request) -> str:
    """The customer in the request's headers; empty for none."""
    # Ray knows the first header only; the second is what gRPC callers send and will try here too.
    return serve.get_multiplexed_model_id() or request.headers.get(CUSTOMER_HEADERS[1], "")


async def read_body(request: Request, max_bytes: int) -> bytes:
    """The request's body. Raises RequestInvalid where it is longer than any acceptable request."""
    chunks: list[bytes] = []
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > max_bytes:
            raise RequestInvalid.of("body", f"may hold {max_bytes} bytes at most")
        chunks.append(chunk)
    return b"".join(chunks)


def refuser(error: ForecastError) -> Callable[[], Any]:
    """What raises the error: it stands in for what would decode a request that is known to be bad."""

    def refuse() -> NoReturn:
        raise error

    return refuse


def respond(
    replica: str, call: Call, outcome: T | ForecastError, encode: Callable[[T], dict[str, Any]]
) -> JSONResponse:
    """The answer or the error, with its provenance in the headers."""
    headers = {"request_id": call.request_id, "forecast-replica": replica}
    if call.tier is not None:
        headers["forecast-cache"] = call.tier.value
    if isinstance(outcome, ForecastError):
        if outcome.retry_after_s is not None:
            headers["retry-after"] = str(math.ceil(outcome.retry_after_s))
        return JSONResponse(wire.error_to_json(outcome), status_code=outcome.http_status, headers=headers)
    return JSONResponse(encode(outcome), headers=headers)
