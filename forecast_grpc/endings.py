"""How calls end on gRPC's own context, whichever way they came to their method."""

import asyncio
from collections.abc import AsyncIterable
from typing import Any

import grpc

from forecast_grpc import wire
from forecast_grpc.errors import ForecastError

_FINE = (None, grpc.StatusCode.OK)


async def end(context: Any) -> None:  # noqa: ANN401 - gRPC's, without a public type
    """Ends a call where a status other than OK has been set: with that, and the trailing metadata, alone.

    gRPC would send a unary answer's message before it, empty as it is, and clients' retry policies try again only
    where no answer has begun.
    """
    if (code := context.code()) not in _FINE:
        await context.abort(code, context.details() or "")


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
                _set(error, context)
            case _:
                raise


def _set(error: ForecastError, context: Any) -> None:  # noqa: ANN401
    context.set_code(GRPC_CODES[error.code])
    context.set_details(error.message)
    details = ("grpc-status-details-bin", wire.error_to_status(error))
    context.set_trailing_metadata((*context.trailing_metadata(), details))
    # It ends by itself now.
    if (task := asyncio.current_task()) is not None:
        task.uncancel()


GRPC_CODES = {code.value[0]: code for code in grpc.StatusCode}
"""gRPC's codes by their numbers, which are those of `errors.Code`."""
