"""Direct multi-horizon linear regression on a window: one matrix, one product."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from forecast_grpc.domain import FloatArray, StoredArray
from forecast_grpc.models.covariates import Regression
from forecast_grpc.models.parameters import bounded_horizon, horizon_bound, scalars, stored, vector
from forecast_grpc.models.residuals import NAME, ResidualQuantiles


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

    weights: NDArray[np.float32] | FloatArray
    """Shape (H, L): H horizons, L lags, the oldest first. Our own fit stores float32: half the bytes, and the
    rounding is far below the error of estimation. Converted models keep float64, to give their library's own
    numbers. The product is taken in float64."""

    intercept: FloatArray
    """Shape (H,), in the unit of the observations."""

    tail: FloatArray
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
        return (
            self.tail.size if self.regression is None else max(self.tail.size, self.regression.tail.shape[1])
        )

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

    def _path(self, window: FloatArray, horizon: int) -> FloatArray:
        lags, block = self.tail.size, self.intercept.size
        blocks = -(-horizon // block)
        path = np.concatenate([window[-lags:], np.empty(blocks * block)])
        for start in range(0, blocks * block, block):
            path[lags + start : lags + start + block] = self._block(path[start : lags + start])
        return path[lags : lags + horizon]

    def _block(self, lagged: FloatArray) -> FloatArray:
        # Always all rows: BLAS may sum another number of rows in another order, and then the first steps of a
        # forecast would depend on its length.
        if not self.anchored:
            plain: FloatArray = self.weights @ lagged + self.intercept
            return plain
        last = lagged[-1]
        block: FloatArray = self.weights @ (lagged - last) + (self.intercept + last)
        return block

    def quantile_offsets(self, levels: tuple[float, ...], horizon: int) -> FloatArray:
        """As `ResidualQuantiles.at`."""
        return self.residuals.at(levels, horizon)

    def arrays(self) -> dict[str, StoredArray]:
        """`weights`, `intercept`, `tail`, the quantiles; `max_horizon` where bounded, `anchored` where not.

        And those of the regression, where there is one.
        """
        arrays: dict[str, StoredArray] = {
            "weights": self.weights,
            "intercept": self.intercept,
            "tail": self.tail,
            NAME: self.residuals.offsets,
        }
        arrays |= horizon_bound(self.max_horizon)
        if not self.anchored:
            arrays["anchored"] = np.zeros(1)
        return arrays if self.regression is None else arrays | self.regression.arrays()

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, StoredArray]) -> Self:
        """As `Forecaster.from_arrays`."""
        weights = _weights(arrays)
        intercept, tail = vector(arrays, "intercept"), vector(arrays, "tail")
        if weights.shape != (intercept.size, tail.size):
            raise ValueError(
                f"weights of the shape {weights.shape} do not fit {intercept.size} x {tail.size}"
            )
        return cls(
            weights=weights,
            intercept=intercept,
            tail=tail,
            residuals=ResidualQuantiles.from_arrays(arrays),
            max_horizon=bounded_horizon(arrays),
            anchored="anchored" not in arrays or scalars(arrays, "anchored", 1) != [0.0],
            regression=Regression.from_arrays(arrays, tail.size),
        )


def _weights(arrays: Mapping[str, StoredArray]) -> NDArray[np.float32] | FloatArray:
    weights = stored(arrays, "weights", 2)
    if weights.dtype == np.float64:
        return weights.astype(np.float64, copy=False)
    return weights.astype(np.float32, copy=False)
