"""A direct regression over a window in few bytes: some lags of each step, some directions that all steps share."""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from forecast_grpc.domain import FloatArray, StoredArray
from forecast_grpc.models.lags import Lags, known_lags, places
from forecast_grpc.models.many import products
from forecast_grpc.models.parameters import scalars, stored, vector
from forecast_grpc.quick import maker

_CODES, _UNIT, _LAGS = "weights", "weights_unit", "lags"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Factored:
    """What H steps take from a window x of L values, by small integers.

        intercept + sum over k of lagged[:, k] * x[places[:, k]] + along @ (directions @ x)

    Intercept, `lagged` and `along` are columns of codes, each times its unit.
    """

    lags: Lags
    """Which of the L values each step has weights of its own for: K of them."""

    codes: NDArray[np.int8]
    """Shape (H, 1 + K + r): those of the intercept, of the K lags, of the r directions."""

    unit: FloatArray
    """What a code of each column counts, shape (1 + K + r,)."""

    directions: NDArray[np.int8] | None = None
    """Codes of shape (r, L); None where r = 0."""

    @property
    def horizon(self) -> int:
        """H."""
        return int(self.codes.shape[-2])

    @property
    def form(self) -> Hashable:
        """What regressions have in common that `stacked_weights` takes together."""
        return self.lags, self.codes.shape

    def of(self, windows: FloatArray) -> FloatArray:
        """From windows of shape (..., L) to shape (..., H), in float64."""
        first = 1 + self.lags.count
        lagged = windows[..., places(self.lags, self.horizon)] * self.unit[..., np.newaxis, 1:first]
        sums: FloatArray = (self.codes[..., 1:first] * lagged).sum(axis=-1)
        sums += self.codes[..., 0] * self.unit[..., :1]
        if self.directions is not None:
            along = products(self.directions, windows) * self.unit[..., first:]
            sums += products(self.codes[..., first:], along)
        return sums

    def arrays(self) -> dict[str, StoredArray]:
        """`weights` (those of the directions, then the others), `weights_unit`, `lags` (season length, recent)."""
        lags = np.array([self.lags.season_length, self.lags.recent], np.float64)
        codes = self.codes.ravel()
        if self.directions is not None:
            codes = np.concatenate([self.directions.ravel(), codes])
        return {_CODES: codes, _UNIT: self.unit, _LAGS: lags}

    @staticmethod
    def among(arrays: Mapping[str, StoredArray]) -> bool:
        """Whether these arrays hold one: weights of a byte each."""
        weights = arrays.get(_CODES)
        return weights is not None and weights.dtype == np.int8

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, StoredArray], window: int) -> "Factored":
        """The regression over a window. Raises ValueError where an array is missing or does not fit the others."""
        codes, unit, directions = stored(arrays, _CODES, 1), vector(arrays, _UNIT), None
        columns = unit.size
        lags, taken = _known_form(window, *scalars(arrays, _LAGS, 2), codes.size, columns)
        if taken:
            directions, codes = codes[:taken].reshape(-1, window), codes[taken:]
        return _made(lags=lags, codes=codes.reshape(-1, columns), unit=unit, directions=directions)


_made = maker(Factored)


@lru_cache(maxsize=256)
def _known_form(
    window: int, season_length: float, recent: float, codes: int, columns: int
) -> tuple[Lags, int]:
    """The lags, and how many of the codes are of directions; remembered, as `known_lags`.

    Raises ValueError where the numbers do not fit each other.
    """
    lags = known_lags(window, season_length, recent)
    rank = columns - lags.count - 1
    taken = rank * window
    if rank < 0 or codes <= taken or (codes - taken) % columns:
        raise ValueError(f"{codes} {_CODES} and {columns} units do not fit the {_LAGS} {lags}")
    return lags, taken


class _Regression(Protocol):
    @property
    def intercept(self) -> FloatArray | None: ...


def stacked_weights(weights: Sequence[Any]) -> Any:  # noqa: ANN401 - of the same type
    """The weights of many models of one form as those of one whose arrays have the models as their first axis."""
    first = weights[0]
    if not isinstance(first, Factored):
        return np.array(weights)
    directions = None
    if first.directions is not None:
        directions = np.array([each.directions for each in weights])
    codes, unit = np.array([each.codes for each in weights]), np.array([each.unit for each in weights])
    return replace(first, codes=codes, unit=unit, directions=directions)


def stacked_intercepts(models: Sequence[_Regression]) -> FloatArray | None:
    """The intercepts of many models, shape (len(models), H); None where they are among the factored weights."""
    if models[0].intercept is None:
        return None
    return np.array([model.intercept for model in models])
