"""Direct multi-horizon linear regression on a window: one matrix, one product."""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from forecast_grpc.domain import FloatArray, StoredArray
from forecast_grpc.models.covariates import Regression
from forecast_grpc.models.factored import Factored, stacked_intercepts, stacked_weights
from forecast_grpc.models.many import Forecasts, products
from forecast_grpc.models.parameters import bounded_horizon, horizon_bound, scalars, stored, vector
from forecast_grpc.models.residuals import NAME, ResidualQuantiles
from forecast_grpc.models.tails import Tail, tail_arrays, tail_of, values_of
from forecast_grpc.quick import maker


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Linear:
    """`weights @ (window[-L:] - window[-1]) + intercept + window[-1]`.

    One row of weights for each horizon ("direct" in Taieb, Bontempi, Atiya & Sorjamaa 2012, A review and
    comparison of strategies for multi-step ahead time series forecasting). Taking the last value off makes
    the forecast follow the level of the window (Zeng, Chen, Zhang & Xu 2023, Are transformers effective for
    time series forecasting?, "NLinear"). Horizons beyond H are reached block by block, each on the forecasts
    before it.

    A plain regression, as other libraries fit it, is not `anchored`: `weights @ window[-L:] + intercept`. One of
    a single step is then an autoregression, whose further steps come from its own forecasts.
    """

    family: ClassVar[str] = "linear"

    weights: NDArray[np.float32] | FloatArray | Factored
    """Shape (H, L): H horizons, L lags, the oldest first. Our own fit keeps them factored, the intercept among
    them, where that is far below the error of estimation, else in float32. Converted models keep float64, to give
    their library's own numbers. The product is taken in float64."""

    intercept: FloatArray | None
    """Shape (H,), in the unit of the observations; None where it is among the factored weights."""

    end: Tail
    """The last L values of the training series, shape (L,)."""

    residuals: ResidualQuantiles
    """Quantiles of the errors."""

    max_horizon: int | None = None
    """The longest horizon: H where going on block by block would diverge; None where it does not."""

    anchored: bool = True
    """Whether the window's last value is taken off before the product, and added after it."""

    regression: Regression | None = None
    """What covariates add; the rest of the model is of what they leave. None where it was fitted without."""

    @property
    def min_length(self) -> int:
        """L, the number of lags, or the past covariates that are looked at where they are more."""
        return self.end.size if self.regression is None else max(self.end.size, self.regression.past)

    @property
    def tail(self) -> FloatArray:
        """The last L values of the training series, shape (L,)."""
        return values_of(self.end)

    @property
    def covariate_tail(self) -> FloatArray | None:
        """As `Forecaster.covariate_tail`."""
        return None if self.regression is None else self.regression.tail

    def forecast(
        self,
        window: FloatArray,
        horizon: int,
        position: int | None = None,  # noqa: ARG002
        covariates: FloatArray | None = None,
    ) -> FloatArray:
        """The point forecast, shape (horizon,)."""
        if self.regression is not None:
            return self.regression.around(self._path, window, horizon, covariates)
        return self._path(window, horizon)

    def forecasts(self, windows: FloatArray, horizon: int) -> FloatArray:
        """`forecast`, without covariates, of many windows of one length, one a row: shape (k, horizon)."""
        return self._path(windows, horizon)

    @property
    def form(self) -> Hashable:
        """What models have in common that `stacked` takes together."""
        weights = self.weights
        return self.anchored, weights.form if isinstance(weights, Factored) else weights.shape

    @staticmethod
    def stacked(models: Sequence["Linear"]) -> Forecasts:
        """`forecast` of each model for a window of its own, of as many models of one form, without covariates."""
        weights = stacked_weights([model.weights for model in models])
        return replace(models[0], weights=weights, intercept=stacked_intercepts(models)).forecasts

    def _path(self, windows: FloatArray, horizon: int) -> FloatArray:
        """From windows of shape (..., n) to forecasts of shape (..., horizon)."""
        lags, path = self.end.size, windows[..., -self.end.size :]
        while path.shape[-1] < lags + horizon:
            path = np.concatenate([path, self._block(path[..., -lags:])], axis=-1)
        return path[..., lags : lags + horizon]

    def _block(self, lagged: FloatArray) -> FloatArray:
        # Always all rows of weights and one window at a time, however many there are (`products`): BLAS may sum
        # other numbers of either in another order; a forecast would depend on its length and its company.
        last = lagged[..., -1:] if self.anchored else np.zeros(1)
        if isinstance(self.weights, Factored):
            return self.weights.of(lagged - last) + last
        assert self.intercept is not None  # noqa: S101 - only factored weights hold one
        if not self.anchored:
            return products(self.weights, lagged) + self.intercept
        return products(self.weights, lagged - last) + (self.intercept + last)

    def quantile_offsets(self, levels: tuple[float, ...], horizon: int) -> FloatArray:
        """As `ResidualQuantiles.at`."""
        return self.residuals.at(levels, horizon)

    def arrays(self) -> dict[str, StoredArray]:
        """`weights`, `intercept`, `tail`, the quantiles; `max_horizon` where bounded, `anchored` where not.

        Of factored weights those of `Factored`, and those of the regression, where there is one.
        """
        arrays: dict[str, StoredArray] = {**tail_arrays(self.end), NAME: self.residuals.table}
        arrays |= horizon_bound(self.max_horizon)
        if isinstance(self.weights, Factored):
            arrays |= self.weights.arrays()
        else:
            assert self.intercept is not None  # noqa: S101 - only factored weights hold one
            arrays |= {"weights": self.weights, "intercept": self.intercept}
        if not self.anchored:
            arrays["anchored"] = np.zeros(1)
        return arrays if self.regression is None else arrays | self.regression.arrays()

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, StoredArray]) -> "Linear":
        """As `Forecaster.from_arrays`."""
        return cls.shared(arrays, tail_of(arrays), ResidualQuantiles.from_arrays(arrays))

    @classmethod
    def shared(cls, arrays: Mapping[str, StoredArray], end: Tail, residuals: ResidualQuantiles) -> "Linear":
        """As `from_arrays`, with the end of the series and the quantiles of errors from elsewhere."""
        weights, intercept = _weights(arrays, end.size)
        return _made(
            weights=weights,
            intercept=intercept,
            end=end,
            residuals=residuals,
            max_horizon=bounded_horizon(arrays),
            anchored="anchored" not in arrays or scalars(arrays, "anchored", 1) != [0.0],
            regression=Regression.from_arrays(arrays, end.size),
        )


_made = maker(Linear)


def _weights(
    arrays: Mapping[str, StoredArray], window: int
) -> tuple[NDArray[np.float32] | FloatArray | Factored, FloatArray | None]:
    """The weights over a window, and the intercept where it is not among them."""
    if Factored.among(arrays):
        return Factored.from_arrays(arrays, window), None
    weights, intercept = stored(arrays, "weights", 2), vector(arrays, "intercept")
    if weights.shape != (intercept.size, window):
        raise ValueError(f"weights of the shape {weights.shape} do not fit {intercept.size} x {window}")
    return weights if weights.dtype == np.float64 else weights.astype(np.float32, copy=False), intercept
