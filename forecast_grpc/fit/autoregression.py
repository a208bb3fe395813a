"""The weights of the seasonal autoregression: ridge regression in closed form, one for each horizon.

Rows are windows of the series with their last value taken off, targets the horizons after them with the same
value taken off. Each horizon has few lags of its own (`forecast_grpc.models.seasonal_ar.places`), so that a
short history is enough to estimate them. Ridge shrinks to a prior guess (Hoerl & Kennard 1970, Ridge
regression, section 6): the naive method, a seasonal one, or the mean of the past seasons. Which prior and
which strength are best is measured on the last rows; the mean of the best few is again one such model.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from forecast_grpc.domain import FloatArray
from forecast_grpc.fit.problems import SeriesError
from forecast_grpc.fit.ridge import rows_of
from forecast_grpc.models.lags import Lags, places

_STRENGTHS = (0.00001, 0.0001, 0.001, 0.01, 0.1, 1.0, 10.0, 100.0)
_CAUTIOUS = 100.0  # The strength where there are too few rows to choose one: the prior, nearly.
_BEST = 5  # Settings that are averaged at most,
_AS_GOOD = 1.2  # with at most this multiple of the best one's error.
_LARGEST_HOLDOUT = 168
_SMALLEST_SQUARE = 1e-9  # In squares of the largest change of the series.
_FEWEST_ROWS = 8  # To choose a setting by.
_FEWEST_SEASONS, _MOST_SEASONS = 2, 7  # 7 days of hours make a week.
_RECENT = 6
_PLAIN = 16  # Values that are looked at where there is no season.
_LONGEST = 200  # A request has to bring as many values.


@dataclass(frozen=True, slots=True)
class Rows:
    """Windows and what followed them."""

    inputs: FloatArray
    """Shape (n, L)."""

    targets: FloatArray
    """Shape (n, H)."""

    @classmethod
    def of(cls, values: FloatArray, window: int, horizon: int) -> "Rows":
        """All windows of `values` that a whole horizon follows."""
        return cls(*rows_of(values, window, horizon))

    def solutions(self, index: NDArray[np.intp], priors: FloatArray) -> FloatArray:
        """The weights for each strength and prior, shape (H, K, strengths * p), given priors (H, K, p)."""
        centred = self.inputs - self.inputs.mean(axis=0)
        gram = (centred.T @ centred)[index[:, :, np.newaxis], index[:, np.newaxis, :]]
        cross = np.take_along_axis((self.targets - self.targets.mean(axis=0)).T @ centred, index, axis=1)
        left = cross[:, :, np.newaxis] - gram @ priors
        # Relative to the inputs, so that one list of strengths fits every series; not to the centred ones, of
        # which a straight line leaves nothing but rounding, and not to next to nothing.
        size = max(float((self.inputs * self.inputs).sum(axis=0).mean()), _SMALLEST_SQUARE)
        unit = size * np.eye(index.shape[1])
        solved = [np.linalg.solve(gram + strength * unit, left) + priors for strength in _STRENGTHS]
        return np.concatenate(solved, axis=2)

    def intercepts(self, index: NDArray[np.intp], weights: FloatArray) -> FloatArray:
        """Those of least squares for weights of shape (H, K, s), shape (H, s)."""
        means = self.inputs.mean(axis=0)[index]
        fitted: FloatArray = self.targets.mean(axis=0)[:, np.newaxis] - np.einsum(
            "hks,hk->hs", weights, means
        )
        return fitted


def fit_autoregression(
    values: FloatArray, horizon: int, season_length: int
) -> tuple[Lags, FloatArray, FloatArray]:
    """Lags, weights (horizon, K) and intercept (horizon,) for `values`, shape (n,), all finite.

    Raises SeriesError where the series is too short for a window of two seasons and as many targets, or the
    season too long.
    """
    if _FEWEST_SEASONS * season_length > _LONGEST:
        raise SeriesError(f"a season of {season_length} steps is too long for the family seasonal_ar")
    lags = _lags(values.size - horizon, season_length)
    if lags is None:
        raise SeriesError(
            f"{values.size} observations are too few for the family seasonal_ar at horizon {horizon}"
        )
    # Weights do not depend on the unit; products of values near the limits of floats would.
    scale = float(np.abs(np.diff(values)).max()) or 1.0
    rows = Rows.of(values / scale, lags.window, horizon)
    index, priors = places(lags, horizon), seasonal_priors(lags, horizon)
    chosen = _chosen(rows, index, priors)
    weights = rows.solutions(index, priors)[:, :, chosen].mean(axis=2)
    return lags, weights, rows.intercepts(index, weights[:, :, np.newaxis])[:, 0] * scale


def _lags(history: int, season_length: int) -> Lags | None:
    """The lags that `history` observations before the targets are enough for; None where for none."""
    if season_length == 1:
        window = min(_PLAIN, history // 3)
        return Lags(window=window, season_length=1, recent=window - 1) if window > 1 else None
    seasons = min(_MOST_SEASONS, min(history // 2, _LONGEST) // season_length)
    if seasons < _FEWEST_SEASONS:
        return None
    recent = min(_RECENT, season_length - 1)
    return Lags(window=seasons * season_length, season_length=season_length, recent=recent)


def seasonal_priors(lags: Lags, horizon: int) -> FloatArray:
    """Weights to shrink to, shape (horizon, K, p): those of methods that need no fit, the naive one first."""
    seasons, target = lags.seasons, lags.recent + lags.seasons - 1
    priors = [np.zeros((horizon, lags.count))]
    if seasons:
        naive, mean, change = (np.zeros((horizon, lags.count)) for _ in range(3))
        naive[:, target] = 1.0
        mean[:, target:] = 1.0 / seasons
        # What came as many steps after the origin's place in past seasons, on average.
        change[:, target:-1] = 1.0 / (seasons - 1)
        change[:, lags.recent : target] = -1.0 / (seasons - 1)
        priors += [naive, mean, change]
    if seasons == _MOST_SEASONS:
        week, steps = np.zeros((horizon, lags.count)), np.arange(horizon)
        week[steps, target + seasons - 1 - steps // lags.season_length % seasons] = 1.0
        priors.append(week)
    return np.stack(priors, axis=2)


def _chosen(rows: Rows, index: NDArray[np.intp], priors: FloatArray) -> NDArray[np.intp]:
    """The best settings by absolute error on the last rows, given the rows whose targets end before them."""
    count, horizon = rows.targets.shape
    held_out = min(count // 3, _LARGEST_HOLDOUT)
    known = count - held_out - horizon + 1
    if known < _FEWEST_ROWS or not held_out:
        # The last prior, strongly.
        return np.array([(_STRENGTHS.index(_CAUTIOUS) + 1) * priors.shape[2] - 1])
    past = Rows(rows.inputs[:known], rows.targets[:known])
    weights = past.solutions(index, priors)
    lagged = rows.inputs[-held_out:][:, index].transpose(1, 0, 2)
    forecasts = lagged @ weights + past.intercepts(index, weights)[:, np.newaxis, :]
    errors = np.abs(forecasts - rows.targets[-held_out:].T[:, :, np.newaxis]).mean(axis=(0, 1))
    ranked = np.argsort(errors, kind="stable")[:_BEST]
    best: NDArray[np.intp] = ranked[errors[ranked] <= _AS_GOOD * errors[ranked[0]]]
    return best
