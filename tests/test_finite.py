"""The quick look at a series sees what a slow one sees."""

import math
import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from forecast_grpc.finite import adds_up, all_finite


@given(values=st.lists(st.floats(), max_size=200))
def test_agrees_with_a_look_at_each_value(values: list[float]) -> None:
    """Whatever the values, and however many: finite where each of them is."""
    assert all_finite(np.array(values, dtype=np.float64)) == all(map(math.isfinite, values))
    assert not adds_up(values) or all(map(math.isfinite, values))


def test_a_few_ordinary_values_add_up() -> None:
    """It is of use: for what most requests bring, nothing else has to be looked at."""
    assert adds_up([])
    assert adds_up([1.0, -2.5, 1e300])
    assert not adds_up([1.0, math.nan])


@pytest.mark.parametrize("count", [2, 128, 129, 10_000])
def test_values_that_overflow_together_are_finite_and_make_no_noise(count: int) -> None:
    """The sum is infinite, the values are not; and no warning is worth a line in the log."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert all_finite(np.full(count, 1.7e308))
        assert not all_finite(np.append(np.full(count, 1.7e308), math.inf))


def test_opposite_infinities_do_not_cancel() -> None:
    """Infinities of both signs add up to NaN, not to a number."""
    assert not all_finite(np.array([math.inf, 1.0, -math.inf]))
