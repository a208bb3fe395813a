"""Batches of HTTP to what the core takes, and blocks of results to JSON."""

import re
from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, FailFast, Field, ValidationError

from forecast_grpc.domain import Answer, ForecastQuery
from forecast_grpc.errors import ForecastError, RequestInvalid
from forecast_grpc.items import Allowance, Block, BulkLimits, Group, Order, Rows, Single
from forecast_grpc.wire.answers import AnswerBody, answer_to_json
from forecast_grpc.wire.batches import check_count, check_limit_s
from forecast_grpc.wire.failures import ErrorDetails, error_to_json
from forecast_grpc.wire.requests import (
    check_commas,
    query_from_mapping,
    shape_invalid,
    unknown_fields,
)

_SECONDS = "[0-9]{1,9}([.][0-9]{1,9})?s"
"""A Duration in JSON."""


class ItemBody(BaseModel):
    """One forecast among those that a batch asks for: `forecast.v1.ForecastItem`."""

    model_config = ConfigDict(
        # Unknown fields are refused in `_checked`: see `ForecastBody`.
        extra="allow",
        use_attribute_docstrings=True,
        json_schema_extra={"additionalProperties": False},
    )

    tag: str = ""
    """A name of your choice, which comes back with the result."""

    customer_id: str = ""
    """The customer whose model is to answer. Empty: the one of the header."""

    # Not a ForecastBody: it is parsed with its item, so that a bad one is an error of that item alone.
    request: dict[str, Any] = {}
    """The series, and how far: a `ForecastBody`. One that is not is an error of this item."""


class BatchBody(BaseModel):
    """The JSON body of a batch: `forecast.v1.BatchForecastRequest`."""

    model_config = ConfigDict(
        # Unknown fields are refused in `_checked`: see `ForecastBody`.
        extra="allow",
        use_attribute_docstrings=True,
        json_schema_extra={
            "additionalProperties": False,
            "example": {
                "items": [{"customer_id": "customer_123", "request": {"sequence_data": [100, 102, 98]}}]
            },
        },
    )

    items: Annotated[list[ItemBody], FailFast()] = []
    """What to forecast: as much as fits into a body of the size of the largest single request."""

    time_limit: (
        Annotated[str, Field(json_schema_extra={"pattern": f"^(?!0+([.]0+)?s$){_SECONDS}$"})] | None
    ) = None
    """Seconds that the server may take, such as `1.5s`; then it sends what is there, and the missing results are
    DEADLINE_EXCEEDED. Unset, or longer than the server's own limit: that limit."""


class ResultBody(BaseModel):
    """What became of one item: `response` or `error`."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    tag: str | None = None
    """The item's, where it has one."""

    response: AnswerBody | None = None
    """The forecast."""

    error: ErrorDetails | None = None
    """Why there is none: what a single request would have been answered with."""


class BatchAnswerBody(BaseModel):
    """The JSON body of the answer to a batch."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    results: list[ResultBody]
    """One for each item, in the order of the items."""


class BodyItems:
    """The items of a JSON body. Each is answered on its own: HTTP is the fallback, gRPC is for speed."""

    def __init__(self, bodies: Sequence[ItemBody], limits: BulkLimits, customer_id: str) -> None:
        """`customer_id`: the customer of those items that name none."""
        self.allowance = Allowance(limits.max_answer_values)
        self.values = 0
        self._bodies = bodies
        self._limits = limits.item
        self._customer_id = customer_id

    def __len__(self) -> int:
        """See Items."""
        return len(self._bodies)

    def tag(self, place: int) -> str:
        """The tag of an item."""
        return self._bodies[place].tag

    def read(self, start: int, stop: int) -> tuple[list[Group], list[Single]]:
        """See Items."""
        return [], [self._single(place) for place in range(start, min(stop, len(self)))]

    def _single(self, place: int) -> Single:
        body = self._bodies[place]
        query: ForecastQuery | RequestInvalid
        try:
            query = query_from_mapping(body.request, self._limits)
        except RequestInvalid as exc:
            query = exc
        return Single(customer_id=body.customer_id or self._customer_id, place=place, query=query)


def order_from_json(body: bytes, limits: BulkLimits, customer_id: str) -> Order:
    """The batch of an HTTP request; `customer_id` is for the items that name none. Raises RequestInvalid."""
    check_commas(body, limits.item)
    try:
        batch = BatchBody.model_validate_json(body)
    except ValidationError as exc:
        raise shape_invalid(exc) from exc
    _check_fields(batch)
    check_count(len(batch.items), limits.max_batch_items)
    limit_s = None if batch.time_limit is None else _limit_s(batch.time_limit)
    return Order(items=BodyItems(batch.items, limits, customer_id), limit_s=limit_s)


def results_to_json(block: Block) -> Sequence[dict[str, Any]]:
    """A result for each place: the shape of `ResultBody`, without the fields that are not set."""
    items, outcome = block.items, block.outcome
    assert isinstance(items, BodyItems)  # noqa: S101 - what came by HTTP leaves by it
    assert not isinstance(outcome, Rows)  # noqa: S101 - they are of groups
    found = _outcome_to_json(outcome)
    return [{"tag": tag, **found} if (tag := items.tag(place)) else found for place in block.places]


def batch_to_json(results: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The answer with these results."""
    return {"results": results}


def _limit_s(text: str) -> float:
    if not re.fullmatch(_SECONDS, text):
        raise RequestInvalid.of("time_limit", "must be seconds with an s behind them, such as 1.5s")
    return check_limit_s(float(text[:-1]))


def _outcome_to_json(outcome: Answer | ForecastError) -> dict[str, Any]:
    if isinstance(outcome, ForecastError):
        return error_to_json(outcome)
    return {"response": answer_to_json(outcome)}


def _check_fields(batch: BatchBody) -> None:
    """Raises RequestInvalid with fields that there are not."""
    if batch.model_extra:
        raise unknown_fields(batch.model_extra, BatchBody)
    for place, item in enumerate(batch.items):
        if item.model_extra:
            raise unknown_fields([f"items[{place}].{name}" for name in item.model_extra], ItemBody)
