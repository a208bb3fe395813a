"""What covariates say of a series: a regression with autocorrelated errors, fitted before what it leaves."""

import numpy as np

from forecast_grpc.domain import FloatArray
from forecast_grpc.fit.problems import SeriesError
from forecast_grpc.fit.series import Series
from forecast_grpc.models.missing import fill_missing

_FEWEST = 5  # Observations for each covariate, and for what is left.
_RECENT_LAGS = (1, 2, 3)
_ITERATIONS = 3
_NOTHING = 1e-6  # Of a covariate's size: what is left of one that the series' own past tells.
_SMALLEST_SQUARE = 1e-9  # In squares of the series' largest change.


def known_covariates(series: Series, horizon: int) -> FloatArray | None:
    """The covariates from the first observation to the last, shape (K, n + horizon), filled; None without any.

    Beyond the history each keeps its last value: there is nothing there to compare a forecast with.
    """
    if not series.covariates:
        return None
    present = np.flatnonzero(~np.isnan(series.values))
    history = slice(present[0], present[-1] + 1)
    rows = [_filled(name, values[history]) for name, values in series.covariates.items()]
    return np.pad(np.array(rows), ((0, 0), (0, horizon)), mode="edge")


def _filled(name: str, values: FloatArray) -> FloatArray:
    try:
        return fill_missing(values)
    except ValueError as exc:
        raise SeriesError(f"the covariate {name} has no value") from exc


def fit_effects(values: FloatArray, covariates: FloatArray, season_length: int) -> FloatArray:
    """The effect of each covariate at its own step, shape (K,), for values (n,) and covariates (K, n), all finite.

    Cochrane & Orcutt 1949, Application of least squares regression to relationships containing auto-correlated
    error terms: the regression and an autoregression of what it leaves are fitted in turn, each to the series that
    the other filters. The penalty on the regression weighs as much as one observation. A covariate that never
    changes has no effect. Raises SeriesError where there are fewer than five observations for each.
    """
    count, size = covariates.shape
    if size < _FEWEST * (count + 1):
        raise SeriesError(f"{size} observations are too few for {count} covariates")
    lags = _lags(size, season_length)
    # The unit of neither matters, and products of values near the limits of floats would overflow.
    scale = float(np.abs(np.diff(values)).max()) or 1.0
    sizes = np.ptp(covariates, axis=1)
    known = covariates / np.where(sizes > 0.0, sizes, 1.0)[:, np.newaxis]
    values = values / scale
    effects = np.zeros(count)
    for _ in range(_ITERATIONS):
        left = values - effects @ known
        filters = _autoregression(left, lags)
        effects = _regression(_filtered(values, lags, filters), _filtered(known, lags, filters))
    found: FloatArray = np.where(sizes > 0.0, effects * scale / np.where(sizes > 0.0, sizes, 1.0), 0.0)
    return found


def _lags(size: int, season_length: int) -> list[int]:
    seasonal = (season_length, season_length + 1, 2 * season_length) if season_length > 1 else ()
    return sorted({lag for lag in (*_RECENT_LAGS, *seasonal) if lag <= max(size // 4, 1)})


def _autoregression(values: FloatArray, lags: list[int]) -> FloatArray:
    """The coefficients of the lags, by least squares."""
    longest = lags[-1]
    centred = values - values.mean()
    rows = np.stack([centred[longest - lag : centred.size - lag] for lag in lags])
    return _least_squares(rows, centred[longest:])


def _filtered(values: FloatArray, lags: list[int], coefficients: FloatArray) -> FloatArray:
    """What the autoregression does not tell, along the last axis."""
    longest, size = lags[-1], values.shape[-1]
    left: FloatArray = values[..., longest:].copy()
    for lag, coefficient in zip(lags, coefficients, strict=True):
        left -= coefficient * values[..., longest - lag : size - lag]
    left -= left.mean(axis=-1, keepdims=True)
    return left


def _regression(values: FloatArray, covariates: FloatArray) -> FloatArray:
    effects = _least_squares(covariates, values)
    return np.where(np.abs(covariates).max(axis=1) > _NOTHING, effects, 0.0)


def _least_squares(rows: FloatArray, values: FloatArray) -> FloatArray:
    gram = rows @ rows.T
    sizes = np.diag(gram) / values.size
    penalised = gram + np.diag(np.maximum(sizes, _SMALLEST_SQUARE))
    coefficients: FloatArray = np.linalg.solve(penalised, rows @ values)
    return coefficients
