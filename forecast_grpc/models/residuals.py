"""Quantiles of a model's errors, by level and horizon: what turns a point forecast into a distribution.

They are measured at fit time, by rolling origin, and stored: analytic intervals can explode where a model's
assumptions fail, measured ones cannot.
"""

from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import NormalDist
from typing import Self

import numpy as np
from numpy.typing import NDArray

from forecast_grpc.domain import FloatArray, StoredArray
from forecast_grpc.models.parameters import stored

LEVELS = (0.025, 0.05, 0.1, 0.2, 0.35, 0.5, 0.65, 0.8, 0.9, 0.95, 0.975)
"""The quantile levels that every artefact stores."""

NAME = "residual_quantiles"
"""The name of the stored array."""

_NORMAL = NormalDist()
SCORES = tuple(_NORMAL.inv_cdf(level) for level in LEVELS)
"""The normal scores of `LEVELS`."""

_MEDIAN = LEVELS.index(0.5)
_LAST = len(LEVELS) - 1


@dataclass(frozen=True, slots=True, eq=False)
class ResidualQuantiles:
    """Empirical quantiles of outcome minus point forecast."""

    offsets: NDArray[np.float32]
    """Shape (len(LEVELS), H), rising along the levels. Float32: an estimate has no more digits."""

    def at(self, levels: tuple[float, ...], horizon: int) -> FloatArray:
        """What to add to the point forecast, shape (len(levels), horizon); rises with the level.

        Between two stored levels it is linear in the normal score, so that a normal error is met exactly;
        beyond the outermost it scales that one's distance from the median by the ratio of the normal scores.
        Beyond the fitted horizon H the last step's offsets grow with sqrt(h / H), as a random walk's do.
        """
        low, high, share = (np.array(column) for column in zip(*map(_between, levels), strict=True))
        near = self.offsets[:, :horizon].astype(np.float64)
        start, end, share = near[low], near[high], share[:, np.newaxis]
        rows = start + share * (end - start)
        # Rounding may carry a sum past its end, and then a higher level would lie below a lower one.
        np.minimum(rows, end, out=rows, where=share <= 1.0)
        return self._widened(rows, horizon)

    def _widened(self, rows: FloatArray, horizon: int) -> FloatArray:
        fitted = self.offsets.shape[1]
        if horizon <= fitted:
            return rows
        growth = np.sqrt(np.arange(fitted + 1, horizon + 1) / fitted)
        return np.concatenate([rows, rows[:, -1:] * growth], axis=1)

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, StoredArray]) -> Self:
        """The quantiles under `NAME`. Raises ValueError where they are missing, misshapen or not rising."""
        offsets = stored(arrays, NAME, 2)
        if len(offsets) != len(LEVELS):
            raise ValueError(f"{NAME} holds {len(offsets)} levels instead of {len(LEVELS)}")
        if np.count_nonzero(offsets[1:] >= offsets[:-1]) < offsets[1:].size:
            raise ValueError(f"{NAME} do not rise with the level")
        return cls(offsets.astype(np.float32, copy=False))


def _between(level: float) -> tuple[int, int, float]:
    """The two stored levels from which this one is read, and how far it lies from the first to the second."""
    score = _NORMAL.inv_cdf(level)
    upper = bisect_right(SCORES, score)
    if upper == 0:
        return _MEDIAN, 0, score / SCORES[0]
    if upper > _LAST:
        return _MEDIAN, _LAST, score / SCORES[_LAST]
    low, high = SCORES[upper - 1], SCORES[upper]
    return upper - 1, upper, (score - low) / (high - low)
