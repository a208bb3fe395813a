"""What covariates add to a forecast."""

from dataclasses import replace

import numpy as np
import pytest

from forecast_grpc.models import Linear
from forecast_grpc.models.covariates import Regression
from tests.models.examples import HORIZON, linear, residuals, series

LAGS = 24
RNG = np.random.default_rng(3)


def with_covariates(effects: list[list[float]], past: int = 0) -> Linear:
    """The example with the effects of covariates, of which it saw `past` steps in training."""
    tail = np.arange(float(len(effects) * past)).reshape(len(effects), past)
    return replace(linear(LAGS), regression=Regression(effects=np.array(effects), tail=tail))


def test_what_covariates_explain_is_taken_off_and_added() -> None:
    """The model forecasts the rest of the window as it would without covariates, and their effect comes on top."""
    model, plain = with_covariates([[3.0], [-0.5]], past=LAGS), linear(LAGS)
    covariates = RNG.normal(size=(2, LAGS + HORIZON))
    effect = 3.0 * covariates[0] - 0.5 * covariates[1]
    rest = series(LAGS)
    forecast = model.forecast(rest + effect[:LAGS], HORIZON, None, covariates)
    assert forecast == pytest.approx(plain.forecast(rest, HORIZON) + effect[LAGS:], rel=1e-12)


def test_an_effect_may_last() -> None:
    """By hand: a value works on its own step, half as much on the next, and on none after that."""
    model = with_covariates([[1.0, 0.5]])
    covariates = np.zeros((1, HORIZON))
    covariates[0, 2] = 8.0
    change = model.forecast(series(30), HORIZON, None, covariates) - linear(LAGS).forecast(
        series(30), HORIZON
    )
    assert change == pytest.approx([0.0, 0.0, 8.0, 4.0, 0.0, 0.0, 0.0], abs=1e-9)


def test_lasting_effects_of_the_past_need_as_many_more_values() -> None:
    """With a window of L and effects over Q steps, L + Q - 1 past values are looked at."""
    model = with_covariates([[1.0, 0.5]], past=LAGS + 1)
    assert model.min_length == LAGS + 1
    covariates = RNG.normal(size=(1, LAGS + 1 + HORIZON))
    effect = covariates[0, 1:] + 0.5 * covariates[0, :-1]
    window = series(LAGS + 1)
    told = linear(LAGS).forecast(window[1:] - effect[:LAGS], HORIZON) + effect[LAGS:]
    assert model.forecast(window, HORIZON, None, covariates) == pytest.approx(told, rel=1e-12)


def test_an_autoregression_with_exogenous_inputs_is_one_of_these() -> None:
    """y[t] = 0.6 y[t-1] + 0.2 y[t-2] + 2 x[t] + 1: its recursive forecasts, from the impulse response alone."""
    response = [1.0, 0.6]
    for _ in range(18):
        response.append(0.6 * response[-1] + 0.2 * response[-2])
    model = Linear(
        weights=np.array([[0.2, 0.6]]),
        intercept=np.array([1.0]),
        end=np.zeros(2),
        residuals=residuals(1),
        anchored=False,
        regression=Regression(effects=2.0 * np.array([response]), tail=np.empty((1, 0))),
    )
    future = RNG.normal(size=(1, 20))
    path = [3.0, 4.0]
    for value in future[0]:
        path.append(0.6 * path[-1] + 0.2 * path[-2] + 2.0 * value + 1.0)
    assert model.forecast(np.array([3.0, 4.0]), 20, None, future) == pytest.approx(path[2:], rel=1e-12)


@pytest.mark.parametrize("past", [0, LAGS])
def test_the_first_steps_do_not_depend_on_how_many_follow(past: int) -> None:
    """A longer forecast starts with the shorter one, to the last bit."""
    model = with_covariates([[0.1], [0.7], [1.3]], past)
    covariates = RNG.normal(size=(3, past + 60))
    longest = model.forecast(series(LAGS), 60, None, covariates)
    for horizon in range(1, 60):
        shorter = model.forecast(series(LAGS), horizon, None, covariates[:, : past + horizon])
        assert shorter.tolist() == longest[:horizon].tolist()


@pytest.mark.parametrize(
    ("effects", "past"), [([[3.0], [0.1]], LAGS), ([[0.5, 0.25]], LAGS + 1), ([[1.0]], 0)]
)
def test_parameters_make_the_same_model_again(effects: list[list[float]], past: int) -> None:
    """Effects and tail come back to the last bit, whatever the bytes that they were kept in."""
    model = with_covariates(effects, past)
    assert model.regression is not None
    for tail in (model.regression.tail, model.regression.tail + 0.1):
        regression = Regression(effects=model.regression.effects, tail=tail)
        again = Linear.from_arrays(replace(model, regression=regression).arrays()).regression
        assert again is not None
        assert again.effects.tolist() == effects
        assert again.tail.tolist() == tail.tolist()


def test_whole_numbers_and_flags_take_half_the_bytes() -> None:
    """Float32 where it holds every value to the last bit."""
    flags = Regression(effects=np.ones((1, 1)), tail=np.ones((1, 8)))
    prices = Regression(effects=np.ones((1, 1)), tail=np.full((1, 8), 9.99))
    assert flags.arrays()["covariate_tail"].nbytes == 32
    assert prices.arrays()["covariate_tail"].nbytes == 64


def test_shapes_that_do_not_fit_are_refused() -> None:
    """A tail of other covariates or another window, and a tail without effects, are no model."""
    arrays = with_covariates([[3.0], [0.1]], LAGS).arrays()
    for wrong in (arrays["covariate_tail"][:1], arrays["covariate_tail"][:, 1:]):
        with pytest.raises(ValueError, match="covariate_tail"):
            Linear.from_arrays({**arrays, "covariate_tail": wrong})
    arrays.pop("covariate_effects")
    with pytest.raises(ValueError, match="covariate_effects is missing"):
        Linear.from_arrays(arrays)


def test_it_never_forecasts_without_them() -> None:
    """Covariates that are not given are not taken for zeros."""
    with pytest.raises(ValueError, match="with covariates only"):
        with_covariates([[1.0]]).forecast(series(LAGS), 1)
