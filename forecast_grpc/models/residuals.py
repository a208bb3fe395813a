"""Quantiles of a model's errors, by level and horizon: what turns a point forecast into a distribution.

They are measured at fit time, by rolling origin, and stored: analytic intervals can explode where a model's
assumptions fail, measured ones cannot.
"""

from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from math import sqrt
from statistics import NormalDist
from typing import Self

import numpy as np
from numpy.typing import NDArray

from forecast_grpc.domain import FloatArray, StoredArray
from forecast_grpc.models.parameters import stored
from forecast_grpc.quick import maker

LEVELS = (0.025, 0.05, 0.1, 0.2, 0.35, 0.5, 0.65, 0.8, 0.9, 0.95, 0.975)
"""The quantile levels that every artefact stores."""

NAME = "residual_quantiles"
"""The name of the stored array."""

_NORMAL = NormalDist()
SCORES = tuple(_NORMAL.inv_cdf(level) for level in LEVELS)
"""The normal scores of `LEVELS`."""

_MEDIAN = LEVELS.index(0.5)
_LAST = len(LEVELS) - 1
_HEAD = 2  # Rows of a table of knots before the first level: steps and exponents.
_MOST_KNOTS = 12
_FLOAT16 = np.dtype(np.float16).char
_WHOLE = 2_048  # Steps up to which float16 holds every one.


@dataclass(frozen=True, slots=True, eq=False)
class ResidualQuantiles:
    """Empirical quantiles of outcome minus point forecast."""

    table: NDArray[np.float32] | NDArray[np.float16]
    """The offsets, rising along the levels, in one of two forms.

    Float32, shape (len(LEVELS), H): those of each step. An estimate has no more digits.

    Float16, shape (2 + len(LEVELS), K): those of K steps, in units of 2^e. The first row holds the steps,
    ascending, the second e in each column."""

    @classmethod
    def at_knots(cls, offsets: FloatArray) -> Self:
        """Twelve steps at most of offsets of shape (len(LEVELS), H), rising along the levels, any finite size.

        They lie closer together where errors grow faster, evenly in sqrt(h). On M4 hourly intervals read from them
        are as good as those of each step, and smoother, at an eighth of the bytes.
        """
        steps = _knots(offsets.shape[1])
        chosen = offsets[:, np.array(steps) - 1]
        _, exponent = np.frexp(np.abs(chosen).max())
        head = np.array([steps, np.full(len(steps), exponent)])
        return cls(np.vstack([head, np.ldexp(chosen, -exponent)]).astype(np.float16))

    @property
    def offsets(self) -> FloatArray:
        """Those of every step, shape (len(LEVELS), H)."""
        return self.at(LEVELS, self._head()[0][-1])

    def at(self, levels: tuple[float, ...], horizon: int) -> FloatArray:
        """What to add to the point forecast, shape (len(levels), horizon); rises with the level.

        Between two stored levels it is linear in the normal score, so that a normal error is met exactly;
        beyond the outermost it scales that one's distance from the median by the ratio of the normal scores.
        Between two stored steps it is linear in sqrt(h). Beyond the last one, H, the offsets grow with
        sqrt(h / H), as a random walk's do.
        """
        low, high, share = (np.array(column) for column in zip(*map(_between, levels), strict=True))
        start, end, share = self._rows(low), self._rows(high), share[:, np.newaxis]
        rows = start + share * (end - start)
        # Rounding may carry a sum past its end, and then a higher level would lie below a lower one.
        np.minimum(rows, end, out=rows, where=share <= 1.0)
        left, right, from_left, from_right = _plan(self._head()[0], horizon)
        return rows[:, left] * from_left + rows[:, right] * from_right

    def _rows(self, levels: NDArray[np.intp]) -> FloatArray:
        """The offsets of these stored levels, by number, at the stored steps."""
        if self.table.dtype == np.float32:
            return self.table[levels].astype(np.float64)
        rows = self.table[levels + _HEAD].astype(np.float64)
        return rows * 2.0 ** self._head()[1]

    def _head(self) -> tuple[tuple[int, ...], int]:
        """The stored steps, and e."""
        if self.table.dtype == np.float32:
            return tuple(range(1, self.table.shape[1] + 1)), 0
        return _read_head(self.table[:_HEAD].tobytes())

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, StoredArray]) -> "ResidualQuantiles":
        """The quantiles under `NAME`. Raises ValueError where they are missing, misshapen or not rising."""
        table = stored(arrays, NAME, 2)
        if table.dtype.char == _FLOAT16:
            head = _HEAD
            _read_head(table[:_HEAD].tobytes())
        else:
            head, table = 0, table.astype(np.float32, copy=False)
        if len(table) != head + len(LEVELS):
            raise ValueError(f"{NAME} holds {len(table) - head} levels instead of {len(LEVELS)}")
        rises = table[head + 1 :] >= table[head:-1]
        # A tenth of the time that numpy takes to look at so few.
        if rises.tobytes().find(0) >= 0:
            raise ValueError(f"{NAME} do not rise with the level")
        return _made(table)


_made = maker(ResidualQuantiles)


@lru_cache(maxsize=256)
def _knots(horizon: int) -> tuple[int, ...]:
    """The steps of a horizon that are stored: twelve at most, the first and the last among them."""
    if horizon <= _MOST_KNOTS:
        return tuple(range(1, horizon + 1))
    roots = np.linspace(1.0, sqrt(min(horizon, _WHOLE)), _MOST_KNOTS)
    return tuple(sorted({round(root * root) for root in roots.tolist()}))


@lru_cache(maxsize=4_096)
def _read_head(rows: bytes) -> tuple[tuple[int, ...], int]:
    """The steps and e, from two rows of float16. Raises ValueError where they are none."""
    steps, exponents = np.frombuffer(rows, np.float16).reshape(_HEAD, -1).astype(np.float64).tolist()
    rising = [before < after for before, after in zip([0.0, *steps[:-1]], steps, strict=True)]
    if not all(rising) or len(set(exponents)) != 1 or not all(map(float.is_integer, steps + exponents)):
        raise ValueError(f"{NAME} are of the steps {steps} in units of 2^{exponents}")
    return tuple(map(int, steps)), int(exponents[0])


@lru_cache(maxsize=1_024)
def _plan(
    steps: tuple[int, ...], horizon: int
) -> tuple[NDArray[np.intp], NDArray[np.intp], FloatArray, FloatArray]:
    """Between which two knots each step lies, and how much of each it takes; shape (horizon,) each, read-only."""
    roots, asked = np.sqrt(steps), np.sqrt(np.arange(1, horizon + 1))
    places = np.interp(asked, roots, np.arange(len(steps)))
    left = places.astype(np.intp)
    right = np.minimum(left + 1, len(steps) - 1)
    share = places - left
    growth = np.maximum(asked / roots[-1], 1.0)
    plan = left, right, (1.0 - share) * growth, share * growth
    for column in plan:
        # They are shared by all models of this form.
        column.flags.writeable = False
    return plan


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
