"""The forecast of a regressor on windows, by the library itself: what the served one has to equal."""

from collections.abc import Callable
from typing import Any

import numpy as np

from forecast_grpc.domain import FloatArray


def recursive(predict: Callable[[FloatArray], Any], window: FloatArray, horizon: int) -> FloatArray:
    """Block after block, each on the forecasts before it, until there are `horizon` steps.

    `predict` takes windows, shape (1, L), and returns the next step or the next few.
    """
    lags, path = window.size, window
    while path.size < lags + horizon:
        block = np.asarray(predict(path[np.newaxis, -lags:]), np.float64).ravel()
        path = np.concatenate([path, block])
    return path[lags : lags + horizon]
