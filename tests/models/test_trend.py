"""The tutorial's rule."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from forecast_grpc.models import Trend
from tests.models.examples import residuals

SEQUENCE = np.array([100.0, 102, 98, 105, 110, 108, 112, 115, 118, 120])


def test_customer_123_answers_the_documented_numbers() -> None:
    """The tutorial's sequence and slope give its documented seven values, exactly."""
    model = Trend(slope=1.45, base_level=100.0, residuals=residuals())
    documented = [121.45, 122.9, 124.35, 125.8, 127.25, 128.7, 130.15]
    assert model.forecast(SEQUENCE, 7).tolist() == documented


def test_without_a_sequence_it_goes_on_from_the_base_level() -> None:
    """The tail is the base level alone, so an empty request starts there."""
    model = Trend(slope=-2.5, base_level=50.0, residuals=residuals())
    assert model.forecast(model.tail, 3).tolist() == [47.5, 45.0, 42.5]


def test_it_rounds_as_python_does() -> None:
    """2.675 is 2.67499… in binary: Python's round gives 2.67 where numpy's gives 2.68."""
    model = Trend(slope=0.0, base_level=0.0, residuals=residuals())
    assert model.forecast(np.array([2.675]), 1).tolist() == [2.67]
    assert np.round(2.675, 2) == 2.68


@given(
    last=st.floats(allow_nan=False, allow_infinity=False) | st.decimals(-1_000, 1_000, places=3).map(float),
    slope=st.floats(-1e3, 1e3) | st.decimals(-10, 10, places=3).map(float),
    decimals=st.integers(0, 15),
)
def test_it_rounds_as_python_does_wherever_it_stands(last: float, slope: float, decimals: int) -> None:
    """Halves, large and small values, zeros of either sign: to the last bit."""
    model = Trend(slope=slope, base_level=0.0, residuals=residuals(), decimals=decimals)
    expected = [round(last + slope * step, decimals) for step in (1, 2, 3)]
    assert np.array(model.line(last, 3)).tobytes() == np.array(expected).tobytes()


@pytest.mark.parametrize("decimals", [-1.0, 0.5, 16.0])
def test_impossible_decimals_are_refused(decimals: float) -> None:
    """Decimals are whole numbers from 0 to 15."""
    arrays = Trend(slope=1.0, base_level=1.0, residuals=residuals()).arrays()
    with pytest.raises(ValueError, match="decimals"):
        Trend.from_arrays({**arrays, "line": np.array([1.0, 1.0, decimals])})
