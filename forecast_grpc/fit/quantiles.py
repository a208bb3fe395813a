"""Quantiles of rolling-origin errors, by level and horizon."""

import numpy as np

from forecast_grpc.domain import FloatArray
from forecast_grpc.models.residuals import LEVELS, SCORES, ResidualQuantiles

_ENOUGH = 100  # Errors from which eleven quantiles are read.
_FEWEST = 8  # Errors below which their quantiles say less than a normal curve of their size.


def no_quantiles(horizon: int) -> ResidualQuantiles:
    """Zeros: for a model whose errors are not known, or not wanted."""
    return ResidualQuantiles(np.zeros((len(LEVELS), horizon), np.float32))


def estimate_quantiles(errors: FloatArray) -> ResidualQuantiles:
    """The quantiles of `errors`, shape (origins, H), NaN where nothing was observed.

    Each horizon's errors are divided by their root mean square; where they are fewer than a hundred, those of
    the nearest horizons are added until there are as many; their quantiles (the eighth kind of Hyndman & Fan
    1996, Sample quantiles in statistical packages) are multiplied by that root mean square again. With hardly
    any errors, a normal curve of that size is taken.
    """
    sizes = _sizes(errors)
    scaled = errors / np.where(sizes > 0.0, sizes, 1.0)
    columns = [_pooled(scaled, step) for step in range(errors.shape[1])]
    rows = [_shape(pool) * size for pool, size in zip(columns, sizes, strict=True)]
    return ResidualQuantiles(np.stack(rows, axis=1).astype(np.float32))


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


def _shape(pool: FloatArray) -> FloatArray:
    if pool.size < _FEWEST:
        return np.array(SCORES)
    quantiles: FloatArray = np.quantile(pool, LEVELS, method="median_unbiased")
    return quantiles
