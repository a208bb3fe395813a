"""How calls end on gRPC's own context, whichever way they came to their method."""

import asyncio
from collections.abc import AsyncIterable, Iterable
from typing import Any

import grpc

from forecast_grpc import wire
from forecast_grpc.errors import ForecastError

_FINE = (None, grpc.StatusCode.OK)
_CODES = {
    code.value[0]: code for code in grpc.StatusCode
}  # By their numbers, which are those of `errors.Code`.


def failed(context: Any) -> bool:  # noqa: ANN401 - gRPC's, without a public type
    """Whether a status other than OK has been set, so that the call has to be brought to its `end`."""
    return context.code() not in _FINE


async def end(context: Any) -> None:  # noqa: ANN401
    """Ends a call that has failed with its status and the trailing metadata alone.

    gRPC would send a unary answer's message before them, empty as it is, and clients' retry policies try again
    only where no answer has begun.
    """
    await context.abort(context.code(), context.details() or "")


def fail(error: ForecastError, context: Any, trailing: Iterable[tuple[str, Any]]) -> None:  # noqa: ANN401
    """Sets an error's status, with its details behind this trailing metadata. The context may be Ray's too."""
    context.set_code(_CODES[error.code])
    context.set_details(error.message)
    told = [*trailing, ("grpc-status-details-bin", wire.error_to_status(error))]
    if error.retry_after_s is not None:
        # For retry policies, which read no details: not before this time.
        told.append(("grpc-retry-pushback-ms", f"{1e3 * error.retry_after_s:.0f}"))
    context.set_trailing_metadata(told)


async def write(answers: AsyncIterable[Any], context: Any) -> None:  # noqa: ANN401
    """Sends the messages of a stream, each when there is room for it.

    Where the task is cancelled with an error meanwhile, as `bulk.stream` does, that error's status is set. `end`
    has to follow, since the end of a task is not that of its call; but not before all that others wait for is
    given back: gRPC sends the status when its caller has taken what was sent before, and that may be never.
    """
    try:
        async for answer in answers:
            await context.write(answer)
    except asyncio.CancelledError as exc:
        match exc.args:
            case (ForecastError() as error,):
                fail(error, context, context.trailing_metadata())
            case _:
                raise
        # It ends by itself now.
        if (task := asyncio.current_task()) is not None:
            task.uncancel()
