"""The weights of the seasonal autoregression."""

import numpy as np
import pytest

from forecast_grpc.domain import FloatArray
from forecast_grpc.fit import SeriesError
from forecast_grpc.fit.autoregression import _STRENGTHS, Rows, fit_autoregression, seasonal_priors
from forecast_grpc.models import SeasonalAr
from forecast_grpc.models.lags import Lags, places
from tests.models.examples import residuals, series

LAGS = Lags(window=36, season_length=12, recent=4)
HORIZON = 15


def test_the_solution_is_that_of_penalised_least_squares() -> None:
    """Which is least squares with the penalty as extra rows, the intercept not penalised, for each horizon."""
    rows, index, priors = (
        Rows.of(series(120), 36, HORIZON),
        places(LAGS, HORIZON),
        seasonal_priors(LAGS, HORIZON),
    )
    weights = rows.solutions(index, priors)
    intercepts = rows.intercepts(index, weights)
    count = priors.shape[2]
    for step, prior, strength in ((0, 1, 3), (7, 3, 4), (14, 0, 5)):
        root = np.sqrt(_STRENGTHS[strength] * (rows.inputs**2).sum(axis=0).mean())
        lagged = rows.inputs[:, index[step]]
        inputs = np.vstack(
            [np.column_stack([lagged, np.ones(len(lagged))]), np.eye(LAGS.count, LAGS.count + 1) * root]
        )
        sought = np.concatenate([rows.targets[:, step], root * priors[step, :, prior]])
        solution = np.linalg.lstsq(inputs, sought, rcond=None)[0]
        place = strength * count + prior
        assert weights[step, :, place] == pytest.approx(solution[:-1], abs=1e-8)
        assert intercepts[step, place] == pytest.approx(solution[-1], abs=1e-7)


def forecast(weights: FloatArray, window: FloatArray) -> FloatArray:
    """What a prior forecasts."""
    model = SeasonalAr(
        lags=LAGS,
        weights=weights.astype(np.float32),
        intercept=np.zeros(HORIZON),
        end=window,
        residuals=residuals(HORIZON),
    )
    return model.forecast(window, HORIZON)


def test_the_priors_are_methods_that_need_no_fit() -> None:
    """The naive method, seasonal naive, the mean of the seasons, and the mean change of past seasons."""
    window = series(36)
    seasons = window.reshape(3, 12)
    # What the window ends with, then what came after it a season and two seasons earlier.
    changes = [window[12 * k : 12 * k + HORIZON] - window[12 * k - 1] for k in (1, 2)]
    repeated = [np.resize(change[:12], HORIZON) for change in changes]
    expected = [
        np.full(HORIZON, window[-1]),
        np.resize(window[-12:], HORIZON),
        np.resize(seasons.mean(axis=0), HORIZON),
    ]
    priors = seasonal_priors(LAGS, HORIZON)
    for prior, method in enumerate(expected):
        assert forecast(priors[:, :, prior], window) == pytest.approx(method)
    assert forecast(priors[:, :, 3], window) == pytest.approx(window[-1] + np.mean(repeated, axis=0))


def test_seven_seasons_have_the_prior_of_the_same_place_a_week_ago() -> None:
    """With days in hours, the last prior repeats the last week."""
    lags = Lags(window=7 * 4, season_length=4, recent=3)
    last = seasonal_priors(lags, 10)[:, :, -1]
    window = np.random.default_rng(1).normal(size=28)
    lagged = window[places(lags, 10)]
    assert (last * lagged).sum(axis=1) == pytest.approx(window[:10])


def test_a_recurrence_is_learnt() -> None:
    """Two waves of different periods follow a linear recurrence: what comes next is forecast within 2 %."""
    times = np.arange(400.0)
    values: FloatArray = 10.0 * np.sin(times / 3.0) + 5.0 * np.cos(times / 7.0)
    lags, weights, intercept = fit_autoregression(values[:380], 20, 1)
    window = values[380 - lags.window : 380]
    path = (weights * (window - window[-1])[places(lags, 20)]).sum(axis=1) + intercept + window[-1]
    assert np.abs(path - values[380:]).max() < 0.3


@pytest.mark.parametrize("scale", [1e-25, 1.0, 1e25])
def test_the_unit_changes_nothing(scale: float) -> None:
    """The same series in another unit has the same weights; the intercept is in the unit."""
    _, weights, intercept = fit_autoregression(series(150), 12, 12)
    _, scaled, in_unit = fit_autoregression(series(150) * scale, 12, 12)
    assert scaled == pytest.approx(weights, rel=1e-6, abs=1e-9)
    assert in_unit / scale == pytest.approx(intercept, rel=1e-6, abs=1e-6)


def test_a_straight_line_leaves_no_wild_weights() -> None:
    """Its centred inputs are nothing but rounding; dividing by their squares would multiply it by 10^16."""
    _, weights, intercept = fit_autoregression(np.linspace(861.0, 903.0, 24), 6, 1)
    assert np.abs(weights).max() < 10.0
    assert np.abs(intercept).max() < 100.0


@pytest.mark.parametrize(("count", "season_length", "window"), [(11, 1, 2), (53, 12, 24)])
def test_the_shortest_series(count: int, season_length: int, window: int) -> None:
    """Three times a window of two values before the targets, or four seasons; one value less is refused."""
    horizon = 5
    lags, weights, _ = fit_autoregression(series(count), horizon, season_length)
    assert lags.window == window
    assert weights.shape == (horizon, lags.count)
    with pytest.raises(SeriesError, match="too few"):
        fit_autoregression(series(count - 1), horizon, season_length)


def test_a_season_too_long_is_refused() -> None:
    """A request would have to bring two days of minutes."""
    with pytest.raises(SeriesError, match="too long"):
        fit_autoregression(series(5000), 10, 1440)
