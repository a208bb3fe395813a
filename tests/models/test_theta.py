"""Theta, against an implementation by its definition, and what it reads from a window."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forecast_grpc.domain import FloatArray
from forecast_grpc.models import Theta
from forecast_grpc.models.theta import MEMORY, SEASONS, best_shift, memory, seasonal_profile
from tests.models.examples import residuals, season

SEASON = 12


def by_definition(values: FloatArray, slope: float, alpha: float, horizon: int) -> list[float]:
    """Assimakopoulos & Nikolopoulos 2000: lines of theta 0 and 2, the second smoothed, both averaged."""
    line = [slope * time for time in range(len(values) + horizon)]
    bent = [2.0 * value - on_line for value, on_line in zip(values.tolist(), line, strict=False)]
    level = bent[0]
    for value in bent[1:]:
        level = alpha * value + (1.0 - alpha) * level
    return [0.5 * line[len(values) + step] + 0.5 * level for step in range(horizon)]


def theta(
    pattern: FloatArray, *, multiplicative: bool = True, slope: float = 0.0, alpha: float = 0.4
) -> Theta:
    """A model with this pattern."""
    return Theta(
        alpha=alpha,
        slope=slope,
        multiplicative=multiplicative,
        pattern=pattern,
        end=np.ones(memory(pattern.size)),
        residuals=residuals(),
    )


@pytest.mark.parametrize("alpha", [0.45, 0.8, 1.0])
def test_without_a_season_it_is_the_mean_of_two_theta_lines(alpha: float) -> None:
    """The closed form agrees with the definition: two lines, one extrapolated, one smoothed, averaged."""
    rng = np.random.default_rng(3)
    values = 50.0 + np.cumsum(rng.normal(0.3, 1.0, MEMORY))
    model = theta(np.zeros(1), slope=0.3, alpha=alpha)
    assert model.forecast(values, 24) == pytest.approx(by_definition(values, 0.3, alpha, 24), rel=1e-12)


def test_one_value_is_enough_without_a_season() -> None:
    """The level is that value, and the forecast rises by half of the slope a step."""
    model = theta(np.zeros(1), slope=2.0)
    assert model.forecast(np.array([10.0]), 3).tolist() == [11.0, 12.0, 13.0]


@settings(deadline=None)
@given(cut=st.integers(0, 3 * SEASON), length=st.integers(SEASON, 6 * SEASON))
def test_the_place_in_the_season_is_found(cut: int, length: int) -> None:
    """However a window of a purely seasonal series is cut, from one season on, its forecast goes on exactly."""
    factors = 1.0 + season(SEASON)
    path = 80.0 * np.resize(factors, cut + length + 30)
    window, future = path[cut : cut + length], path[cut + length :]
    assert theta(factors - 1.0).forecast(window, 30) == pytest.approx(future, rel=1e-9)


@pytest.mark.parametrize("length", [2, 3, 24, 257, 1440])
def test_every_shift_of_a_pattern_is_recognised(length: int) -> None:
    """By either way of correlating, for odd and even lengths."""
    pattern = np.random.default_rng(4).normal(size=length)
    for shift in {0, 1, length // 2, length - 1}:
        assert best_shift(pattern, np.roll(pattern, -shift)) == shift


def test_an_additive_season_is_added() -> None:
    """The same for a pattern in the unit of the observations, around a level below zero."""
    pattern = season(SEASON, size=20.0)
    path = -5.0 + np.resize(pattern, 100)
    model = theta(pattern, multiplicative=False)
    assert model.forecast(path[:70], 30) == pytest.approx(path[70:], rel=1e-9)


def test_a_changed_pattern_is_met_half_way() -> None:
    """After `SEASONS` seasons of a flatter pattern, the window's own and the trained one weigh the same."""
    trained, own = season(SEASON, 0.4), season(SEASON, 0.2)
    window = 100.0 * np.resize(1.0 + own, SEASONS * SEASON)
    halfway = 1.0 + (trained + own) / 2.0
    forecast = theta(trained).forecast(window, SEASON)
    assert forecast / forecast.mean() == pytest.approx(halfway / halfway.mean(), rel=0.02)


def test_a_factor_near_zero_does_not_blow_up_the_level() -> None:
    """Nights without any traffic: factors are held above 0.01, so no value is divided by zero."""
    pattern = np.where(np.arange(SEASON) < 4, -1.0, 0.5)
    window = np.resize(1.0 + pattern, 48) * 30.0
    window[0] = 1.0
    forecast = theta(pattern).forecast(window, SEASON)
    assert np.abs(forecast).max() < 200.0


def test_the_profile_is_free_of_the_slope() -> None:
    """A rising line has no seasonal profile once its slope is taken off."""
    rows = np.arange(24.0).reshape(2, 12)
    rows *= 3.0
    assert seasonal_profile(rows, 3.0, multiplicative=False) == pytest.approx(np.zeros(12))


@pytest.mark.parametrize("smoothing", [[0.0, 0.0, 0.0], [1.1, 0.0, 0.0], [np.nan, 0.0, 0.0], [0.5, 0.0]])
def test_an_impossible_smoothing_parameter_is_refused(smoothing: list[float]) -> None:
    """The smoothing parameter lies above 0 and at most at 1; there are three numbers."""
    with pytest.raises(ValueError, match="smoothing"):
        Theta.from_arrays({**theta(np.zeros(1)).arrays(), "smoothing": np.array(smoothing)})


def test_a_tail_shorter_than_a_season_is_refused() -> None:
    """Such a model could not answer an empty request."""
    with pytest.raises(ValueError, match="tail"):
        Theta.from_arrays({**theta(season(SEASON)).arrays(), "tail": np.ones(SEASON - 1)})


@pytest.mark.parametrize("multiplicative", [True, False])
@pytest.mark.parametrize(("season_length", "length"), [(1, 5), (1, 100), (4, 9), (12, 80), (300, 1_300)])
def test_many_windows_at_once(season_length: int, length: int, *, multiplicative: bool) -> None:
    """The forecasts of many windows at once are those of one after the other."""
    pattern = season(season_length) if season_length > 1 else np.zeros(1)
    model = theta(pattern, multiplicative=multiplicative, slope=0.2)
    windows = 50.0 + np.random.default_rng(length).normal(size=(7, length)).cumsum(axis=1)
    alone = [model.forecast(window, 2 * season_length + 3) for window in windows]
    assert model.forecasts(windows, 2 * season_length + 3) == pytest.approx(np.array(alone), rel=1e-12)
