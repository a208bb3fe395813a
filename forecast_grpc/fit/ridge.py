"""The weights of the linear family: direct multi-horizon ridge regression, in closed form.

Rows are windows of the series with their last value taken off, targets the horizons after them with the same
value taken off. Ridge does not shrink to zero alone, which forecasts the last value, but, as a candidate, to
the weights of the seasonal naive method (Hoerl & Kennard 1970, Ridge regression; shrinking to a prior guess
is their section 6). Which window, prior and strength are best is measured on the last rows; the mean of the
best few settings is again one linear model.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby

import numpy as np

from forecast_grpc.domain import FloatArray
from forecast_grpc.fit.problems import SeriesError

_STRENGTHS = (0.00001, 0.0001, 0.001, 0.01, 0.1, 1.0, 10.0, 100.0)
_CAUTIOUS = 100.0  # The strength where there are too few rows to choose one: the prior, nearly.
_BEST = 3  # Settings that are averaged at most,
_AS_GOOD = 1.2  # with at most this multiple of the best one's error.
_LARGEST_HOLDOUT = 72
_SMALLEST_SQUARE = 1e-9  # In squares of the largest change of the series.
_FEWEST_ROWS = 8  # To choose a setting by.
_SEASONS = (2, 4, 7)  # Windows, in seasons; 7 days of hours make a week.
_STEPS = (4, 8, 16)  # Windows where there is no season.
_LONGEST = 400  # Time grows with its cube, an artefact's bytes with it.


@dataclass(frozen=True, slots=True)
class _Moments:
    """What a ridge regression needs to know of its rows, for the longest window."""

    inputs: FloatArray
    """Mean of the inputs, shape (L,)."""

    targets: FloatArray
    """Mean of the targets, shape (H,)."""

    squares: FloatArray
    """Sum of the squared inputs, not centred, shape (L,)."""

    gram: FloatArray
    """Products of the centred inputs, shape (L, L)."""

    cross: FloatArray
    """Products of the centred inputs and targets, shape (L, H)."""

    @classmethod
    def of(cls, inputs: FloatArray, targets: FloatArray) -> "_Moments":
        mean_in, mean_out = inputs.mean(axis=0), targets.mean(axis=0)
        centred = inputs - mean_in
        squares = (inputs * inputs).sum(axis=0)
        return cls(mean_in, mean_out, squares, centred.T @ centred, centred.T @ (targets - mean_out))


@dataclass(frozen=True, slots=True)
class _Setting:
    """A candidate."""

    window: int
    strength: float
    prior: int
    """Season of the seasonal naive weights that it shrinks to; 0 for zeros."""


def fit_weights(values: FloatArray, horizon: int, season_length: int) -> tuple[FloatArray, FloatArray]:
    """Weights (horizon, L) and intercept (horizon,) for `values`, shape (n,), all finite.

    Raises SeriesError where the series is too short for one window and two targets, or the season too long.
    """
    if season_length >= _LONGEST:
        raise SeriesError(f"a season of {season_length} steps is too long for the family linear")
    windows = _windows(values.size - horizon, season_length)
    if not windows:
        raise SeriesError(
            f"{values.size} observations are too few for the family linear at horizon {horizon}"
        )
    # Weights do not depend on the unit; products of values near the limits of floats would.
    scale = float(np.abs(np.diff(values)).max()) or 1.0
    inputs, targets = rows_of(values / scale, windows[-1], horizon)
    chosen = _choose(inputs, targets, list(_settings(windows, season_length)))
    moments = _Moments.of(inputs, targets)
    widest = max(setting.window for setting in chosen)
    models = [_solve(moments, setting, widest) for setting in chosen]
    weights, intercept = (np.mean(parts, axis=0) for parts in zip(*models, strict=True))
    return weights, intercept * scale


def _windows(history: int, season_length: int) -> tuple[int, ...]:
    """Window lengths to try on `history` observations before the targets, ascending."""
    lengths = _STEPS if season_length == 1 else tuple(season_length * count for count in _SEASONS)
    fitting = tuple(length for length in lengths if length <= min(history // 2, _LONGEST))
    if fitting:
        return fitting
    shortest = season_length + 1
    return (shortest,) if shortest < history and shortest <= _LONGEST else ()


def _settings(windows: tuple[int, ...], season_length: int) -> Iterator[_Setting]:
    for window in windows:
        for prior in (0, season_length, 7 * season_length):
            if prior <= window and (season_length > 1 or not prior):
                yield from (_Setting(window, strength, prior) for strength in _STRENGTHS)


def rows_of(values: FloatArray, window: int, horizon: int) -> tuple[FloatArray, FloatArray]:
    """Windows (n, window) of `values` and what followed (n, horizon), each less its window's last value."""
    rows = np.lib.stride_tricks.sliding_window_view(values, window + horizon)
    last = rows[:, window - 1 : window]
    return rows[:, :window] - last, rows[:, window:] - last


