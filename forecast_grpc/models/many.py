"""Many windows of one model at once, where its family knows how."""

from collections.abc import Callable, Hashable, Sequence
from typing import Any, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from forecast_grpc.domain import FloatArray, Forecaster

Forecasts = Callable[[FloatArray, int], FloatArray]
"""From windows of one length, one a row, and a horizon to forecasts of shape (len(windows), horizon)."""


def vectorised(forecaster: Forecaster) -> Forecasts | None:
    """What gives for many windows, to the last bit, the forecasts that `forecast` gives for each of them.

    None where the family knows nothing better than one after the other, or the model needs covariates.
    """
    if forecaster.covariate_tail is not None:
        return None
    forecasts: Forecasts | None = getattr(forecaster, "forecasts", None)
    return forecasts


def one_by_one(forecaster: Forecaster) -> Forecasts:
    """The same of any model: where the family knows nothing better, one window after the other."""
    return vectorised(forecaster) or (
        lambda windows, horizon: np.array([forecaster.forecast(window, horizon) for window in windows])
    )


class Stackable(Protocol):
    """What a family has besides that can forecast with many models at once, each for a window of its own."""

    @property
    def form(self) -> Hashable:
        """What models have in common that can be taken together."""
        ...

    @staticmethod
    def stacked(models: Sequence[Any]) -> Forecasts:
        """`forecast` of each model, all of one form, for as many windows."""
        ...


def form_of(forecaster: Forecaster) -> Hashable | None:
    """Models whose forms are equal can be stacked; None for one that cannot, or needs covariates."""
    if forecaster.covariate_tail is not None or not hasattr(forecaster, "stacked"):
        return None
    return type(forecaster), cast(Stackable, forecaster).form


def stacked(models: Sequence[Forecaster]) -> Forecasts:
    """What gives the forecast of each model for a window of its own, to the last bit. Their forms are equal."""
    return cast(Stackable, models[0]).stacked(models)


def products(matrix: NDArray[Any], vectors: FloatArray) -> FloatArray:
    """`matrix @ vector` of each vector, shape (..., L), in float64: shape (..., H) for a matrix of shape (H, L).

    Each is the product of one matrix and one vector, to the last bit, however many there are: a product of two
    matrices would sum in another order. numpy hands them to BLAS one after the other, which a test holds.
    """
    found: FloatArray = np.matmul(matrix.astype(np.float64, copy=False), vectors[..., np.newaxis])[..., 0]
    return found
