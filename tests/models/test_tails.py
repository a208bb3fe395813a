"""The end of a training series, in few bytes."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from forecast_grpc.domain import FloatArray
from forecast_grpc.models.tails import Coded, coded, last_of, tail_arrays, tail_of, values_of

RNG = np.random.default_rng(7)
floats = arrays(np.float64, st.integers(1, 300), elements=st.floats(-1e30, 1e30))


@pytest.mark.parametrize("decimals", range(10))
@pytest.mark.parametrize("level", [0.0, -55.5, 1e4])
def test_decimals_come_back_to_the_last_bit(decimals: int, level: float) -> None:
    """Numbers as people write them are integers over a power of ten, whatever their level."""
    values = np.array([float(f"{level + value:.{decimals}f}") for value in 0.1 * RNG.normal(size=200)])
    kept = coded(values)
    assert isinstance(kept, Coded)
    assert kept.values().tolist() == values.tolist()


def test_few_digits_take_two_bytes() -> None:
    """Prices that span 655 units of two decimals; a wider span takes four."""
    narrow, wide = coded(np.array([9_000.0, 9_655.35])), coded(np.array([9_000.0, 9_655.36]))
    assert isinstance(narrow, Coded)
    assert isinstance(wide, Coded)
    assert (narrow.codes.itemsize, wide.codes.itemsize) == (2, 4)


@settings(deadline=None)
@given(values=floats)
def test_any_values_come_back(values: FloatArray) -> None:
    """Up to a hundred to the last bit, more to 2^-31 of their span and float64's own rounding."""
    again = values_of(tail_of(tail_arrays(coded(values))))
    if values.size <= 100:
        assert again.tolist() == values.tolist()
    span, largest = float(np.ptp(values)), float(np.abs(values).max())
    assert np.abs(again - values).max() <= 2.0**-31 * span + 2.0**-51 * largest


@pytest.mark.parametrize("count", [1, 7, 150])
def test_the_last_values_are_those_of_the_end(count: int) -> None:
    """Of codes and of plain values alike."""
    values = RNG.normal(size=150)
    for kept in (values, coded(values), coded(values.round(2))):
        assert values_of(last_of(kept, count)).tolist() == values_of(kept)[-count:].tolist()


@pytest.mark.parametrize("unit", [[0.5, 100.0], [0.0, 0.0], [0.0, -1.0], [0.0, np.inf], [np.nan, 1.0], [1.0]])
def test_a_unit_that_can_be_none_is_refused(unit: list[float]) -> None:
    """A base that is no whole number, a divisor that is not above 0, another count of numbers."""
    with pytest.raises(ValueError, match="tail_unit"):
        tail_of({"tail": np.arange(3, dtype=np.int16), "tail_unit": np.array(unit)})
