"""Requests of the model service to domain values, and every check of them.

HTTP's requests become the messages that gRPC's are, so that both are judged the same.
"""

import base64
import binascii
import json
import re
from collections.abc import Mapping
from typing import Any, TypeVar

from google.protobuf import json_format
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from forecast_grpc.domain import CUSTOMER_ID_PATTERN
from forecast_grpc.errors import RequestInvalid
from forecast_grpc.records import Activation, CustomersQuery, VersionsQuery
from forecast_grpc.v1.model_pb2 import (
    ActivateModelVersionRequest,
    ExplainModelRequest,
    GetAccessStatisticsRequest,
    GetModelRequest,
    ListModelsRequest,
    ListModelVersionsRequest,
    ModelView,
    WarmModelsRequest,
)
from forecast_grpc.wire.requests import MAX_FIELD_LENGTH, MAX_MODEL_VERSION

M = TypeVar("M", bound=Message)

DEFAULT_PAGE_SIZE = 50
"""Entries of a page where the caller names no number."""

MAX_PAGE_SIZE = 1_000
"""Entries of a page at most."""

DEFAULT_TOP_SIZE = 20
"""Customers who ask most that are named where the caller names no number."""

MAX_WARMED = 1_000
"""Customers that one request may have warmed."""

_DIGITS = re.compile(r"[0-9]{1,19}", re.ASCII)
MAX_PREFIX_LENGTH = 128
"""Characters of the prefix of a list at most."""


def message_of(kind: type[M], fields: Mapping[str, object]) -> M:
    """The message with these fields, by their proto names, their values as in JSON. Raises RequestInvalid."""
    message = kind()
    for name, value in fields.items():
        field = kind.DESCRIPTOR.fields_by_name.get(name)
        if field is None:
            known = ", ".join(each.name for each in kind.DESCRIPTOR.fields)
            raise RequestInvalid.of(
                name[:MAX_FIELD_LENGTH], f"there is no such field; the fields are {known}"
            )
        if field.enum_type is not None and str(value) not in field.enum_type.values_by_name:
            # Protobuf's JSON would take its number too, which no document of ours speaks of.
            raise RequestInvalid.of(name, f"must be {_expected(field)}")
        try:
            json_format.ParseDict({name: value}, message)
        except json_format.ParseError as exc:
            raise RequestInvalid.of(name, f"must be {_expected(field)}") from exc
    return message


def message_of_json(kind: type[M], body: bytes, fields: Mapping[str, object]) -> M:
    """The message of a JSON object, empty for one without fields, and of fields that stand elsewhere."""
    try:
        found = json.loads(body or b"{}")
    except (ValueError, RecursionError) as exc:
        raise RequestInvalid.of("body", "must be JSON") from exc
    if not isinstance(found, dict):
        raise RequestInvalid.of("body", "must be a JSON object")
    return message_of(kind, {**found, **fields})


def model_query(request: GetModelRequest, customer_id: str) -> tuple[str, int | None]:
    """The customer, else that of the metadata, and the version. Raises RequestInvalid."""
    version = _version("version", request.version) if request.HasField("version") else None
    return request.customer_id or customer_id, version


def customers_query(request: ListModelsRequest) -> CustomersQuery:
    """What customers to list. Raises RequestInvalid."""
    if len(request.prefix) > MAX_PREFIX_LENGTH:
        raise RequestInvalid.of("prefix", f"may hold {MAX_PREFIX_LENGTH} characters at most")
    if request.view not in ModelView.values():
        raise RequestInvalid.of("view", f"must be a ModelView, got {request.view}")
    position = _position(request.page_token, request.prefix)
    if position and not CUSTOMER_ID_PATTERN.fullmatch(position):
        raise _bad_token()
    return CustomersQuery(
        prefix=request.prefix,
        start_after=position,
        size=_size(request.page_size),
        names_only=request.view == ModelView.MODEL_VIEW_BASIC,
    )


def versions_query(request: ListModelVersionsRequest, customer_id: str) -> VersionsQuery:
    """What versions to list. Raises RequestInvalid."""
    customer_id = request.customer_id or customer_id
    position = _position(request.page_token, customer_id)
    if position and not _DIGITS.fullmatch(position):
        raise _bad_token()
    return VersionsQuery(
        customer_id=customer_id, before=int(position) if position else None, size=_size(request.page_size)
    )


def warmed_customers(request: WarmModelsRequest) -> tuple[str, ...]:
    """Whom to warm, each once. Raises RequestInvalid."""
    if not 1 <= len(request.customer_ids) <= MAX_WARMED:
        got = len(request.customer_ids)
        raise RequestInvalid.of("customer_ids", f"must name 1 to {MAX_WARMED} customers, got {got}")
    return tuple(dict.fromkeys(request.customer_ids))


def activation(request: ActivateModelVersionRequest, customer_id: str) -> Activation:
    """Which version is to be active. Raises RequestInvalid."""
    expected = None
    if request.HasField("expected_version"):
        expected = _version("expected_version", request.expected_version)
    return Activation(
        customer_id=request.customer_id or customer_id,
        version=_version("version", request.version),
        expected_version=expected,
    )


def explained_customer(request: ExplainModelRequest, customer_id: str) -> str:
    """Whose model to look for: the request's customer, else that of the metadata."""
    return request.customer_id or customer_id


def top_size(request: GetAccessStatisticsRequest) -> int:
    """How many customers who ask most to name. Raises RequestInvalid."""
    return _size(request.top_size, "top_size", DEFAULT_TOP_SIZE)


def page_token(scope: str, position: str) -> str:
    """The token of the page that begins after this position; `scope` is what must not change between pages."""
    return base64.urlsafe_b64encode(f"{scope}\0{position}".encode()).decode()


def _position(token: str, scope: str) -> str:
    """The position in a token; empty for none. Raises RequestInvalid."""
    if not token:
        return ""
    try:
        text = base64.b64decode(token, altchars=b"-_", validate=True).decode()
    except (binascii.Error, ValueError) as exc:
        raise _bad_token() from exc
    found, separator, position = text.partition("\0")
    if not separator or not position or found != scope:
        raise _bad_token()
    return position


def _bad_token() -> RequestInvalid:
    return RequestInvalid.of("page_token", "must be the next_page_token of the same list")


def _size(size: int, field: str = "page_size", default: int = DEFAULT_PAGE_SIZE) -> int:
    if size < 0:
        raise RequestInvalid.of(field, f"must be from 0 to {MAX_PAGE_SIZE}, got {size}")
    return min(size or default, MAX_PAGE_SIZE)


def _version(name: str, version: int) -> int:
    if version < 1:
        raise RequestInvalid.of(name, f"must be from 1 to {MAX_MODEL_VERSION}, got {version}")
    return version


def _expected(field: Any) -> str:  # noqa: ANN401 - a FieldDescriptor, of which there are two kinds
    """What a field takes, in words."""
    if field.is_repeated:
        return "a list of texts"
    if field.enum_type is not None:
        return "one of " + ", ".join(value.name for value in field.enum_type.values)
    return "a text" if field.type == FieldDescriptor.TYPE_STRING else "a whole number"
