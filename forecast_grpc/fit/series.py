"""One customer's history on its grid of equal steps."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from forecast_grpc.domain import FloatArray
from forecast_grpc.fit.frequency import Frequency, Microseconds
from forecast_grpc.fit.problems import SeriesError

NO_COVARIATES: Mapping[str, FloatArray] = MappingProxyType({})
"""For a series of which nothing else is known."""

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

    covariates: Mapping[str, FloatArray] = field(default_factory=dict)
    """What else is known at each step, by name: shape (n,) each, NaN where missing, never infinite."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Rows:
    """Rows of a table, the first and the last in time with an observation."""

    times: NDArray[np.int64]
    """Microseconds since 1970, or integer steps; shape (n,)."""

    values: FloatArray
    """Observations, shape (n,), NaN where missing."""

    covariates: Mapping[str, FloatArray]
    """What else is known, by name: shape (n,) each, NaN where missing."""


def grid_steps(
    steps: NDArray[np.int64],
    values: FloatArray,
    customer_id: str,
    frequency: str | None,
    covariates: Mapping[str, FloatArray] = NO_COVARIATES,
) -> Series:
    """The series of values at integer steps, in any order. Raises SeriesError where a step occurs twice.

    The first and the last step must have a value; in between it may be NaN where covariates are known.
    """
    rows = _in_order(_Rows(times=steps, values=values, covariates=covariates), str)
    steps = rows.times - rows.times[0]
    return _gridded(rows, steps, customer_id, frequency, str(rows.times[-1]))


def grid_times(
    times: Microseconds,
    values: FloatArray,
    customer_id: str,
    frequency: Frequency,
    covariates: Mapping[str, FloatArray] = NO_COVARIATES,
) -> Series:
    """As `grid_steps`, of values at times: each on its nearest step; those that share one are averaged.

    Raises SeriesError where a time occurs twice, or more than one in twenty lies over a quarter of a step off
    the grid, which is where most times lie.
    """
    rows = _in_order(_Rows(times=times, values=values, covariates=covariates), _rfc3339)
    times = rows.times
    steps, off = frequency.positions(times)
    if (off > _FAR_OFF).mean() > _MOST_FAR_OFF:
        raise SeriesError(
            f"times such as {_rfc3339(times[off.argmax()])} do not lie on steps of {frequency.text}"
        )
    return _gridded(rows, steps, customer_id, frequency.text, _rfc3339(times[-1]))


def _in_order(rows: _Rows, name: Callable[[np.int64], str]) -> _Rows:
    order = np.argsort(rows.times, kind="stable")
    times = rows.times[order]
    repeated = np.flatnonzero(times[1:] == times[:-1])
    if repeated.size:
        raise SeriesError(f"there are two rows for {name(times[repeated[0]])}")
    covariates = {name: values[order] for name, values in rows.covariates.items()}
    return _Rows(times=times, values=rows.values[order], covariates=covariates)


def _gridded(
    rows: _Rows, steps: NDArray[np.int64], customer_id: str, frequency: str | None, state_time: str
) -> Series:
    """The rows spread over steps 0..max. `steps` ascend."""
    length = int(steps[-1]) + 1
    if steps.size < _SPARSEST * length:
        raise SeriesError(
            f"{steps.size} observations are spread over {length} steps: is the frequency right?"
        )
    return Series(
        values=_grid(steps, rows.values, length),
        customer_id=customer_id,
        frequency=frequency,
        state_time=state_time,
        covariates={name: _grid(steps, values, length) for name, values in rows.covariates.items()},
    )


def _grid(steps: NDArray[np.int64], values: FloatArray, length: int) -> FloatArray:
    """The values at steps 0..length-1: the mean where several fall on one, NaN where none does."""
    missing = np.isnan(values)
    if missing.any():
        steps, values = steps[~missing], values[~missing]
    sums = np.bincount(steps, values, length)
    counts = np.bincount(steps, minlength=length)
    gridded = np.full(length, np.nan)
    np.divide(sums, counts, out=gridded, where=counts > 0)
    return gridded


def _rfc3339(time: np.int64) -> str:
    text = str(np.datetime64(int(time), "us"))
    return text.removesuffix(".000000") + "Z"
