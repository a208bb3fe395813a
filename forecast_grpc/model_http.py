"""The model service over HTTP: requests become the messages of gRPC, answers are those of gRPC as JSON."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from fastapi import FastAPI, HTTPException, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel

from forecast_grpc import openapi, wire
from forecast_grpc.administration import Administration
from forecast_grpc.call import Call
from forecast_grpc.errors import RequestInvalid
from forecast_grpc.v1 import model_pb2 as pb
from forecast_grpc.web import CUSTOMER_HEADERS, call_of, read_body, refuser, respond
from forecast_grpc.wire import model_bodies as bodies
from forecast_grpc.wire.usage_bodies import GetAccessStatisticsBody

_MAX_BODY_BYTES = 256 * 1024  # More than a thousand customers need.


_COUNT = {"type": "integer", "format": "int32", "minimum": 0, "maximum": 2**31 - 1}

_PAGING = (
    openapi.parameter(
        "page_size",
        "query",
        _COUNT,
        f"Models in one answer, {wire.MAX_PAGE_SIZE} at most. 0: {wire.DEFAULT_PAGE_SIZE}.",
    ),
    openapi.parameter(
        "page_token",
        "query",
        {"type": "string"},
        "The `next_page_token` of the answer before; all else must be as it was. Empty: from the beginning.",
    ),
)
_PREFIX = openapi.parameter(
    "prefix",
    "query",
    {"type": "string", "maxLength": wire.MAX_PREFIX_LENGTH},
    "Only customers whose names start so.",
)
_VIEW = openapi.parameter(
    "view",
    "query",
    {"type": "string", "enum": list(pb.ModelView.keys())},
    "How much is said of each model: with `MODEL_VIEW_BASIC` its name alone, which needs no model to be read.",
)
_TOP_SIZE = openapi.parameter(
    "top_size",
    "query",
    _COUNT,
    f"Customers to name, {wire.MAX_PAGE_SIZE} at most. 0: {wire.DEFAULT_TOP_SIZE}.",
)
_VERSION = openapi.parameter("version", "query", wire.VERSION_SCHEMA, "Which version. Unset: the active one.")
_CUSTOMER = openapi.customer("customer_id", "path", "The customer.")

_SAME_CUSTOMER = {
    operation: openapi.link(operation, name, "$response.body#/model/customer_id")
    for operation, name in (
        ("explain_model", "customer_id"),
        ("list_model_versions", "customer_id"),
        ("forecast", CUSTOMER_HEADERS[0]),
    )
}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Route:
    """One call of the model service over HTTP."""

    name: str
    """What OpenAPI calls it."""

    method: str
    """GET or POST."""

    path: str
    """Where it is; `{customer_id}` stands for a customer."""

    summary: str
    """What it does."""

    request: type[Any]
    """The message of the request."""

    decode: Callable[[Any], Any]
    """From that message to what `ask` takes. Raises RequestInvalid."""

    ask: Callable[[Administration, Call, Callable[[], Any]], Awaitable[Any]]
    """The call itself."""

    encode: Callable[[Any], Any]
    """From what came of it to the message of the answer."""

    answer: type[BaseModel]
    """The JSON of that message."""

    query: tuple[Mapping[str, Any], ...] = ()
    """The parameters that stand in the URL's query."""

    links: Mapping[str, Any] = field(default_factory=dict)
    """Calls that can be made of its answer, as OpenAPI says it."""

    body: type[BaseModel] | None = None
    """The JSON of the fields that stand in the body; None where there is none."""

    errors: tuple[int, ...] = (400, 403, 429, 500, 503, 504)
    """The HTTP statuses of its errors."""


_LOST = (400, 403, 404, 429, 500, 503, 504)

