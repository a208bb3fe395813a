"""Direct multi-horizon autoregression on the few lags that matter where there is a season."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from forecast_grpc.domain import FloatArray, StoredArray
from forecast_grpc.models.parameters import bounded_horizon, horizon_bound, narrow, scalars, stored, vector
from forecast_grpc.models.residuals import NAME, ResidualQuantiles


@dataclass(frozen=True, slots=True, kw_only=True)
class Lags:
    """Which values of a window a seasonal autoregression looks at."""

    window: int
    """L, the values that the lags are chosen from: whole seasons, or any number where there is no season."""

    season_length: int
    """Steps in a season; 1 where there is none."""

    recent: int
    """Values before the last one."""

    @property
    def seasons(self) -> int:
        """Seasons in the window; 0 where there is no season."""
        return self.window // self.season_length if self.season_length > 1 else 0

    @property
    def count(self) -> int:
        """K, the lags of a step: `recent`, the origin's place in past seasons, the target's in each season."""
        return self.recent + max(2 * self.seasons - 1, 0)


@lru_cache(maxsize=64)
def places(lags: Lags, horizon: int) -> NDArray[np.intp]:
    """Where in the window the lags of each step lie, shape (horizon, K), read-only.

    In this order: the values before the last one, those at the origin's place in the seasons before, those at
    the target's place in each season; always the newest first.
    """
    end, season_length = lags.window, lags.season_length
    past = season_length * np.arange(1, lags.seasons + 1)
    fixed = np.concatenate([end - 2 - np.arange(lags.recent), end - 1 - past[:-1]])
    targets = end - past + (np.arange(horizon) % season_length)[:, np.newaxis]
    index = np.concatenate([np.broadcast_to(fixed, (horizon, fixed.size)), targets], axis=1).astype(np.intp)
    # It is shared by all models of this form.
    index.flags.writeable = False
    return index


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SeasonalAr:
    """`weights[h] . (window[places[h]] - window[-1]) + intercept[h] + window[-1]` for each step h.

    One regression for each horizon ("direct" in Taieb, Bontempi, Atiya & Sorjamaa 2012, A review and comparison
    of strategies for multi-step ahead time series forecasting), each on lags of its own: the last few values,
    those at the origin's place in past seasons, and those at the target's. The last value is taken off, so that
    the forecast follows the level of the window. Horizons beyond H are reached block by block, each on the
    forecasts before it.
    """

    family: ClassVar[str] = "seasonal_ar"
    covariate_tail: ClassVar[FloatArray | None] = None

    lags: Lags
    """Which values it looks at."""

    weights: NDArray[np.float32]
    """Shape (H, K), in the order of `places`. Float32: the rounding is far below the error of estimation. The
    product is taken in float64."""

    intercept: FloatArray
    """Shape (H,), in the unit of the observations."""

    tail: FloatArray
    """The last L values of the training series, shape (L,)."""

    residuals: ResidualQuantiles
    """Quantiles of the errors."""

    max_horizon: int | None = None
    """The longest horizon: H where going on block by block would diverge; None where it does not."""

    @property
    def min_length(self) -> int:
        """L, the window."""
        return self.lags.window

    @property
    def look_back(self) -> int:
        """Observations at the end of a window that the forecast depends on: L."""
        return self.lags.window

    def forecast(
        self,
        window: FloatArray,
        horizon: int,
        position: int | None = None,  # noqa: ARG002
        covariates: FloatArray | None = None,  # noqa: ARG002
    ) -> FloatArray:
        """The point forecast, shape (horizon,)."""
        return self._path(window[-self.lags.window :], horizon)

    def forecasts(self, windows: FloatArray, horizon: int) -> FloatArray:
        """The forecasts of windows, one a row, of `look_back` values: shape (len(windows), horizon)."""
        return self._path(windows, horizon)

    def _path(self, windows: FloatArray, horizon: int) -> FloatArray:
        """From windows of shape (..., L) to forecasts of shape (..., horizon)."""
        length, block = self.lags.window, self.intercept.size
        index = places(self.lags, block)
        path = windows
        for start in range(0, horizon, block):
            lagged = path[..., start : start + length]
            last = lagged[..., -1:]
            change = (self.weights * (lagged - last)[..., index]).sum(axis=-1)
            path = np.concatenate([path, change + (self.intercept + last)], axis=-1)
        return path[..., length : length + horizon]

    def quantile_offsets(self, levels: tuple[float, ...], horizon: int) -> FloatArray:
        """As `ResidualQuantiles.at`."""
        return self.residuals.at(levels, horizon)

    def arrays(self) -> dict[str, StoredArray]:
        """`lags` (season length, recent), `weights`, `intercept`, `tail`, quantiles, `max_horizon` if bounded."""
        arrays: dict[str, StoredArray] = {
            "lags": np.array([self.lags.season_length, self.lags.recent], np.float64),
            "weights": self.weights,
            "intercept": narrow(self.intercept),
            "tail": narrow(self.tail),
            NAME: self.residuals.offsets,
        }
        arrays |= horizon_bound(self.max_horizon)
        return arrays

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, StoredArray]) -> Self:
        """As `Forecaster.from_arrays`."""
        weights = stored(arrays, "weights", 2).astype(np.float32, copy=False)
        intercept, tail = vector(arrays, "intercept"), vector(arrays, "tail")
        lags = _lags(scalars(arrays, "lags", 2), tail.size)
        if weights.shape != (intercept.size, lags.count):
            raise ValueError(
                f"weights of the shape {weights.shape} do not fit {intercept.size} x {lags.count}"
            )
        return cls(
            lags=lags,
            weights=weights,
            intercept=intercept,
            tail=tail,
            residuals=ResidualQuantiles.from_arrays(arrays),
            max_horizon=bounded_horizon(arrays),
        )


def _lags(numbers: list[float], window: int) -> Lags:
    season_length, recent = numbers
    if not (1 <= season_length <= window and 0 <= recent < window):
        raise ValueError(f"the lags {numbers} do not fit a window of {window}")
    return Lags(window=window, season_length=int(season_length), recent=int(recent))
