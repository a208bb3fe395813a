"""The fit of the Theta method: seasonal pattern, slope and smoothing parameter of one series."""

from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from forecast_grpc.domain import FloatArray
from forecast_grpc.fit.seasonality import is_seasonal, seasonal_pattern
from forecast_grpc.models import Theta
from forecast_grpc.models.residuals import ResidualQuantiles
from forecast_grpc.models.tails import coded
from forecast_grpc.models.theta import memory

if TYPE_CHECKING:
    from forecast_grpc.fit.families import FitSpec

_ALPHAS = np.linspace(0.01, 0.99, 50)
_RECENT = 2_000  # Observations that the smoothing parameter is fitted to: more do not move it.
_BLOCK = 32  # Observations that are smoothed by one product of matrices: 24 to 48 are the quickest.


def fit_theta(values: FloatArray, spec: "FitSpec", residuals: ResidualQuantiles) -> Theta:
    """The seasonal pattern where the series passes the seasonality test, then slope and smoothing parameter.

    The slope is that of least squares on the adjusted series, the smoothing parameter the one of 50 between
    0.01 and 0.99 with the smallest squared errors one step ahead.
    """
    pattern, multiplicative = np.zeros(1), False
    if is_seasonal(values, spec.season_length):
        pattern, multiplicative = seasonal_pattern(values, spec.season_length)
    repeated = np.resize(pattern, values.size)
    adjusted = values / (1.0 + repeated) if multiplicative else values - repeated
    return Theta(
        alpha=float(_ALPHAS[squared_errors(adjusted[-_RECENT:]).argmin()]),
        slope=_slope(adjusted),
        multiplicative=multiplicative,
        # The model keeps the pattern from the step after the series on.
        pattern=np.roll(pattern, -(values.size % pattern.size)),
        end=coded(values[-memory(pattern.size) :]),
        residuals=residuals,
    )


def _slope(values: FloatArray) -> float:
    times = np.arange(values.size) - 0.5 * (values.size - 1)
    return float(times.dot(values) / max(times.dot(times), 1.0))


def squared_errors(values: FloatArray) -> FloatArray:
    """The sum of squared errors one step ahead for each of the 50 smoothing parameters, shape (50,).

    `values` of shape (n,), n >= 1; the level starts at the first of them. The recursion over the values is taken
    a block at a time: within a block all errors are linear in its values and in the level before it.
    """
    errors_of, level_of, decay = _operators()
    # From zero on, so that a constant has errors of exactly zero with every parameter.
    later = values[1:] - values[0]
    blocks = np.zeros((-(-later.size // _BLOCK), _BLOCK))
    blocks.ravel()[: later.size] = later
    errors = blocks @ errors_of
    errors -= decay[:, None, :-1] * _levels(blocks @ level_of, decay[:, -1])[:, :, None]
    errors = errors.reshape(len(_ALPHAS), -1)[:, : later.size]
    sums: FloatArray = np.einsum("ij,ij->i", errors, errors)
    return sums


def _levels(gains: FloatArray, decay: FloatArray) -> FloatArray:
    """The level before each block, shape (50, blocks), from what each block adds to it, shape (blocks, 50)."""
    levels = np.zeros((len(gains), decay.size))
    for block in range(1, len(gains)):
        levels[block] = decay * levels[block - 1] + gains[block - 1]
    return levels.T


@cache
def _operators() -> tuple[FloatArray, FloatArray, FloatArray]:
    """What a block's values do to its errors, to the level after it, and how the level before it fades.

    Shapes (50, block, block), (block, 50) and (50, block + 1).
    """
    decay = (1.0 - _ALPHAS)[:, None] ** np.arange(_BLOCK + 1)
    ages = np.arange(_BLOCK)[:, None] - np.arange(_BLOCK)
    # The level before value j holds the share alpha (1 - alpha)^(j - 1 - i) of each value i before it.
    shares = np.where(ages > 0, _ALPHAS[:, None, None] * decay[:, np.maximum(ages - 1, 0)], 0.0)
    errors_of = (np.eye(_BLOCK) - shares).transpose(0, 2, 1)
    level_of = (_ALPHAS[:, None] * decay[:, _BLOCK - 1 :: -1]).T
    return np.ascontiguousarray(errors_of), np.ascontiguousarray(level_of), decay
