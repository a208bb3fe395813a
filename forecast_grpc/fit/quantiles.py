"""Quantiles of rolling-origin errors, by level and horizon."""

import numpy as np

from forecast_grpc.domain import FloatArray
from forecast_grpc.models.residuals import LEVELS, SCORES, ResidualQuantiles

_ENOUGH = 100  # Errors from which eleven quantiles are read.
_FEWEST = 8  # Errors below which their quantiles say less than a normal curve of their size.
_DOUBT = 8.0  # Independent errors at which their bias is believed by half.
_WIDENING = 2.0  # In variances, for one independent error.


def no_quantiles(horizon: int) -> ResidualQuantiles:
    """Zeros: for a model whose errors are not known, or not wanted."""
    return ResidualQuantiles(np.zeros((len(LEVELS), horizon), np.float32))


def estimate_quantiles(errors: FloatArray, stride: int) -> ResidualQuantiles:
    """The quantiles of `errors`, shape (origins, H), NaN where nothing was observed, from origins `stride` apart.

    Each horizon's errors are divided by their root mean square; where they are fewer than a hundred, those of
    the nearest horizons are added until there are as many; their quantiles (the eighth kind of Hyndman & Fan
    1996, Sample quantiles in statistical packages) are multiplied by that root mean square again. With hardly
    any errors, a normal curve of that size is taken.

    Forecasts whose horizons overlap err alike: of errors at h steps from s consecutive origins about n = s / h are
    independent. The fewer they are, the less their bias says of the future, and the less they have seen: the
    quantiles are averaged with those of errors of either sign, weighing n to 8, and widened by sqrt(1 + 2 / n).
    Both
    constants were measured on M3, Tourism and M4 hourly.
    """
    sizes = _sizes(errors)
    scaled = errors / np.where(sizes > 0.0, sizes, 1.0)
    shapes = np.stack([_shape(_pooled(scaled, step)) for step in range(errors.shape[1])], axis=1)
    mirrored = np.stack(
        [_shape(_both_signs(_pooled(scaled, step))) for step in range(errors.shape[1])], axis=1
    )
    independent = _independent(errors, stride)
    mixed = mirrored + (shapes - mirrored) * (independent / (independent + _DOUBT))
    median = mixed[len(LEVELS) // 2]
    widened = median + (mixed - median) * np.sqrt(1.0 + _WIDENING / independent)
    return ResidualQuantiles((widened * sizes).astype(np.float32))


def random_walk_quantiles(values: FloatArray, horizon: int) -> ResidualQuantiles:
    """For a series too short to hold anything out: normal, of the size of its changes, growing with sqrt(h)."""
    steps = np.diff(values)
    size = float(np.sqrt(np.mean(steps * steps))) if steps.size else 0.0
    growth = size * np.sqrt(np.arange(1, horizon + 1))
    return ResidualQuantiles((np.array(SCORES)[:, None] * growth).astype(np.float32))


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


def _shape(pool: FloatArray) -> FloatArray:
    if pool.size < _FEWEST:
        return np.array(SCORES)
    # As np.quantile(method="median_unbiased"), at a tenth of its cost, which is most of a fit's.
    places = np.array(LEVELS) * (pool.size + 1 / 3) - 2 / 3
    return np.interp(places, np.arange(pool.size), np.sort(pool))
