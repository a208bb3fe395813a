"""Is a series seasonal, with which length, and what is its seasonal pattern?"""

import numpy as np

from forecast_grpc.domain import FloatArray

SEASONS_NEEDED = 3
"""Seasons below which nothing is called seasonal."""

_SCORE_90 = 1.645  # Normal score of a two-sided 90 % test.
_USUAL_LENGTHS = (4, 7, 12, 24, 48, 52, 96, 168)
_CLEAR = 0.3  # Autocorrelation below which a guess would be noise.
_AS_GOOD = 0.9  # A multiple of the season correlates about as well; the shortest of those is meant.
_SMALLEST_FACTOR = 0.01


def is_seasonal(values: FloatArray, season_length: int) -> bool:
    """Whether the autocorrelation at this lag passes the 90 % test that the M4 competition's benchmarks used.

    `values` of shape (n,), finite. The test is Bartlett's: 1.645 standard errors, given the correlations at
    the shorter lags (Makridakis, Spiliotis & Assimakopoulos 2020, The M4 competition).
    """
    if season_length == 1 or values.size < SEASONS_NEEDED * season_length:
        return False
    correlations = _autocorrelations(values, season_length)
    shorter = correlations[:-1]
    limit = _SCORE_90 * np.sqrt((1.0 + 2.0 * shorter.dot(shorter)) / values.size)
    return bool(abs(correlations[-1]) > limit)


def guess_season_length(values: FloatArray) -> int:
    """The usual length at which the differences of `values`, shape (n,), correlate most; 1 where at none."""
    changes = np.diff(values)
    lengths = [length for length in _USUAL_LENGTHS if changes.size >= SEASONS_NEEDED * length]
    if not lengths:
        return 1
    correlations = _autocorrelations(changes, lengths[-1])
    best = max(correlations[length - 1] for length in lengths)
    if best < _CLEAR:
        return 1
    return next(length for length in lengths if correlations[length - 1] >= _AS_GOOD * best)


def seasonal_pattern(values: FloatArray, season_length: int) -> tuple[FloatArray, bool]:
    """The pattern by classical decomposition, from the first value on, and whether it is multiplicative.

    `values` of shape (n,), n >= 2 * season_length. The pattern, shape (season_length,), holds deviations
    around 0, relative to the level where multiplicative: chosen where all values are positive and no factor
    is below 0.01 (Hyndman & Athanasopoulos, Forecasting: Principles and Practice, 3rd ed., section 3.4).
    """
    around, level, start = _around_level(values, season_length)
    if (values > 0.0).all():
        pattern = _means_by_place(around / level - 1.0, start, season_length)
        pattern = (1.0 + pattern) / (1.0 + pattern.mean()) - 1.0
        if pattern.min() > _SMALLEST_FACTOR - 1.0:
            return pattern, True
    pattern = _means_by_place(around - level, start, season_length)
    return pattern - pattern.mean(), False


def additive_pattern(values: FloatArray, season_length: int) -> FloatArray:
    """The additive pattern, shape (season_length,), from the first value on; [0.0] where nothing is seasonal."""
    if not is_seasonal(values, season_length):
        return np.zeros(1)
    around, level, start = _around_level(values, season_length)
    pattern = _means_by_place(around - level, start, season_length)
    pattern -= pattern.mean()
    return pattern


def _around_level(values: FloatArray, season_length: int) -> tuple[FloatArray, FloatArray, int]:
    """The values that a whole season lies around, their centred moving average, and the first one's index."""
    weights = np.full(season_length, 1.0 / season_length)
    if season_length % 2 == 0:
        weights = np.convolve(weights, [0.5, 0.5])
    level = np.convolve(values, weights, "valid")
    start = weights.size // 2
    return values[start : start + level.size], level, start


def _means_by_place(deviations: FloatArray, start: int, season_length: int) -> FloatArray:
    places = np.arange(start, start + deviations.size) % season_length
    sums = np.bincount(places, deviations, season_length)
    means: FloatArray = sums / np.bincount(places, minlength=season_length)
    return means


def _autocorrelations(values: FloatArray, longest: int) -> FloatArray:
    """Autocorrelations at the lags 1 to `longest`, shape (longest,); zeros for a constant."""
    centred = values - values.mean()
    variance = centred.dot(centred)
    # What is left of a constant after rounding is no variance.
    if variance <= values.size * (np.finfo(np.float64).eps * np.abs(values).max()) ** 2:
        return np.zeros(longest)
    products = [centred[lag:].dot(centred[:-lag]) for lag in range(1, longest + 1)]
    correlations: FloatArray = np.array(products) / variance
    return correlations