def _choose(inputs: FloatArray, targets: FloatArray, settings: list[_Setting]) -> list[_Setting]:
    """The best settings by absolute error on the last rows, given the rows whose targets end before them."""
    rows, horizon = targets.shape
    held_out = min(rows // 3, _LARGEST_HOLDOUT)
    known = rows - held_out - horizon + 1
    if known < _FEWEST_ROWS or not held_out:
        return [_cautious(settings)]
    moments = _Moments.of(inputs[:known], targets[:known])
    errors = list(_held_out_errors(moments, inputs[-held_out:], targets[-held_out:], settings))
    limit = _AS_GOOD * min(errors)
    ranked = np.argsort(errors, kind="stable")[:_BEST]
    return [settings[index] for index in ranked if errors[index] <= limit]


def _held_out_errors(
    moments: _Moments, inputs: FloatArray, targets: FloatArray, settings: list[_Setting]
) -> Iterator[float]:
    """The mean absolute error of each setting on held-out rows.

    In the basis of the principal components of a window all strengths cost one decomposition, and each of
    them one small product (Hastie, Tibshirani & Friedman 2009, The elements of statistical learning, section
    3.4.1).
    """
    for window, same_window in groupby(settings, key=lambda setting: setting.window):
        sizes, components = np.linalg.eigh(moments.gram[-window:, -window:])
        cross = components.T @ moments.cross[-window:]
        centred = inputs[:, -window:] - moments.inputs[-window:]
        rotated = centred @ components
        for prior, same_prior in groupby(same_window, key=lambda setting: setting.prior):
            weights = _seasonal_naive_weights(targets.shape[1], window, prior)
            left = targets - moments.targets - centred @ weights.T
            change = cross - sizes[:, np.newaxis] * (components.T @ weights.T)
            for setting in same_prior:
                shrunk = change / (sizes + _penalty(moments, setting))[:, np.newaxis]
                yield float(np.abs(rotated @ shrunk - left).mean())


def _cautious(settings: list[_Setting]) -> _Setting:
    """The shortest window, strongly shrunk to the seasonal naive method."""
    window = settings[0].window
    return _Setting(window, _CAUTIOUS, max(one.prior for one in settings if one.window == window))


def _penalty(moments: _Moments, setting: _Setting) -> float:
    # Relative to the inputs, so that one list of strengths fits every series; not to the centred ones, of which
    # a straight line leaves nothing but rounding, and not to next to nothing.
    return setting.strength * max(float(moments.squares[-setting.window :].mean()), _SMALLEST_SQUARE)


def _solve(moments: _Moments, setting: _Setting, width: int) -> tuple[FloatArray, FloatArray]:
    """Weights (H, width) and intercept (H,); the weights before the setting's window are zero."""
    window = setting.window
    gram, cross = moments.gram[-window:, -window:], moments.cross[-window:]
    horizon = cross.shape[1]
    prior = _seasonal_naive_weights(horizon, window, setting.prior)
    penalised = gram + _penalty(moments, setting) * np.eye(window)
    change = np.linalg.solve(penalised, cross - gram @ prior.T)
    weights = prior + change.T
    intercept = moments.targets - weights @ moments.inputs[-window:]
    return np.pad(weights, ((0, 0), (width - window, 0))), intercept


def _seasonal_naive_weights(horizon: int, window: int, season_length: int) -> FloatArray:
    weights = np.zeros((horizon, window))
    if season_length:
        steps = np.arange(horizon)
        weights[steps, window - season_length + steps % season_length] = 1.0
    return weights
