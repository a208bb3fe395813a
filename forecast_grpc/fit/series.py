"""One customer's history on its grid of equal steps."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from forecast_grpc.domain import FloatArray
from forecast_grpc.fit.frequency import Frequency, Microseconds
from forecast_grpc.fit.problems import SeriesError

LARGEST_VALUE = 1e30
"""The largest size of an observation: with larger ones the float32 of the stored quantiles would overflow."""

_FAR_OFF = 0.25  # Steps: clocks jitter, but a time halfway between two steps belongs to neither.
_MOST_FAR_OFF = 0.05  # Share of times that may lie so far off the grid all the same.
_SPARSEST = 0.1  # Share of steps with an observation; less is a wrong frequency, or not a series.


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """One customer's history, on a grid of equal steps."""

    values: FloatArray
    """Observations, oldest first, shape (n,), NaN where a step is missing, never infinite."""

    customer_id: str = ""
    """The customer that it belongs to; for messages, not needed to fit."""

    frequency: str | None = None
    """The length of a step as an ISO-8601 duration such as `PT1H`; None for plain integer steps."""

    state_time: str | None = None
    """Time of the last observation: RFC 3339, or an integer step; None where it is not known."""


def grid_steps(
    steps: NDArray[np.int64], values: FloatArray, customer_id: str, frequency: str | None
) -> Series:
    """The series of values at integer steps, in any order. Raises SeriesError where a step occurs twice."""
    steps, values = _in_order(steps, values, str)
    gridded = _grid(steps - steps[0], values)
    return Series(values=gridded, customer_id=customer_id, frequency=frequency, state_time=str(steps[-1]))


def grid_times(times: Microseconds, values: FloatArray, customer_id: str, frequency: Frequency) -> Series:
    """The series of values at times, in any order, each on its nearest step; those that share one are averaged.

    Raises SeriesError where a time occurs twice, or more than one in twenty lies over a quarter of a step off
    the grid, which is where most times lie.
    """
    times, values = _in_order(times, values, _rfc3339)
    steps, off = frequency.positions(times)
    if (off > _FAR_OFF).mean() > _MOST_FAR_OFF:
        raise SeriesError(
            f"times such as {_rfc3339(times[off.argmax()])} do not lie on steps of {frequency.text}"
        )
    gridded = _grid(steps, values)
    state_time = _rfc3339(times[-1])
    return Series(values=gridded, customer_id=customer_id, frequency=frequency.text, state_time=state_time)


def _in_order(
    times: NDArray[np.int64], values: FloatArray, name: Callable[[np.int64], str]
) -> tuple[NDArray[np.int64], FloatArray]:
    order = np.argsort(times, kind="stable")
    times = times[order]
    repeated = np.flatnonzero(times[1:] == times[:-1])
    if repeated.size:
        raise SeriesError(f"there are two rows for {name(times[repeated[0]])}")
    return times, values[order]


def _grid(steps: NDArray[np.int64], values: FloatArray) -> FloatArray:
    """The values spread over steps 0..max, the mean where several fall on one. `steps` ascend."""
    length = int(steps[-1]) + 1
    if steps.size < _SPARSEST * length:
        raise SeriesError(
            f"{steps.size} observations are spread over {length} steps: is the frequency right?"
        )
    sums = np.bincount(steps, values, length)
    counts = np.bincount(steps, minlength=length)
    gridded = np.full(length, np.nan)
    np.divide(sums, counts, out=gridded, where=counts > 0)
    return gridded


def _rfc3339(time: np.int64) -> str:
    text = str(np.datetime64(int(time), "us"))
    return text.removesuffix(".000000") + "Z"
