"""The history that comes with a model: what an empty request goes on from, and what errors are measured on."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import numpy as np

from forecast_grpc.convert.conversion import Proof
from forecast_grpc.convert.problems import ConversionError
from forecast_grpc.domain import FloatArray, Forecaster
from forecast_grpc.fit import Series
from forecast_grpc.fit.covariates import known_covariates
from forecast_grpc.fit.families import FitSpec
from forecast_grpc.fit.frequency import Frequency, guess_frequency
from forecast_grpc.fit.quantiles import random_walk_quantiles
from forecast_grpc.fit.rolling import rolling_origin
from forecast_grpc.fit.series import grid_times
from forecast_grpc.models.missing import fill_missing
from forecast_grpc.models.residuals import ResidualQuantiles

_WINDOWS = 5

Predict = Callable[[FloatArray, int], FloatArray]
"""The library's own forecast after a window: shape (n,) and a horizon in, shape (horizon,) out."""


def read_history(history: Any, frequency: str | None) -> Series:  # noqa: ANN401 - any array, list or pandas series
    """`history` as a series, its missing values filled, with its times where it has a pandas DatetimeIndex.

    Raises ConversionError where it holds no observation, an infinite one, or times that lie on no grid.
    """
    series = history if isinstance(history, Series) else _series(history, frequency)
    try:
        values = fill_missing(series.values) if series.values.size else None
    except ValueError:
        values = None
    if values is None or not np.isfinite(values).all():
        raise ConversionError("The history holds no observation, or an infinite one.")
    return replace(series, values=values)


def read_covariates(covariates: Mapping[str, Any], length: int) -> dict[str, FloatArray]:
    """The covariates of a history of that length, missing values filled. Raises ConversionError for any other."""
    return {name: _covariate(name, values, length) for name, values in covariates.items()}


def _covariate(name: str, values: Any, length: int) -> FloatArray:  # noqa: ANN401 - whatever makes an array
    try:
        known = fill_missing(np.asarray(values, np.float64))
    except (TypeError, ValueError) as exc:
        raise ConversionError(f"The covariate {name} must be a sequence of numbers.") from exc
    if known.shape != (length,) or not np.isfinite(known).all():
        raise ConversionError(
            f"The covariate {name} must hold {length} finite numbers, one for each observation of the history."
        )
    return known


def _series(history: Any, frequency: str | None) -> Series:  # noqa: ANN401
    try:
        values = np.asarray(history, np.float64)
    except (TypeError, ValueError) as exc:
        raise ConversionError("The history must be a sequence of numbers, oldest first.") from exc
    if values.ndim != 1:
        raise ConversionError(f"The history must be one series of shape (n,), not {values.shape}.")
    times = microseconds(getattr(history, "index", None))
    if times is None:
        return Series(values=values, frequency=frequency)
    step = guess_frequency(np.diff(np.sort(times))) if frequency is None else Frequency.parse(frequency)
    if step is None:
        raise ConversionError("The history's times have no usual distance: name it with `frequency`.")
    try:
        return grid_times(times, values, "", step)
    except ValueError as exc:
        raise ConversionError(f"The history cannot be read: {exc}.") from exc


def microseconds(index: Any) -> Any:  # noqa: ANN401 - pandas, which is not imported here
    """The times of a pandas DatetimeIndex, in microseconds since 1970 in UTC; None for anything else."""
    values = np.asarray(getattr(index, "values", None))
    if values.dtype.kind != "M" or not values.size:
        return None
    return values.astype("datetime64[us]").astype(np.int64)


def time_text(time: datetime | int | str) -> str:
    """`state_time` as artefacts keep it. Raises ConversionError where it is no time."""
    if isinstance(time, int):
        return str(time)
    try:
        at = datetime.fromisoformat(time) if isinstance(time, str) else time
    except ValueError as exc:
        raise ConversionError(f"`state_time` must be a time or an integer step, not {time!r}.") from exc
    at = at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
    return at.isoformat().replace("+00:00", "Z")


def need_history(history: Series | None, length: int) -> Series:
    """The history, which has that many values. Raises ConversionError where there is none, or too little."""
    if history is None or history.values.size < length:
        have = "none" if history is None else str(history.values.size)
        raise ConversionError(
            f"The model looks at {length} values: pass the end of its training series as `history`, as many"
            f" observations or more (there are {have})."
        )
    return history


def windows(values: FloatArray, length: int) -> list[FloatArray]:
    """A few windows of `length` spread over the history, the last one at its end."""
    ends = np.unique(np.linspace(length, values.size, _WINDOWS).astype(int))
    return [values[end - length : end] for end in ends]


def proofs_of(values: FloatArray, length: int, predict: Predict, horizon: int) -> tuple[Proof, ...]:
    """What the library says of a few windows of the history, and of its end as an empty request."""
    asked = [(each, each) for each in windows(values, length)]
    asked.append((values[:0], values[-length:]))
    return tuple(Proof(sequence=sequence, expected=predict(window, horizon)) for sequence, window in asked)


def measured(forecaster: Forecaster, history: Series, horizon: int, season_length: int) -> ResidualQuantiles:
    """The quantiles of the model's errors on the second half of the history; a random walk's where too short."""
    values = history.values
    if values.size < 2 * forecaster.min_length:
        return random_walk_quantiles(values, horizon)
    known = known_covariates(history, horizon)
    spec = FitSpec(horizon=horizon, season_length=season_length, covariates=known)
    errors = rolling_origin(lambda *_: forecaster, values, spec)
    return random_walk_quantiles(values, horizon) if errors is None else errors.quantiles()
