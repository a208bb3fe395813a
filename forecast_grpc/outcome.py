"""What a call comes to, whichever it is: an outcome, or the error that its caller is to get."""

import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

from forecast_grpc.errors import ForecastError, InternalError
from forecast_grpc.telemetry import Telemetry

T = TypeVar("T")


async def outcome_of(
    answer: Awaitable[T],
    telemetry: Telemetry,
    request_id: str,
    record: Callable[[T | ForecastError | None, float], None],
) -> T | ForecastError:
    """What `answer` gives or raises. `record` is told it, None where the caller left, and the seconds it took.

    Raises nothing but CancelledError, when the caller has gone away: an exception that goes through Ray Serve
    loses its details on the way and leaves a traceback in the log for each bad request.
    """
    started = time.perf_counter()
    outcome: T | ForecastError | None = None
    telemetry.in_flight += 1
    try:
        outcome = await answer
    except Exception as exc:  # noqa: BLE001 - see `error_of`
        outcome = error_of(exc, telemetry, request_id)
    finally:
        telemetry.in_flight -= 1
        record(outcome, time.perf_counter() - started)
    return outcome


def error_of(exc: Exception, telemetry: Telemetry, request_id: str) -> ForecastError:
    """What the caller gets for an exception: one that nobody foresaw is logged whole, and INTERNAL."""
    if isinstance(exc, ForecastError):
        return exc
    telemetry.failure(request_id, exc)
    return InternalError(request_id)
