"""Few lags for each step."""

from dataclasses import replace

import numpy as np
import pytest

from forecast_grpc.models import SeasonalAr
from forecast_grpc.models.lags import Lags, places
from tests.models.examples import HORIZON, residuals, seasonal_ar, series


def test_the_lags_are_those_that_the_season_suggests() -> None:
    """The last values, the origin's place in past seasons, the target's place in each season."""
    lags = Lags(window=12, season_length=4, recent=2)
    assert places(lags, 6).tolist() == [
        [10, 9, 7, 3, 8, 4, 0],
        [10, 9, 7, 3, 9, 5, 1],
        [10, 9, 7, 3, 10, 6, 2],
        [10, 9, 7, 3, 11, 7, 3],
        [10, 9, 7, 3, 8, 4, 0],
        [10, 9, 7, 3, 9, 5, 1],
    ]
    assert places(Lags(window=4, season_length=1, recent=3), 2).tolist() == [[2, 1, 0]] * 2


def test_a_step_is_a_weighted_sum_of_its_lags() -> None:
    """By hand: without a season, of the window 1, 3, 4 the lags leave -1 and -3."""
    model = SeasonalAr(
        lags=Lags(window=3, season_length=1, recent=2),
        weights=np.array([[0.5, 1.0], [2.0, 0.0]], np.float32),
        intercept=np.array([0.25, 0.0]),
        end=np.zeros(3),
        residuals=residuals(2),
    )
    assert model.forecast(np.array([77.0, 1.0, 3.0, 4.0]), 2).tolist() == [
        -0.5 - 3.0 + 0.25 + 4.0,
        -2.0 + 4.0,
    ]


def test_beyond_its_horizon_it_goes_on_from_its_own_forecasts() -> None:
    """The second block of H steps is the forecast from the window with the first block appended."""
    model, window = seasonal_ar(), series(50)
    first = model.forecast(window, HORIZON)
    second = model.forecast(np.concatenate([window, first]), HORIZON)
    assert model.forecast(window, 2 * HORIZON).tolist() == [*first.tolist(), *second.tolist()]


def test_many_windows_at_once_have_the_forecasts_of_each() -> None:
    """To the last bit."""
    model = seasonal_ar()
    windows = np.stack([series(model.look_back, seed) for seed in range(5)])
    each = [model.forecast(window, 20).tolist() for window in windows]
    assert model.forecasts(windows, 20).tolist() == each


def test_a_bounded_model_says_so() -> None:
    """The bound is stored with the weights, and no bound is none."""
    bounded = replace(seasonal_ar(), max_horizon=HORIZON)
    assert SeasonalAr.from_arrays(bounded.arrays()).max_horizon == HORIZON
    assert SeasonalAr.from_arrays(seasonal_ar().arrays()).max_horizon is None


@pytest.mark.parametrize(
    "lags", [[12.0, 4.0], [25.0, 3.0], [0.0, 3.0], [12.0, 24.0], [12.0, -1.0], [np.nan, 3.0]]
)
def test_lags_that_do_not_fit_are_refused(lags: list[float]) -> None:
    """Another number of them, a season longer than the window, counts below what they may be."""
    with pytest.raises(ValueError, match=r"fit"):
        SeasonalAr.from_arrays({**seasonal_ar().arrays(), "lags": np.array(lags)})
