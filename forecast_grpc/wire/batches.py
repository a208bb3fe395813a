"""Batches of gRPC to what the core takes, and blocks of results to what a message holds."""

from collections.abc import Iterable, Sequence
from datetime import timedelta

from forecast_grpc.domain import Answer
from forecast_grpc.errors import ForecastError, RequestInvalid
from forecast_grpc.items import Block, BulkLimits, Order, Rows
from forecast_grpc.v1 import forecast_pb2 as pb
from forecast_grpc.wire.answers import answer_to_proto
from forecast_grpc.wire.encoding import entry, rows_to_entries
from forecast_grpc.wire.message_items import MessageItems


def order_from_proto(request: pb.BatchForecastRequest, limits: BulkLimits, customer_id: str) -> Order:
    """The batch of a request; `customer_id` is for the items that name none. Raises RequestInvalid."""
    check_count(len(request.items), limits.max_batch_items)
    nbytes = _check_values(request, limits.max_batch_values)
    items = MessageItems(request.items, limits, customer_id=customer_id, nbytes=nbytes)
    return Order(items=items, limit_s=_limit_s(request) if request.HasField("time_limit") else None)


def items_from_proto(request: pb.StreamForecastRequest, limits: BulkLimits, customer_id: str) -> MessageItems:
    """The items of one message of a stream. In one that holds too much, each of them is in error."""
    items = MessageItems(request.items, limits, customer_id=customer_id, nbytes=request.ByteSize())
    try:
        check_count(len(request.items), limits.max_stream_items)
        _check_values(request, limits.max_batch_values)
    except RequestInvalid as exc:
        items.refuse(exc)
    return items


def results_to_proto(block: Block) -> Sequence[bytes]:
    """A result for each place, as the bytes of one entry of the field `results`."""
    items, outcome = block.items, block.outcome
    assert isinstance(items, MessageItems)  # noqa: S101 - what came by gRPC leaves by it
    tags = [items.tag(place) for place in block.places]
    if isinstance(outcome, Rows):
        return rows_to_entries(outcome, tags)
    if isinstance(outcome, Answer):
        return [entry(pb.ForecastResult(tag=tag, response=answer_to_proto(outcome))) for tag in tags]
    error = error_to_proto(outcome)
    return [entry(pb.ForecastResult(tag=tag, error=error)) for tag in tags]


def batch_response(entries: Iterable[bytes]) -> pb.BatchForecastResponse:
    """The message with these results."""
    return pb.BatchForecastResponse.FromString(b"".join(entries))


def stream_response(entries: Iterable[bytes]) -> pb.StreamForecastResponse:
    """The message with these results."""
    return pb.StreamForecastResponse.FromString(b"".join(entries))


def error_to_proto(error: ForecastError) -> pb.ForecastError:
    """What an item's result says of its error."""
    message = pb.ForecastError(code=error.code, reason=error.reason, message=error.message)
    if error.violations:
        message.field = error.violations[0].field
    if error.retry_after_s is not None:
        message.retry_delay.FromTimedelta(timedelta(seconds=error.retry_after_s))
    return message


def check_count(count: int, most: int) -> None:
    """Raises RequestInvalid where there are too many items."""
    if count > most:
        raise RequestInvalid.of("items", f"may hold {most} items at most, got {count}")


def check_limit_s(seconds: float) -> float:
    """A time limit. Raises RequestInvalid where it is none."""
    if not seconds > 0.0:
        raise RequestInvalid.of("time_limit", f"must be above 0, got {seconds:g} s")
    return seconds


def _check_values(request: pb.BatchForecastRequest | pb.StreamForecastRequest, most: int) -> int:
    """The bytes of the message. Raises RequestInvalid where its items hold too many values."""
    nbytes = request.ByteSize()
    # A value takes eight bytes: mostly the size alone says that there are not too many.
    if nbytes > 8 * most:
        values = sum(
            len(item.request.sequence_data) + sum(len(each.values) for each in item.request.covariates)
            for item in request.items
        )
        if values > most:
            raise RequestInvalid.of("items", f"may hold {most} values together at most, got {values}")
    return nbytes


def _limit_s(request: pb.BatchForecastRequest) -> float:
    return check_limit_s(request.time_limit.seconds + request.time_limit.nanos / 1e9)
