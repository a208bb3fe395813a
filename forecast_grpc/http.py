"""The HTTP door: the same calls as gRPC on another wire, for whoever has only `curl`."""

from collections.abc import Callable
from functools import partial
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from fastapi_offline import FastAPIOffline
from starlette.exceptions import HTTPException

from forecast_grpc import __version__, openapi, wire
from forecast_grpc.administration import Administration
from forecast_grpc.bulk import BulkEngine
from forecast_grpc.domain import ForecastQuery
from forecast_grpc.engine import Engine
from forecast_grpc.errors import RequestInvalid
from forecast_grpc.items import Order
from forecast_grpc.model_http import MODEL_BODIES, add_model_routes
from forecast_grpc.names import DISTRIBUTION
from forecast_grpc.web import (
    CUSTOMER_HEADERS,
    call_of,
    customer_of,
    read_body,
    refuser,
    respond,
)

_DESCRIPTION = """The HTTP fallback of forecast-grpc: one forecasting model per customer. The gRPC services
`forecast.v1.ForecastService` and `forecast.v1.ModelService` on the gRPC port give the same, forecasts to the last
bit, faster."""


def build_app(engine: Engine, bulk: BulkEngine, models: Administration) -> FastAPI:
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
            tags=["forecast"],
            responses=_responses(),
            openapi_extra=_request_schema(),
        )

    async def batch_forecast(request: Request) -> JSONResponse:
        """Forecasts many series in one call; each has a result of its own, in their order."""
        return await _batch_forecast(engine, bulk, request)

    app.add_api_route(
        "/v1/forecast:batch",
        batch_forecast,
        methods=["POST"],
        operation_id="batch_forecast",
        response_model=None,
        tags=["forecast"],
        responses=_batch_responses(),
        openapi_extra=_batch_schema(),
    )
    add_model_routes(app, engine.replica, models)
    openapi.complete(app, (wire.ForecastBody, wire.BatchBody, *MODEL_BODIES), engine.limits)
    return app


async def _forecast(engine: Engine, request: Request) -> JSONResponse:
    call = call_of(request)
    try:
        body = await read_body(request, engine.limits.max_body_bytes)
        decode: Callable[[], ForecastQuery] = partial(wire.query_from_json, body, engine.limits)
    except RequestInvalid as exc:
        decode = refuser(exc)
    outcome = await engine.forecast(call, customer_of(request), decode)
    return respond(engine.replica, call, outcome, wire.answer_to_json)


async def _batch_forecast(engine: Engine, bulk: BulkEngine, request: Request) -> JSONResponse:
    call = call_of(request)
    try:
        body = await read_body(request, engine.limits.max_body_bytes)
        decode: Callable[[], Order] = partial(wire.order_from_json, body, bulk.limits, customer_of(request))
    except RequestInvalid as exc:
        decode = refuser(exc)
    outcome = await bulk.batch(call, decode, wire.results_to_json)
    return respond(engine.replica, call, outcome, wire.batch_to_json)


async def _no_such_route(_request: Request, exc: Exception) -> JSONResponse:
    """Wrong paths and methods in the shape of all other errors."""
    assert isinstance(exc, HTTPException)  # noqa: S101 - registered for nothing else
    status = {404: "NOT_FOUND", 405: "UNIMPLEMENTED"}.get(exc.status_code, "UNKNOWN")
    message = "There is nothing here. POST / and POST /v1/forecast answer; /docs describes all there is."
    error = {"code": exc.status_code, "status": status, "message": message, "details": []}
    return JSONResponse({"error": error}, status_code=exc.status_code, headers=exc.headers)


def _request_schema() -> dict[str, Any]:
    name = f"The customer whose model is to answer. `{CUSTOMER_HEADERS[1]}`, as gRPC has it, is taken too."
    return {
        "parameters": [openapi.customer(CUSTOMER_HEADERS[0], "header", name), openapi.request_id()],
        "requestBody": openapi.json_body(wire.ForecastBody),
    }


def _responses() -> dict[int | str, dict[str, Any]]:
    links = {"get_model": openapi.link("get_model", "customer_id", "$response.body#/customer_id")}
    done = openapi.answer("The forecast.", wire.AnswerBody, tiered=True, links=links)
    return {200: done} | openapi.errors(400, 404, 429, 500, 503, 504)


def _batch_schema() -> dict[str, Any]:
    name = "The customer of those items that name none."
    # A name that is none is an error of those items, not of the call.
    customer = openapi.parameter(CUSTOMER_HEADERS[0], "header", {"type": "string"}, name)
    return {
        "parameters": [customer, openapi.request_id()],
        "requestBody": openapi.json_body(wire.BatchBody),
    }


def _batch_responses() -> dict[int | str, dict[str, Any]]:
    done = openapi.answer("A result for each item, also where all of them failed.", wire.BatchAnswerBody)
    return {200: done} | openapi.errors(400, 429, 500, 503, 504)
