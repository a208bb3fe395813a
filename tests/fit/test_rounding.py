"""Weights as integers of a byte."""

import numpy as np
import pytest

from forecast_grpc.domain import FloatArray
from forecast_grpc.fit.autoregression import fit_autoregression
from forecast_grpc.fit.ridge import fit_weights, rows_of
from forecast_grpc.fit.rounding import factored, rounded, rounded_lags
from forecast_grpc.models.lags import Lags, places

RNG = np.random.default_rng(11)


def hours(count: int = 900) -> FloatArray:
    """A day's and a week's season, a wandering level, noise."""
    times = np.arange(count)
    day, week = np.sin(2 * np.pi * times / 24), np.sin(2 * np.pi * times / 168)
    noise = np.random.default_rng(2).normal(size=(2, count))
    values: FloatArray = 100.0 + 20.0 * day + 8.0 * week + 0.3 * noise[0].cumsum() + noise[1]
    return values


def test_codes_are_the_nearest_where_inputs_are_independent() -> None:
    """There is nothing that another weight could make good."""
    weights = RNG.normal(size=(5, 9))
    codes, unit = rounded(weights, np.eye(9))
    assert codes.tolist() == np.rint(weights / unit).tolist()
    assert np.abs(codes).max(axis=0).tolist() == [127] * 9


def test_rounding_one_by_one_loses_less_than_each_for_itself() -> None:
    """Where inputs move together, what one weight loses others make good: forecasts move a third as far."""
    common = RNG.normal(size=(400, 1))
    inputs = common + 0.1 * RNG.normal(size=(400, 12))
    weights = RNG.normal(size=(20, 12))
    codes, unit = rounded(weights, inputs.T @ inputs / len(inputs))
    together = np.abs(inputs @ (codes * unit - weights).T).mean()
    alone = np.abs(inputs @ (np.rint(weights / unit) * unit - weights).T).mean()
    assert together < alone / 3.0


@pytest.mark.parametrize("gram", [np.zeros((4, 4)), np.ones((4, 4)), np.full((4, 4), 1e-300)])
def test_inputs_that_never_change_are_no_trouble(gram: FloatArray) -> None:
    """A constant series has no products, and equal lags the same ones."""
    weights = np.array([[0.5, -0.25, 0.0, 1.0]])
    codes, unit = rounded(weights, gram)
    assert (codes * unit).sum() == pytest.approx(weights.sum(), abs=0.02)


@pytest.mark.parametrize("scale", [1e-20, 1.0, 1e20])
def test_few_lags_forecast_as_before(scale: float) -> None:
    """In codes they move the forecasts by less than a twentieth of their errors, whatever the unit."""
    values = hours() * scale
    lags, weights, intercept = fit_autoregression(values, 24, 24)
    found = rounded_lags(values, lags, weights, intercept)
    assert found is not None
    inputs, targets = rows_of(values, lags.window, 24)
    exact = (inputs[:, places(lags, 24)] * weights).sum(axis=-1) + intercept
    assert np.abs(found.of(inputs) - exact).mean() < 0.05 * np.abs(targets - exact).mean()


def test_many_lags_become_few_and_directions() -> None:
    """All weights of 48 steps become those of two lags a season and of six directions, and err no more."""
    values = hours()
    weights, intercept = fit_weights(values[:800], 48, 24)
    found = factored(values[:800], 24, weights, intercept)
    assert found is not None
    window = weights.shape[1]
    assert found.codes.shape == (48, 1 + (2 * window // 24 - 1) + 6)
    assert found.directions is not None
    assert found.directions.shape == (6, window)
    inputs, targets = rows_of(values[800 - window :], window, 48)
    exact = np.abs(inputs @ weights.T + intercept - targets).mean()
    assert np.abs(found.of(inputs) - targets).mean() < 1.1 * exact


def test_without_a_season_all_lags_stay() -> None:
    """They are sixteen at most: no directions."""
    values = hours()
    weights, intercept = fit_weights(values, 12, 1)
    found = factored(values, 1, weights, intercept)
    assert found is not None
    assert found.lags == Lags(window=weights.shape[1], season_length=1, recent=weights.shape[1] - 1)
    assert found.directions is None


def test_what_can_be_forecast_to_the_last_digit_is_not_rounded() -> None:
    """Two waves without noise follow a recurrence: rounding would be all of the error, so there are no codes."""
    times = np.arange(300.0)
    values = np.sin(times / 3.0) + np.cos(times / 7.0)
    lags = Lags(window=4, season_length=1, recent=3)
    inputs, targets = rows_of(values, 4, 2)
    solution: FloatArray = np.linalg.lstsq(inputs[:, places(lags, 2)[0]], targets, rcond=None)[0].T.astype(
        np.float64
    )
    assert rounded_lags(values, lags, solution, np.zeros(2)) is None


def test_a_constant_has_codes() -> None:
    """There is no error to compare with, and no forecast that moves."""
    weights, intercept = fit_weights(np.full(60, 5.0), 4, 12)
    found = factored(np.full(60, 5.0), 12, weights, intercept)
    assert found is not None
    assert not found.of(np.zeros(weights.shape[1])).any()
