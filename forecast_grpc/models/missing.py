"""Missing observations: filled once, before any model sees the window."""

import math

import numpy as np

from forecast_grpc.domain import FloatArray


def fill_missing(window: FloatArray) -> FloatArray:
    """`window`, shape (n,), with each NaN filled: linear between its neighbours, the nearest value at the ends.

    Returns the very array where nothing is missing. Raises ValueError where every value is missing.
    """
    # A sum of squares is NaN exactly where a value is: one pass, a third of the cost of isnan().any().
    if not math.isnan(window.dot(window)):
        return window
    present = np.flatnonzero(~np.isnan(window))
    if not present.size:
        raise ValueError("every value is missing")
    return np.interp(np.arange(window.size), present, window[present])
