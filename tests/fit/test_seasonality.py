"""Seasonal or not, and how."""

import numpy as np
import pytest

from forecast_grpc.domain import FloatArray
from forecast_grpc.fit.seasonality import guess_season_length, is_seasonal, seasonal_pattern
from tests.models.examples import season

RNG = np.random.default_rng(7)
NOISE = RNG.normal(size=400)


@pytest.mark.parametrize("length", [4, 7, 12, 24])
def test_a_season_is_recognised_and_its_length_guessed(length: int) -> None:
    """A season under noise and a trend passes the test, and is found without being told its length."""
    values = 0.1 * np.arange(400) + np.resize(season(length, size=5.0), 400) + NOISE
    assert guess_season_length(values) == length
    assert is_seasonal(values - 0.1 * np.arange(400), length)


@pytest.mark.parametrize(
    "values", [NOISE, np.cumsum(NOISE), np.arange(400.0), np.full(400, 0.1), np.zeros(400), np.zeros(1)]
)
def test_what_has_no_season_gets_none(values: FloatArray) -> None:
    """Noise, a random walk, a line, constants: no length is guessed."""
    assert guess_season_length(values) == 1


def test_two_seasons_are_too_few_to_tell() -> None:
    """Below three seasons nothing is called seasonal, however clear it looks."""
    values = np.where(np.arange(36) % 12 == 5, 10.0, 0.0)
    assert is_seasonal(values, 12)
    assert not is_seasonal(values[:-1], 12)


@pytest.mark.parametrize("length", [4, 7])
@pytest.mark.parametrize("extra", [0, 1, 3])
def test_a_multiplicative_pattern_is_recovered(length: int, extra: int) -> None:
    """On a straight level the decomposition is exact, for odd and even lengths and any number of values."""
    factors = season(length)
    factors += 1.0
    repeated = np.resize(factors, 5 * length + extra)
    pattern, multiplicative = seasonal_pattern(50.0 * repeated, length)
    assert multiplicative
    assert pattern == pytest.approx(factors / factors.mean() - 1.0, abs=1e-12)


@pytest.mark.parametrize("level", [0.0, -30.0])
def test_values_that_are_not_positive_have_an_additive_pattern(level: float) -> None:
    """A ratio to a level around zero or below would mean nothing."""
    values = np.linspace(level, level + 29.5, 60) + np.resize(season(12, size=3.0), 60)
    pattern, multiplicative = seasonal_pattern(values, 12)
    assert not multiplicative
    assert pattern == pytest.approx(season(12, size=3.0), abs=1e-9)


def test_factors_near_zero_make_the_pattern_additive() -> None:
    """Dividing by a factor below 0.01 would turn one small value into a huge level."""
    values = np.resize([1e-6, 10.0, 20.0, 10.0], 40)
    assert seasonal_pattern(values, 4)[1] is False