# The first that matches is taken: a customer may not hold a colon, but a path's variable may.
_ROUTES = (
    _Route(
        name="list_models",
        method="GET",
        path="/v1/models",
        summary="The customers' active models, page by page.",
        request=pb.ListModelsRequest,
        decode=wire.customers_query,
        ask=Administration.customers,
        encode=wire.customers_response,
        answer=bodies.ListModelsBody,
        query=(_PREFIX, *_PAGING, _VIEW),
    ),
    _Route(
        name="warm_models",
        method="POST",
        path="/v1/models:warm",
        summary="Loads customers' models into the memory of every replica.",
        request=pb.WarmModelsRequest,
        decode=wire.warmed_customers,
        ask=Administration.warm,
        encode=wire.warming_response,
        answer=bodies.WarmModelsBody,
        body=bodies.WarmModelsRequestBody,
    ),
    _Route(
        name="activate_model_version",
        method="POST",
        path="/v1/models/{customer_id}:activate",
        summary="Makes a published version the active one, in every replica.",
        request=pb.ActivateModelVersionRequest,
        decode=partial(wire.activation, customer_id=""),
        ask=Administration.activate,
        encode=wire.activation_response,
        answer=bodies.ActivateModelVersionBody,
        body=bodies.ActivateModelVersionRequestBody,
        errors=(*_LOST, 409),
    ),
    _Route(
        name="explain_model",
        method="GET",
        path="/v1/models/{customer_id}:explain",
        summary="Where a customer's model is: in which replicas, since when and why.",
        request=pb.ExplainModelRequest,
        decode=partial(wire.explained_customer, customer_id=""),
        ask=Administration.explain,
        encode=wire.explanation_response,
        answer=bodies.ExplainModelBody,
    ),
    _Route(
        name="get_access_statistics",
        method="GET",
        path="/v1/models:accessStatistics",
        summary="Who asks for forecasts, and how much of it caches of other sizes would have answered.",
        request=pb.GetAccessStatisticsRequest,
        decode=wire.top_size,
        ask=Administration.usage,
        encode=wire.usage_response,
        answer=GetAccessStatisticsBody,
        query=(_TOP_SIZE,),
    ),
    _Route(
        name="list_model_versions",
        method="GET",
        path="/v1/models/{customer_id}/versions",
        summary="Every published version of a customer's model, the newest first, page by page.",
        request=pb.ListModelVersionsRequest,
        decode=partial(wire.versions_query, customer_id=""),
        ask=Administration.versions,
        encode=wire.versions_response,
        answer=bodies.ListModelsBody,
        query=_PAGING,
        errors=_LOST,
    ),
    _Route(
        name="get_model",
        method="GET",
        path="/v1/models/{customer_id}",
        summary="One model: the customer's active version, or another.",
        request=pb.GetModelRequest,
        decode=partial(wire.model_query, customer_id=""),
        ask=Administration.get,
        encode=wire.model_response,
        answer=bodies.GetModelBody,
        query=(_VERSION,),
        links=_SAME_CUSTOMER,
        errors=_LOST,
    ),
)


MODEL_BODIES = tuple(route.body for route in _ROUTES if route.body is not None)
"""The JSON bodies of its requests."""


def add_model_routes(app: FastAPI, replica: str, models: Administration) -> None:
    """Adds the calls of the model service to the application."""
    for route in _ROUTES:
        app.add_api_route(
            route.path,
            _endpoint(route, replica, models),
            methods=[route.method],
            operation_id=route.name,
            summary=route.summary,
            tags=["models"],
            response_model=None,
            responses={
                200: openapi.answer("Done.", route.answer, links=route.links),
                **openapi.errors(*route.errors),
            },
            openapi_extra=_request_schema(route),
        )
        if route.method != "GET":
            # Otherwise the path would be taken for that of a customer.
            app.add_api_route(route.path, _wrong_method(route), methods=["GET"], include_in_schema=False)


def _endpoint(
    route: _Route, replica: str, models: Administration
) -> Callable[[Request], Awaitable[JSONResponse]]:
    async def endpoint(request: Request) -> JSONResponse:
        call = call_of(request)
        try:
            decode: Callable[[], Any] = partial(route.decode, await _message(route, request))
        except RequestInvalid as exc:
            decode = refuser(exc)
        outcome = await route.ask(models, call, decode)
        return respond(
            replica, call, outcome, lambda found: wire.message_to_json(route.encode(found), route.answer)
        )

    return endpoint


def _wrong_method(route: _Route) -> Callable[[], Awaitable[None]]:
    async def refuse() -> None:
        raise HTTPException(405, headers={"allow": route.method})

    return refuse


async def _message(route: _Route, request: Request) -> Any:  # noqa: ANN401 - any message
    """The request's fields, wherever they stand, as the message. Raises RequestInvalid."""
    if route.body is None:
        return wire.message_of(route.request, {**request.query_params, **request.path_params})
    body = await read_body(request, _MAX_BODY_BYTES)
    return wire.message_of_json(route.request, body, request.path_params)


def _request_schema(route: _Route) -> dict[str, Any]:
    path = [_CUSTOMER] if "{customer_id}" in route.path else []
    schema: dict[str, Any] = {"parameters": [*path, *route.query, openapi.request_id()]}
    return schema if route.body is None else schema | {"requestBody": openapi.json_body(route.body)}
