"""Quantiles of rolling-origin errors, by level and horizon."""

import numpy as np
from numpy.typing import NDArray

from forecast_grpc.domain import FloatArray
from forecast_grpc.models.residuals import LEVELS, SCORES, ResidualQuantiles

_ENOUGH = 100  # Errors from which eleven quantiles are read.
_FEWEST = 8  # Errors below which their quantiles say less than a normal curve of their size.
_DOUBT = 8.0  # Independent errors at which their bias is believed by half.
_SQUARES = np.array(SCORES)[:, np.newaxis] ** 2


def no_quantiles(horizon: int) -> ResidualQuantiles:
    """Zeros: for a model whose errors are not known, or not wanted."""
    return ResidualQuantiles.at_knots(np.zeros((len(LEVELS), horizon)))


def estimate_quantiles(errors: FloatArray, stride: int) -> ResidualQuantiles:
    """The quantiles of `errors`, shape (origins, H), NaN where nothing was observed, from origins `stride` apart.

    Each horizon's errors are divided by their root mean square; where they are fewer than a hundred, those of
    the nearest horizons are added until there are as many; their quantiles (the eighth kind of Hyndman & Fan
    1996, Sample quantiles in statistical packages) are multiplied by that root mean square again. With hardly
    any errors, a normal curve of that size is taken.

    Forecasts whose horizons overlap err alike: of errors at h steps from s consecutive origins about n = s / h are
    independent. The fewer they are, the less their bias says of the future, and the less they say of their own
    size: the quantiles are averaged with those of errors of either sign, weighing n to 8 (measured on M3, Tourism
    and M4 hourly), and widened as those of Student's t with n degrees of freedom are.
    """
    sizes = _sizes(errors)
    scaled = errors / np.where(sizes > 0.0, sizes, 1.0)
    shapes, mirrored = _shapes(scaled)
    independent = _independent(errors, stride)
    mixed = mirrored + (shapes - mirrored) * (independent / (independent + _DOUBT))
    median = mixed[len(LEVELS) // 2]
    widened = median + (mixed - median) * _widening(independent)
    return ResidualQuantiles.at_knots(widened * sizes)


def random_walk_quantiles(values: FloatArray, horizon: int) -> ResidualQuantiles:
    """For a series too short to hold anything out: normal, of the size of its changes, growing with sqrt(h)."""
    steps = np.diff(values)
    size = float(np.sqrt(np.mean(steps * steps))) if steps.size else 0.0
    growth = size * np.sqrt(np.arange(1, horizon + 1))
    return ResidualQuantiles.at_knots(np.array(SCORES)[:, None] * growth)


def _sizes(errors: FloatArray) -> FloatArray:
    """The root mean square of each horizon's errors; never observed horizons grow on from the last one."""
    observed = ~np.isnan(errors)
    counts = observed.sum(axis=0)
    squares = np.where(observed, errors, 0.0) ** 2
    sizes: FloatArray = np.sqrt(squares.sum(axis=0) / np.maximum(counts, 1))
    known = np.flatnonzero(counts)
    if not known.size:
        return sizes
    steps = np.arange(sizes.size)
    nearest = np.interp(steps, known, sizes[known])
    growth = np.sqrt(np.maximum((steps + 1.0) / (known[-1] + 1.0), 1.0))
    grown: FloatArray = nearest * growth
    return grown


def _shapes(scaled: FloatArray) -> tuple[FloatArray, FloatArray]:
    """The quantiles of each horizon's errors, and of those with either sign, shape (levels, H) each."""
    counts = (~np.isnan(scaled)).sum(axis=0)
    if counts.min() >= _ENOUGH:
        # Nothing to pool: all horizons at once, in a tenth of the time.
        return _read(scaled, counts), _read(_both_signs(scaled), 2 * counts)
    pools = [_pooled(scaled, step) for step in range(scaled.shape[1])]
    mirrored = [_shape(_both_signs(pool)) for pool in pools]
    return np.stack([_shape(pool) for pool in pools], axis=1), np.stack(mirrored, axis=1)


def _read(scaled: FloatArray, counts: NDArray[np.int64]) -> FloatArray:
    """As `_shape` of each column, which holds so many numbers beside NaN."""
    # NaN is sorted to the end.
    ordered = np.sort(scaled, axis=0)
    places = np.clip(np.array(LEVELS)[:, None] * (counts + 1 / 3) - 2 / 3, 0.0, counts - 1.0)
    low = places.astype(np.int64)
    below = np.take_along_axis(ordered, low, axis=0)
    above = np.take_along_axis(ordered, np.minimum(low + 1, counts - 1), axis=0)
    read: FloatArray = below + (above - below) * (places - low)
    return read


def _pooled(scaled: FloatArray, step: int) -> FloatArray:
    for reach in range(scaled.shape[1]):
        near = scaled[:, max(step - reach, 0) : step + reach + 1]
        pool: FloatArray = near[~np.isnan(near)]
        if pool.size >= _ENOUGH:
            return pool
    return scaled[~np.isnan(scaled)]


def _both_signs(pool: FloatArray) -> FloatArray:
    return np.concatenate([pool, -pool])


def _independent(errors: FloatArray, stride: int) -> FloatArray:
    """How many errors of each horizon overlap no other, about, and at least 1."""
    steps = (~np.isnan(errors)).sum(axis=0) * stride
    counts: FloatArray = np.maximum(steps / np.arange(1, errors.shape[1] + 1), 1.0)
    return counts


def _widening(independent: FloatArray) -> FloatArray:
    """Quantiles of Student's t by those of the normal curve, shape (levels, H), for degrees of freedom (H,).

    The first terms of the series of Abramowitz & Stegun 1964, Handbook of mathematical functions, 26.7.5. Cut
    off there, it stays finite where the true quantile of one degree of freedom is of no use.
    """
    first = (_SQUARES + 1.0) / 4.0
    second = (5.0 * _SQUARES**2 + 16.0 * _SQUARES + 3.0) / 96.0
    widening: FloatArray = 1.0 + first / independent + second / independent**2
    return widening


def _shape(pool: FloatArray) -> FloatArray:
    if pool.size < _FEWEST:
        return np.array(SCORES)
    # As np.quantile(method="median_unbiased"), at a tenth of its cost, which is most of a fit's.
    places = np.array(LEVELS) * (pool.size + 1 / 3) - 2 / 3
    return np.interp(places, np.arange(pool.size), np.sort(pool))
