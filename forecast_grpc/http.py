"""The HTTP door: the same calls as gRPC on another wire, for whoever has only `curl`."""

import math
import uuid
from functools import partial
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from fastapi_offline import FastAPIOffline
from ray import serve
from starlette.exceptions import HTTPException

from forecast_grpc import __version__, wire
from forecast_grpc.domain import ForecastQuery
from forecast_grpc.engine import Call, Engine
from forecast_grpc.errors import ForecastError, RequestInvalid
from forecast_grpc.names import DISTRIBUTION

CUSTOMER_HEADERS = ("serve_multiplexed_model_id", "multiplexed_model_id")
"""Where a request names its customer; the first is the one that Ray routes by."""

_DESCRIPTION = """The HTTP fallback of forecast-grpc: one forecasting model per customer. The gRPC service
`forecast.v1.ForecastService` on the gRPC port gives the same numbers to the last bit, faster."""

_ERROR_STATUSES = {
    400: "The request or the customer's name is invalid, or the model's format is not accepted.",
    404: "There is no such model, or not in this version.",
    429: "The server has all the requests that it may queue.",
    500: "The server failed, or the model's bytes are damaged.",
    503: "The store of models does not answer.",
    504: "The server's time limit has passed.",
}

_CUSTOMER_PARAMETER = {
    "name": CUSTOMER_HEADERS[0],
    "in": "header",
    "required": True,
    "description": "The customer whose model is to answer.",
    "schema": {"type": "string", "pattern": r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$"},
    "example": "customer_123",
}


def build_app(engine: Engine) -> FastAPI:
    """The HTTP application of a replica."""
    app = FastAPIOffline(redoc_url=None, title=DISTRIBUTION, version=__version__, description=_DESCRIPTION)
    app.add_exception_handler(HTTPException, _no_such_route)

    async def forecast(request: Request) -> JSONResponse:
        """Forecasts one series with the model of the customer in the header."""
        return await _forecast(engine, request)

    for path, operation in (("/v1/forecast", "forecast"), ("/", "forecast_root")):
        app.add_api_route(
            path,
            forecast,
            methods=["POST"],
            operation_id=operation,
            response_model=None,
            responses=_responses(),
            openapi_extra=_request_schema(),
        )
    return app


async def _forecast(engine: Engine, request: Request) -> JSONResponse:
    call = Call(protocol="http", request_id=request.headers.get("x-request-id") or str(uuid.uuid4()))
    try:
        body = await _body(request, engine.limits.max_body_bytes)
        decode = partial(wire.query_from_json, body, engine.limits)
    except RequestInvalid as exc:
        decode = partial(_refuse, exc)
    outcome = await engine.forecast(call, _customer_id(request), decode)
    headers = {"request_id": call.request_id, "forecast-replica": engine.replica}
    if call.tier is not None:
        headers["forecast-cache"] = call.tier.value
    if isinstance(outcome, ForecastError):
        if outcome.retry_after_s is not None:
            headers["retry-after"] = str(math.ceil(outcome.retry_after_s))
        return JSONResponse(wire.error_to_json(outcome), status_code=outcome.http_status, headers=headers)
    return JSONResponse(wire.answer_to_json(outcome), headers=headers)


def _refuse(error: ForecastError) -> ForecastQuery:
    raise error


def _customer_id(request: Request) -> str:
    # Ray knows the first header only; the second is what gRPC callers send and will try here too.
    return serve.get_multiplexed_model_id() or request.headers.get(CUSTOMER_HEADERS[1], "")


async def _body(request: Request, max_bytes: int) -> bytes:
    """The request's body. Raises RequestInvalid where it is longer than any acceptable request."""
    chunks: list[bytes] = []
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > max_bytes:
            raise RequestInvalid.of("body", f"may hold {max_bytes} bytes at most")
        chunks.append(chunk)
    return b"".join(chunks)


async def _no_such_route(_request: Request, exc: Exception) -> JSONResponse:
    """Wrong paths and methods in the shape of all other errors."""
    assert isinstance(exc, HTTPException)  # noqa: S101 - registered for nothing else
    status = {404: "NOT_FOUND", 405: "UNIMPLEMENTED"}.get(exc.status_code, "UNKNOWN")
    message = "There is nothing here. POST / and POST /v1/forecast answer; /docs describes them."
    error = {"code": exc.status_code, "status": status, "message": message, "details": []}
    return JSONResponse({"error": error}, status_code=exc.status_code, headers=exc.headers)


def _request_schema() -> dict[str, Any]:
    """The OpenAPI of the request. The body is read by hand: `curl -d` does not say that it sends JSON."""
    schema = wire.ForecastBody.model_json_schema()
    # A reference would be looked up in the document as a whole, not in this schema.
    schema["properties"]["covariates"]["items"] = schema.pop("$defs")["CovariateBody"]
    return {
        "parameters": [_CUSTOMER_PARAMETER],
        "requestBody": {"required": True, "content": {"application/json": {"schema": schema}}},
    }


def _responses() -> dict[int | str, dict[str, Any]]:
    errors = {code: {"description": text, "model": wire.ErrorBody} for code, text in _ERROR_STATUSES.items()}
    return {200: {"description": "The forecast.", "model": wire.AnswerBody}} | errors  # type: ignore[return-value]
