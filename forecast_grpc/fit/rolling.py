"""Rolling-origin evaluation: fit on the past, forecast from every later origin as a server would, compare.

Tashman 2000, Out-of-sample tests of forecasting accuracy. A model is fitted anew at the start of each fold
and then answers from all origins in it without being refitted, because that is how it will be used: fitted
once, asked again and again with newer windows.
"""

import math
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from forecast_grpc.domain import FloatArray, Forecaster
from forecast_grpc.fit.families import Fit, FitSpec
from forecast_grpc.fit.quantiles import estimate_quantiles, no_quantiles
from forecast_grpc.models.missing import fill_missing
from forecast_grpc.models.residuals import ResidualQuantiles

FOLDS = 3
"""Refits, where the series is long enough."""

MAX_ORIGINS = 200
"""Forecasts that are made at most."""

_BAND = (0.1, 0.9)  # The levels around an 80 % interval.


@runtime_checkable
class _AtOnce(Protocol):
    """A model that forecasts from many origins at once, which takes a tenth of the time or less."""

    @property
    def look_back(self) -> int:
        """Observations at the end of a window that its forecast depends on."""
        ...

    def forecasts(self, windows: FloatArray, horizon: int) -> FloatArray:
        """The forecasts of windows, one a row, of `look_back` values: shape (len(windows), horizon)."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class RollingErrors:
    """Forecasts from many origins and what came of them; NaN where nothing was observed."""

    forecasts: FloatArray
    """Shape (origins, horizon)."""

    outcomes: FloatArray
    """Shape (origins, horizon)."""

    naive: FloatArray
    """What the seasonal naive method forecasts from the same origins, shape (origins, horizon)."""

    folds: NDArray[np.int64]
    """The fold of each origin, shape (origins,), ascending."""

    stride: int
    """Steps from one origin to the next."""

    scale: float
    """Mean absolute error of the seasonal naive method in the history before the first origin; NaN if unknown."""

    @property
    def errors(self) -> FloatArray:
        """Outcome minus forecast, shape (origins, horizon)."""
        return self.outcomes - self.forecasts

    @property
    def mae(self) -> float:
        """Mean absolute error over all steps of all forecasts; NaN where nothing was observed."""
        return _mean(np.abs(self.errors))

    def accuracy(self) -> dict[str, float]:
        """`mae`, `smape` (percent), `mase`, `relative_mae` and `coverage_80`, as far as they are defined."""
        sizes = np.abs(self.outcomes) + np.abs(self.forecasts)
        relative = np.divide(200.0 * np.abs(self.errors), sizes, out=np.zeros_like(sizes), where=sizes != 0.0)
        naive_mae = _mean(np.abs(self.outcomes - self.naive))
        found = {
            "mae": self.mae,
            "smape": _mean(relative),
            "mase": self.mae / self.scale if self.scale else math.nan,
            "relative_mae": self.mae / naive_mae if naive_mae else math.nan,
            "coverage_80": self._coverage(),
        }
        return {name: value for name, value in found.items() if math.isfinite(value)}

    def quantiles(self) -> ResidualQuantiles:
        """The quantiles of the errors."""
        return estimate_quantiles(self.errors, self.stride)

    def _coverage(self) -> float:
        """Share of outcomes within the 80 % interval, each fold judged by the errors of the others."""
        hits = [self._hits(fold) for fold in np.unique(self.folds)]
        return _mean(np.concatenate(hits)) if len(hits) > 1 else math.nan

    def _hits(self, fold: np.int64) -> FloatArray:
        errors, own = self.errors, self.folds == fold
        low, high = estimate_quantiles(errors[~own], self.stride).at(_BAND, errors.shape[1])
        inside = (errors[own] >= low) & (errors[own] <= high)
        return np.where(np.isnan(errors[own]), np.nan, inside)


def rolling_origin(fit: Fit, values: FloatArray, spec: FitSpec) -> RollingErrors | None:
    """The errors of a family on `values`, shape (n,), NaN where missing; None where none can be held out.

    Raises SeriesError where the part before the first origin is too short to fit.
    """
    origins = _origins(values.size, spec.season_length)
    if not origins.size or np.isnan(values[: origins[0]]).all():
        return None
    folds = np.arange(origins.size) * FOLDS // origins.size
    forecasts = np.empty((origins.size, spec.horizon))
    for fold in np.unique(folds):
        own = origins[folds == fold]
        model = fit(fill_missing(values[: own[0]]), spec, no_quantiles(spec.horizon))
        forecasts[folds == fold] = _forecasts(model, values, own, spec)
    outcomes = _outcomes(values, origins, spec.horizon)
    return RollingErrors(
        forecasts=forecasts,
        outcomes=outcomes,
        naive=_naive(values, origins, spec),
        folds=folds,
        stride=int(origins[1] - origins[0]) if origins.size > 1 else 1,
        scale=_scale(values[: origins[0]], spec.season_length),
    )


def _forecasts(
    model: Forecaster, values: FloatArray, origins: NDArray[np.int64], spec: FitSpec
) -> FloatArray:
    """The forecasts from each origin, shape (len(origins), horizon), of a model fitted up to the first of them."""
    horizon, tail = spec.horizon, model.covariate_tail
    if tail is None and isinstance(model, _AtOnce) and model.look_back <= origins[0]:
        return model.forecasts(_windows(values, origins, model.look_back), horizon)
    position = 1 - int(origins[0])
    forecasts = []
    for origin in origins:
        known = None
        if tail is not None and spec.covariates is not None:
            known = spec.covariates[:, origin - tail.shape[1] : origin + horizon]
        forecasts.append(model.forecast(fill_missing(values[:origin]), horizon, position, known))
    return np.array(forecasts)


def _naive(values: FloatArray, origins: NDArray[np.int64], spec: FitSpec) -> FloatArray:
    """The last season again and again; the last value where there is not yet a season."""
    length = spec.season_length if spec.season_length <= origins[0] else 1
    return _windows(values, origins, length)[:, np.arange(spec.horizon) % length]


def _windows(values: FloatArray, origins: NDArray[np.int64], length: int) -> FloatArray:
    """The last `length` values before each origin, one a row, filled as `fill_missing` fills all before it."""
    last = np.maximum.accumulate(np.where(np.isnan(values), 0, np.arange(values.size)))
    # A gap that is open at an origin is filled with the last value before it: the next one is not known yet.
    places = np.minimum(origins[:, None] + np.arange(-length, 0), last[origins - 1][:, None])
    windows: FloatArray = fill_missing(values)[places]
    return windows


def _origins(length: int, season_length: int) -> NDArray[np.int64]:
    """The numbers of observations after which to forecast, ascending: all in the second half, or evenly fewer.

    The last ones have less than a horizon after them. What they add is worth more on short series than it takes
    from long horizons: measured, the intervals come nearer to their levels.
    """
    first = max(length // 2, 1)
    stride = max(-(-(length - first) // MAX_ORIGINS), 1)
    # In step with the season, all origins would lie at few places in it.
    while math.gcd(stride, season_length) > 1:
        stride += 1
    return np.arange(first, length, stride)


def _outcomes(values: FloatArray, origins: NDArray[np.int64], horizon: int) -> FloatArray:
    padded = np.concatenate([values, np.full(horizon, np.nan)])
    outcomes: FloatArray = padded[origins[:, None] + np.arange(horizon)]
    return outcomes


def _scale(values: FloatArray, season_length: int) -> float:
    """The scale of the MASE (Hyndman & Koehler 2006, Another look at measures of forecast accuracy)."""
    return _mean(np.abs(values[season_length:] - values[:-season_length]))


def _mean(values: FloatArray) -> float:
    present = values[~np.isnan(values)]
    return float(present.mean()) if present.size else math.nan
