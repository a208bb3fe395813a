"""One fit for each family: a filled series and error quantiles in, a forecaster out."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from forecast_grpc.domain import FloatArray, Forecaster
from forecast_grpc.fit.autoregression import fit_autoregression
from forecast_grpc.fit.covariates import fit_effects
from forecast_grpc.fit.problems import SeriesError
from forecast_grpc.fit.ridge import fit_weights
from forecast_grpc.fit.rounding import factored, rounded_lags
from forecast_grpc.fit.seasonality import additive_pattern
from forecast_grpc.fit.smoothing import smooth
from forecast_grpc.fit.theta import fit_theta
from forecast_grpc.models import Ets, Linear, SeasonalAr, SeasonalNaive, Trend
from forecast_grpc.models.combination import Member
from forecast_grpc.models.covariates import Regression
from forecast_grpc.models.residuals import ResidualQuantiles
from forecast_grpc.models.tails import coded
from forecast_grpc.models.trend import MAX_DECIMALS

_RECENT = 2_000  # Observations that smoothing parameters are fitted to: more do not move them.
_TUTORIAL_DECIMALS = 2
_FAR = 1_000  # Steps: the longest horizon that a server accepts unless told otherwise.
_TIMES_A_LINE = 3.0


@dataclass(frozen=True, slots=True, kw_only=True)
class FitSpec:
    """What a family is fitted for."""

    horizon: int
    """Steps."""

    season_length: int
    """Steps in a season; 1 where there is none."""

    covariates: FloatArray | None = None
    """Shape (K, m), all finite, from the first step of the values to a horizon beyond their last one."""


class Fit(Protocol):
    """Fits a family."""

    def __call__(self, values: FloatArray, spec: FitSpec, residuals: ResidualQuantiles, /) -> Forecaster:
        """The model of `values`, shape (n,), n >= 1, all finite. Raises SeriesError where they are too few."""
        ...


def fit_trend(values: FloatArray, _spec: FitSpec, residuals: ResidualQuantiles) -> Trend:
    """The drift method: the slope is the mean step, (last - first) / (n - 1)."""
    steps = max(values.size - 1, 1)
    slope = float(values[-1] - values[0]) / steps
    decimals = _decimals(values)
    return Trend(slope=slope, base_level=float(values[-1]), decimals=decimals, residuals=residuals)


def _decimals(values: FloatArray) -> int:
    """The tutorial's two decimals, or as many as keep three digits of a usual change of the series."""
    changes = np.abs(np.diff(values))
    usual = float(changes.mean()) if changes.size else 0.0
    if usual == 0.0:
        usual = float(np.abs(values).max())
    if usual == 0.0:
        return _TUTORIAL_DECIMALS
    return min(max(_TUTORIAL_DECIMALS, 2 - math.floor(math.log10(usual))), MAX_DECIMALS)


def fit_seasonal_naive(values: FloatArray, spec: FitSpec, residuals: ResidualQuantiles) -> SeasonalNaive:
    """Nothing to fit: the last season."""
    if values.size < spec.season_length:
        raise SeriesError(f"{values.size} observations are less than a season of {spec.season_length}")
    return SeasonalNaive(end=coded(values[-spec.season_length :]), residuals=residuals)


def fit_linear(values: FloatArray, spec: FitSpec, residuals: ResidualQuantiles) -> Linear:
    """Ridge regression in closed form; see `forecast_grpc.fit.ridge`.

    Weights that forecast their own horizon well may still diverge when they are applied to their own forecasts
    again and again: such a model is bounded to its horizon.
    """
    if spec.covariates is not None:
        return _fit_regression(values, spec, spec.covariates[:, : values.size], residuals)
    weights, intercept = fit_weights(values, spec.horizon, spec.season_length)
    end, codes = coded(values[-weights.shape[1] :]), factored(values, spec.season_length, weights, intercept)
    if codes is None:
        whole = weights.astype(np.float32)
        model = Linear(weights=whole, intercept=intercept, end=end, residuals=residuals)
    else:
        model = Linear(weights=codes, intercept=None, end=end, residuals=residuals)
    return replace(model, max_horizon=spec.horizon) if _diverges(model, values) else model


def _fit_regression(
    values: FloatArray, spec: FitSpec, covariates: FloatArray, residuals: ResidualQuantiles
) -> Linear:
    """The effects of covariates, shape (K, n), and the linear model of what they leave."""
    effects = fit_effects(values, covariates, spec.season_length)
    model = fit_linear(values - effects @ covariates, replace(spec, covariates=None), residuals)
    lags = model.end.size
    regression = Regression(effects=effects[:, np.newaxis], tail=covariates[:, -lags:].copy())
    return replace(model, end=coded(values[-lags:]), regression=regression)


def fit_seasonal_ar(values: FloatArray, spec: FitSpec, residuals: ResidualQuantiles) -> SeasonalAr:
    """Ridge regression on few lags, in closed form; see `forecast_grpc.fit.autoregression`.

    Bounded to its horizon where it would diverge, as `fit_linear`.
    """
    lags, weights, intercept = fit_autoregression(values, spec.horizon, spec.season_length)
    codes = rounded_lags(values, lags, weights, intercept)
    model = SeasonalAr(
        lags=lags,
        weights=weights.astype(np.float32) if codes is None else codes,
        intercept=intercept if codes is None else None,
        end=coded(values[-lags.window :]),
        residuals=residuals,
    )
    return replace(model, max_horizon=spec.horizon) if _diverges(model, values) else model


def _diverges(model: Linear | SeasonalAr, values: FloatArray) -> bool:
    """Whether a far forecast leaves the range of the series many times as far as a straight line would."""
    with np.errstate(over="ignore", invalid="ignore"):
        path = model.forecast(values, _FAR)
    excess = max(values.min() - path.min(), path.max() - values.max())
    line = np.ptp(values) * (1.0 + _FAR / values.size)
    # Not finite: neither comparison holds.
    return not excess <= _TIMES_A_LINE * line


def fit_ets(values: FloatArray, spec: FitSpec, residuals: ResidualQuantiles) -> Ets:
    """The best of the forms and parameters of exponential smoothing; see `forecast_grpc.fit.smoothing`."""
    pattern = additive_pattern(values, spec.season_length)
    best = smooth(values[-_RECENT:], np.roll(pattern, -(max(values.size - _RECENT, 0) % pattern.size)))
    return Ets(
        alpha=best.alpha,
        beta=best.beta,
        gamma=best.gamma,
        phi=best.phi,
        level=best.level,
        trend=best.trend,
        pattern=best.pattern,
        end=coded(values[-max(pattern.size, 2) :]),
        residuals=residuals,
    )


FITS: Mapping[str, Callable[[FloatArray, FitSpec, ResidualQuantiles], Member]] = {
    "trend": fit_trend,
    "seasonal_naive": fit_seasonal_naive,
    "theta": fit_theta,
    "ets": fit_ets,
    "seasonal_ar": fit_seasonal_ar,
    "linear": fit_linear,
}
"""How each family is fitted, the simplest first."""
