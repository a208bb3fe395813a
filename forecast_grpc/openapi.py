"""What the OpenAPI document says that FastAPI cannot see: bodies that are read by hand, headers, limits in force.

Bodies are read by hand because `curl -d` does not say that it sends JSON, and so that errors are like all others.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from forecast_grpc import wire
from forecast_grpc.domain import CacheTier, RequestLimits

Json = dict[str, Any]

_REFERENCE = "#/components/schemas/{model}"

_ERRORS = {
    400: "The request or the customer's name is invalid, or the model's format is not accepted.",
    403: "The operator has not switched this on.",
    404: "There is no such model, or not in this version.",
    409: "The active version is another one by now.",
    429: "The server has all the requests that it may queue.",
    500: "The server failed, or the model's bytes are damaged.",
    503: "The store of models does not answer, or no replica does.",
    504: "The server's time limit has passed.",
}

_OF_THE_INGRESS = {429, 500, 503, 504}
"""Errors that the ingress, before the replicas, may make too: those have neither our body nor our headers."""

_AFTER_A_WHILE = {429, 503}
"""Errors that may say when to try again."""


def request_id() -> Json:
    """The header that every operation takes."""
    description = "A name of your own for this request: it comes back as `request_id`, and stands in the log."
    return parameter("x-request-id", "header", {"type": "string"}, description)


def parameter(name: str, place: str, schema: Mapping[str, Any], description: str) -> Json:
    """A parameter of an operation; those in the path are required."""
    return {
        "name": name,
        "in": place,
        "required": place == "path",
        "description": description,
        "schema": dict(schema),
    }


def customer(name: str, place: str, description: str) -> Json:
    """The parameter that names the customer, with one of the demo store as its example."""
    named = parameter(name, place, wire.CUSTOMER_SCHEMA, description)
    return named | {"required": True, "example": "customer_123"}


def link(operation: str, name: str, expression: str) -> Json:
    """A call that can be made of an answer, with the parameter that comes from it."""
    return {"operationId": operation, "parameters": {name: expression}}


def json_body(body: type[BaseModel]) -> Json:
    """The body of a request, by reference: `complete` adds what is referred to."""
    schema = {"$ref": _REFERENCE.format(model=body.__name__)}
    return {"required": True, "content": {"application/json": {"schema": schema}}}


def answer(
    description: str, body: type[BaseModel], *, tiered: bool = False, links: Mapping[str, Any] | None = None
) -> Json:
    """The response of a success; `tiered` where a model was needed for it, and the headers say where it was."""
    response: Json = {"description": description, "model": body, "headers": _headers(required=True)}
    if tiered:
        response["headers"]["forecast-cache"] = _tier(required=True)
    return response | ({"links": dict(links)} if links else {})


def errors(*statuses: int) -> dict[int | str, Json]:
    """The responses of the errors with these HTTP statuses."""
    return {status: _error(status) for status in statuses}


def complete(app: FastAPI, bodies: Iterable[type[BaseModel]], limits: RequestLimits) -> None:
    """Adds the bodies of requests to the document of an application that has all its routes."""
    _, found = models_json_schema([(body, "validation") for body in bodies], ref_template=_REFERENCE)
    schemas: dict[str, Json] = found["$defs"]
    for (body, field), bounds in _bounds(limits).items():
        schema = schemas[body.__name__]["properties"][field]
        # Where a field may be null, the bounds belong to the other alternative.
        schema.get("anyOf", [schema])[0].update(bounds)
    app.openapi()["components"]["schemas"].update(schemas)


def _bounds(limits: RequestLimits) -> dict[tuple[type[BaseModel], str], Json]:
    return {
        (wire.ForecastBody, "sequence_data"): {"maxItems": limits.max_sequence_length},
        (wire.ForecastBody, "horizon"): {"maximum": limits.max_horizon},
        (wire.ForecastBody, "quantile_levels"): {"maxItems": limits.max_quantile_levels},
        (wire.ForecastBody, "covariates"): {"maxItems": limits.max_covariates},
        (wire.CovariateBody, "values"): {"maxItems": limits.max_covariate_values},
    }


def _error(status: int) -> Json:
    outside = status in _OF_THE_INGRESS
    response: Json = {
        "description": _ERRORS[status],
        "model": wire.ErrorBody,
        "headers": _headers(required=not outside) | {"forecast-cache": _tier(required=False)},
    }
    if status in _AFTER_A_WHILE:
        response["headers"]["retry-after"] = {
            "description": "Seconds after which to try again.",
            "schema": {"type": "integer", "minimum": 0},
        }
    if outside:
        response["description"] += " As text where the ingress says so."
        text = {"schema": {"type": "string"}}
        # FastAPI fills in the first; generated clients take it.
        response["content"] = {"application/json": {}, "text/plain": text, "text/html": text}
    return response


def _headers(*, required: bool) -> Json:
    described = {
        "request_id": "The request, as the log names it.",
        "forecast-replica": "The replica that answered.",
    }
    return {
        name: {"description": description, "required": required, "schema": {"type": "string"}}
        for name, description in described.items()
    }


def _tier(*, required: bool) -> Json:
    return {
        "description": "Where the replica had the model.",
        "required": required,
        "schema": {"type": "string", "enum": [tier.value for tier in CacheTier]},
    }
