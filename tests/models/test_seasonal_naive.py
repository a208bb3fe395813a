"""The last season again."""

import numpy as np

from forecast_grpc.models import SeasonalNaive
from tests.models.examples import residuals


def test_the_last_season_is_repeated() -> None:
    """Step h has the value of the same place in the window's last season, over and over."""
    model = SeasonalNaive(end=np.zeros(3), residuals=residuals())
    window = np.array([9.0, 9.0, 1.0, 2.0, 3.0])
    assert model.forecast(window, 8).tolist() == [1, 2, 3, 1, 2, 3, 1, 2]


def test_a_season_of_one_step_is_the_naive_method() -> None:
    """With a season length of 1 every forecast is the last value, and one value is enough."""
    model = SeasonalNaive(end=np.array([4.0]), residuals=residuals())
    assert model.min_length == 1
    assert model.forecast(np.array([7.0]), 3).tolist() == [7, 7, 7]
