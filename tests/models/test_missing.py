"""Missing observations are filled once."""

import numpy as np
import pytest

from forecast_grpc.models.missing import fill_missing

NAN = np.nan


@pytest.mark.parametrize(
    ("window", "filled"),
    [
        ([1.0, NAN, 3.0], [1.0, 2.0, 3.0]),
        ([0.0, NAN, NAN, NAN, 8.0], [0.0, 2.0, 4.0, 6.0, 8.0]),
        ([NAN, NAN, 5.0, 6.0], [5.0, 5.0, 5.0, 6.0]),
        ([5.0, 6.0, NAN], [5.0, 6.0, 6.0]),
        ([NAN, 7.0, NAN], [7.0, 7.0, 7.0]),
    ],
)
def test_gaps_are_linear_and_ends_are_nearest(window: list[float], filled: list[float]) -> None:
    """Between two values the gap is bridged by a line; before the first and after the last it is constant."""
    assert fill_missing(np.array(window)).tolist() == filled


def test_a_window_without_gaps_is_returned_itself() -> None:
    """The usual case costs no copy."""
    window = np.array([1.0, -1e300])
    assert fill_missing(window) is window


def test_the_gaps_are_not_filled_in_place() -> None:
    """The caller's array keeps its gaps."""
    window = np.array([1.0, NAN, 3.0])
    fill_missing(window)
    assert np.isnan(window[1])


def test_nothing_but_gaps_is_refused() -> None:
    """There is nothing to fill from."""
    with pytest.raises(ValueError, match="missing"):
        fill_missing(np.array([NAN, NAN]))
