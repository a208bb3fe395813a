"""Direct multi-horizon autoregression on the few lags that matter where there is a season."""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from forecast_grpc.domain import FloatArray, StoredArray
from forecast_grpc.models.factored import Factored, stacked_intercepts, stacked_weights
from forecast_grpc.models.lags import Lags, known_lags, places
from forecast_grpc.models.many import Forecasts
from forecast_grpc.models.parameters import bounded_horizon, horizon_bound, scalars, stored, vector
from forecast_grpc.models.residuals import NAME, ResidualQuantiles
from forecast_grpc.models.tails import Tail, tail_arrays, tail_of, values_of
from forecast_grpc.quick import maker


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

    weights: NDArray[np.float32] | Factored
    """Shape (H, K), in the order of `places`; or codes of a byte, where their rounding is far below the error of
    estimation, the intercept among them. The product is taken in float64."""

    intercept: FloatArray | None
    """Shape (H,), in the unit of the observations; None where it is among the codes."""

    end: Tail
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
    def tail(self) -> FloatArray:
        """The last L values of the training series, shape (L,)."""
        return values_of(self.end)

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
        """`forecast` of many windows of one length, one a row: shape (len(windows), horizon)."""
        return self._path(windows[:, -self.lags.window :], horizon)

    @property
    def form(self) -> Hashable:
        """What models have in common that `stacked` takes together."""
        weights = self.weights
        return self.lags, weights.form if isinstance(weights, Factored) else weights.shape

    @staticmethod
    def stacked(models: Sequence["SeasonalAr"]) -> Forecasts:
        """`forecast` of each model for a window of its own, of as many models of one form."""
        weights = stacked_weights([model.weights for model in models])
        return replace(models[0], weights=weights, intercept=stacked_intercepts(models)).forecasts

    def _path(self, windows: FloatArray, horizon: int) -> FloatArray:
        """From windows of shape (..., L) to forecasts of shape (..., horizon)."""
        length, start = self.lags.window, 0
        path = windows
        while path.shape[-1] < length + horizon:
            lagged = path[..., start:]
            last = lagged[..., -1:]
            path = np.concatenate([path, self._changes(lagged - last) + last], axis=-1)
            start = path.shape[-1] - length
        return path[..., length : length + horizon]

    def _changes(self, lagged: FloatArray) -> FloatArray:
        """From windows of shape (..., L) without their last value to changes of shape (..., H)."""
        if isinstance(self.weights, Factored):
            return self.weights.of(lagged)
        assert self.intercept is not None  # noqa: S101 - only codes hold one
        index = places(self.lags, self.weights.shape[-2])
        changes: FloatArray = (self.weights * lagged[..., index]).sum(axis=-1) + self.intercept
        return changes

    def quantile_offsets(self, levels: tuple[float, ...], horizon: int) -> FloatArray:
        """As `ResidualQuantiles.at`."""
        return self.residuals.at(levels, horizon)

    def arrays(self) -> dict[str, StoredArray]:
        """`lags` (season length, recent), weights, `tail`, quantiles, `max_horizon` if bounded.

        The weights are `weights` and `intercept`, or where they are codes `weights` and `weights_unit`.
        """
        arrays: dict[str, StoredArray] = {**tail_arrays(self.end), NAME: self.residuals.table}
        arrays |= horizon_bound(self.max_horizon)
        if isinstance(self.weights, Factored):
            return arrays | self.weights.arrays()
        assert self.intercept is not None  # noqa: S101 - only codes hold one
        lags = np.array([self.lags.season_length, self.lags.recent], np.float64)
        return arrays | {"lags": lags, "weights": self.weights, "intercept": self.intercept}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, StoredArray]) -> "SeasonalAr":
        """As `Forecaster.from_arrays`."""
        return cls.shared(arrays, tail_of(arrays), ResidualQuantiles.from_arrays(arrays))

    @classmethod
    def shared(
        cls, arrays: Mapping[str, StoredArray], end: Tail, residuals: ResidualQuantiles
    ) -> "SeasonalAr":
        """As `from_arrays`, with the end of the series and the quantiles of errors from elsewhere."""
        weights: NDArray[np.float32] | Factored
        if Factored.among(arrays):
            weights, intercept = Factored.from_arrays(arrays, end.size), None
            lags = weights.lags
        else:
            weights, intercept = (
                stored(arrays, "weights", 2).astype(np.float32, copy=False),
                vector(arrays, "intercept"),
            )
            lags = known_lags(end.size, *scalars(arrays, "lags", 2))
            if weights.shape != (intercept.size, lags.count):
                raise ValueError(
                    f"weights of the shape {weights.shape} do not fit {intercept.size} x {lags.count}"
                )
        return _made(
            lags=lags,
            weights=weights,
            intercept=intercept,
            end=end,
            residuals=residuals,
            max_horizon=bounded_horizon(arrays),
        )


_made = maker(SeasonalAr)
