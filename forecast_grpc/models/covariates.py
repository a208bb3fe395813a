"""What covariates add to a forecast: a regression whose errors a model forecasts."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Self

import numpy as np

from forecast_grpc.domain import FloatArray, StoredArray
from forecast_grpc.models.parameters import narrow, stored

EFFECTS, TAIL = "covariate_effects", "covariate_tail"
"""The names of the stored arrays."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Regression:
    """The effect of covariates x at a step t: the sum of `effects[k, q] * x[k, t - q]` over all k and q.

    It is taken off the window, the model forecasts what is left, and the effect of the steps ahead is added
    (regression with autocorrelated errors: Hyndman & Athanasopoulos, Forecasting: Principles and Practice, 3rd
    ed., chapter 10).

    Where the model looks at no past covariates (P = 0) the effect counts from the first step of the forecast on,
    and nothing is taken off the window. So an autoregression with exogenous inputs is stored, which meets past
    ones in the observations that they worked on: `effects[k, q]` is then the coefficient of x[k] times the
    response of the autoregression q steps after an impulse.
    """

    effects: FloatArray
    """Shape (K, Q): K covariates, the effect at the same step first."""

    tail: FloatArray
    """The end of the covariates in training, shape (K, P): P = L + Q - 1 for a window of L, or P = 0."""

    @property
    def past(self) -> int:
        """P."""
        past: int = self.tail.shape[1]
        return past

    def around(
        self,
        forecast: Callable[[FloatArray, int], FloatArray],
        window: FloatArray,
        horizon: int,
        covariates: FloatArray | None,
    ) -> FloatArray:
        """The forecast, shape (horizon,), that `forecast(window, horizon)` gives of what the regression leaves.

        `covariates` as in `Forecaster.forecast`; raises ValueError where it is None.
        """
        if covariates is None:
            raise ValueError("this model forecasts with covariates only")
        past, lags = self.tail.shape[1], self.effects.shape[1]
        effect = self._effect(covariates)
        if past:
            known = past - lags + 1
            window = window[-known:] - effect[lags - 1 : past]
        path: FloatArray = forecast(window, horizon) + effect[past:]
        return path

    def _effect(self, covariates: FloatArray) -> FloatArray:
        """Shape (m,) for covariates of shape (K, m); values before the first count as 0."""
        steps = covariates.shape[1]
        effect = np.zeros(steps)
        # Not a matrix product: BLAS may sum other numbers of columns in another order, and then the first steps
        # of a forecast would depend on its length.
        for lag, column in enumerate(self.effects.T[:steps]):
            effect[lag:] += (column[:, np.newaxis] * covariates[:, : steps - lag]).sum(axis=0)
        return effect

    def arrays(self) -> dict[str, StoredArray]:
        """`covariate_effects`, and `covariate_tail` where there is one."""
        arrays: dict[str, StoredArray] = {EFFECTS: self.effects}
        return arrays | ({TAIL: narrow(self.tail)} if self.tail.size else {})

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, StoredArray], window: int) -> Self | None:
        """The regression of a model that looks at `window` observations; None where there is none.

        Raises ValueError where its arrays do not fit each other or the window.
        """
        if EFFECTS not in arrays:
            if TAIL in arrays:
                raise ValueError(f"the parameter {EFFECTS} is missing")
            return None
        effects = stored(arrays, EFFECTS, 2).astype(np.float64, copy=False)
        count, lags = effects.shape
        if TAIL not in arrays:
            return cls(effects=effects, tail=np.empty((count, 0)))
        tail = stored(arrays, TAIL, 2).astype(np.float64, copy=False)
        if tail.shape != (count, window + lags - 1):
            raise ValueError(f"{TAIL} of the shape {tail.shape} does not fit {effects.shape} and {window}")
        return cls(effects=effects, tail=tail)
