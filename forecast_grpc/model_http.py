"""The model service over HTTP: requests become the messages of gRPC, answers are those of gRPC as JSON."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel

from forecast_grpc import wire
from forecast_grpc.administration import Administration
from forecast_grpc.call import Call
from forecast_grpc.errors import RequestInvalid
from forecast_grpc.v1 import model_pb2 as pb
from forecast_grpc.web import CUSTOMER_SCHEMA, call_of, error_responses, read_body, refuser, respond
from forecast_grpc.wire import model_bodies as bodies

_MAX_BODY_BYTES = 256 * 1024  # More than a thousand customers need.

_TEXT: Mapping[str, str] = {"type": "string"}
_NUMBER: Mapping[str, str] = {"type": "integer"}
_PAGING = {"page_size": _NUMBER, "page_token": _TEXT}


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

    query: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """The fields that stand in the URL's query, with their schemas."""

    body: type[BaseModel] | None = None
    """The JSON of the fields that stand in the body; None where there is none."""

    errors: tuple[int, ...] = (400, 403, 500, 503, 504)
    """The HTTP statuses of its errors."""


_LOST = (400, 403, 404, 500, 503, 504)

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
        query={"prefix": _TEXT, **_PAGING, "view": {"type": "string", "enum": list(pb.ModelView.keys())}},
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
        query={"version": _NUMBER},
        errors=_LOST,
    ),
)


def add_model_routes(app: FastAPI, replica: str, models: Administration) -> None:
    """Adds the calls of the model service to the application."""
    for route in _ROUTES:
        app.add_api_route(
            route.path,
            _endpoint(route, replica, models),
            methods=[route.method],
            operation_id=route.name,
            summary=route.summary,
            response_model=None,
            responses={
                200: {"description": "Done.", "model": route.answer},
                **error_responses(*route.errors),
            },
            openapi_extra=_request_schema(route),
        )


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


async def _message(route: _Route, request: Request) -> Any:  # noqa: ANN401 - any message
    """The request's fields, wherever they stand, as the message. Raises RequestInvalid."""
    if route.body is None:
        return wire.message_of(route.request, {**request.query_params, **request.path_params})
    body = await read_body(request, _MAX_BODY_BYTES)
    return wire.message_of_json(route.request, body, request.path_params)


def _request_schema(route: _Route) -> dict[str, Any]:
    """The OpenAPI of the request. The fields are read by hand, so that their errors are like all others."""
    parameters: list[dict[str, Any]] = [
        {"name": name, "in": "query", "required": False, "schema": schema}
        for name, schema in route.query.items()
    ]
    if "{customer_id}" in route.path:
        parameters.append({"name": "customer_id", "in": "path", "required": True, "schema": CUSTOMER_SCHEMA})
    schema: dict[str, Any] = {"parameters": parameters}
    if route.body is not None:
        content = {"application/json": {"schema": route.body.model_json_schema()}}
        schema["requestBody"] = {"required": True, "content": content}
    return schema
