"""Missing observations: filled once, before any model sees the window."""

import numpy as np

from forecast_grpc.domain import FloatArray
from forecast_grpc.finite import all_finite


def fill_missing(window: FloatArray) -> FloatArray:
    """`window`, shape (n,), n >= 1, with each NaN filled: linear between neighbours, the nearest at the ends.

    Returns the very array where nothing is missing. Raises ValueError where every value is missing.
    """
    if all_finite(window):
        return window
    present = np.flatnonzero(~np.isnan(window))
    if not present.size:
        raise ValueError("every value is missing")
    return np.interp(np.arange(window.size), present, window[present])
