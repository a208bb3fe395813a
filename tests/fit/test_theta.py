"""The fit of the Theta method."""

import numpy as np
import pytest

from forecast_grpc.domain import FloatArray
from forecast_grpc.fit.theta import squared_errors

ALPHAS = np.linspace(0.01, 0.99, 50)


def by_recursion(values: FloatArray) -> list[float]:
    """Simple exponential smoothing, one value after the other, with each of the parameters."""
    sums = []
    for alpha in ALPHAS:
        level, squares = values[0], 0.0
        for value in values[1:]:
            squares += (value - level) ** 2
            level += alpha * (value - level)
        sums.append(squares)
    return sums


@pytest.mark.parametrize("count", [1, 2, 3, 31, 32, 33, 34, 64, 65, 365])
def test_errors_are_those_of_the_recursion(count: int) -> None:
    """Whatever the length is beside that of a block, smoothing by blocks errs as smoothing by steps does."""
    values = 100.0 + np.random.default_rng(count).normal(size=count).cumsum()
    assert squared_errors(values) == pytest.approx(by_recursion(values), rel=1e-9)


def test_a_constant_has_no_errors() -> None:
    """Not even those of rounding: no parameter is better than another by chance."""
    assert squared_errors(np.full(100, 0.1)).tolist() == [0.0] * 50
