"""Exponential smoothing: the recursion, and from which state it goes on."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from forecast_grpc.domain import FloatArray
from forecast_grpc.models import Ets
from forecast_grpc.models.recursion import MEMORY
from tests.models.examples import residuals, season, series

TRAINED = 120
HORIZON = 12


def ets(**changes: Any) -> Ets:
    """Damped additive Holt-Winters with a season of 12, or what `changes` make of it."""
    parameters: dict[str, Any] = {
        "alpha": 0.3,
        "beta": 0.05,
        "gamma": 0.1,
        "phi": 0.9,
        "level": 100.0,
        "trend": 0.2,
        "pattern": season(12, 30.0),
        "end": series(12),
    }
    return Ets(**(parameters | changes), residuals=residuals())


def by_the_book(model: Ets, values: FloatArray, horizon: int) -> list[float]:
    """The recursion as Hyndman et al. 2008 print it, season by index, from the model's final state."""
    level, trend, season_length = model.level, model.trend, model.pattern.size
    states = {index - season_length: float(state) for index, state in enumerate(model.pattern)}
    for index, value in enumerate(values):
        before, passed = states[index - season_length], level + model.phi * trend
        if model.multiplicative:
            error, change = value / before - passed, value / passed - before
        else:
            error = change = value - passed - before
        level, trend = passed + model.alpha * error, model.phi * trend + model.beta * error
        states[index] = before + model.gamma * change
    path = []
    for step in range(1, horizon + 1):
        line = level + trend * sum(model.phi**power for power in range(1, step + 1))
        season = states[len(values) - season_length + (step - 1) % season_length]
        path.append(line * season if model.multiplicative else line + season)
    return path


FACTORS = 1.0 + season(12, 0.3)
FORMS: dict[str, dict[str, Any]] = {
    "damped Holt-Winters": {},
    "Holt-Winters": {"phi": 1.0},
    "multiplicative Holt-Winters": {"phi": 1.0, "pattern": FACTORS, "multiplicative": True},
    "damped multiplicative Holt-Winters": {"pattern": FACTORS, "multiplicative": True},
    "Holt": {"phi": 1.0, "gamma": 0.0, "pattern": np.zeros(1)},
    "SES": {"phi": 1.0, "beta": 0.0, "gamma": 0.0, "trend": 0.0, "pattern": np.zeros(1)},
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("count", [0, 1, 5, 12, 30])
def test_new_observations_run_through_the_recursion(form: str, count: int) -> None:
    """A window that goes on from training resumes the final state, in every form."""
    model, window = ets(**FORMS[form]), series(count, seed=3)
    forecast = model.forecast(window, 2 * HORIZON, position=1)
    assert forecast == pytest.approx(by_the_book(model, window, 2 * HORIZON), rel=1e-12)


def test_slow_damping_is_one_step_behind() -> None:
    """With it, the trend counts phi, 2 phi, 2 phi + phi^2 times: one phi more than the steps before have."""
    model = ets(slow_damping=True, pattern=np.zeros(1), gamma=0.0)
    for each in (model, Ets.from_arrays(model.arrays())):
        path = each.forecast(model.tail, 3, 1 - model.tail.size)
        assert path == pytest.approx([100 + 0.2 * times for times in (0.9, 1.8, 1.8 + 0.81)])


def test_what_training_has_seen_counts_once() -> None:
    """A window that reaches back over training gives what its new part gives."""
    model, window = ets(), series(50, seed=3)
    overlapping = np.concatenate([np.full(20, 1e6), window])
    assert (
        model.forecast(overlapping, 5, position=-19).tolist()
        == model.forecast(window, 5, position=1).tolist()
    )


def test_a_window_that_ends_with_training_gives_the_final_state() -> None:
    """With nothing new the forecast is the state's own: what an empty request gets."""
    model = ets()
    assert model.forecast(model.tail, HORIZON, 1 - model.tail.size) == pytest.approx(
        by_the_book(model, np.array([]), HORIZON)
    )


def test_unobserved_steps_pass() -> None:
    """Three steps that nobody observed: the trend goes on, damped, and the season turns."""
    model = ets()
    later = model.forecast(np.array([100.0, 100.0, 100.0]), 1, position=4)
    level, trend = model.level, model.trend
    for _ in range(3):
        trend *= model.phi
        level += trend
    moved = ets(level=level, trend=trend, pattern=np.roll(model.pattern, -3))
    assert later == pytest.approx(moved.forecast(np.array([100.0, 100.0, 100.0]), 1, position=1))


@pytest.mark.parametrize("offset", range(12))
def test_a_window_from_anywhere_finds_its_season(offset: int) -> None:
    """Without its position a window is put where the trained pattern fits it best, at any place in the season."""
    model = ets()
    path = 100.0 + np.resize(season(12, 30.0), 200)
    window, ahead = path[offset : offset + 61], path[offset + 61 : offset + 73]
    assert model.forecast(window, HORIZON) == pytest.approx(ahead, abs=3.0)


def test_a_window_far_from_training_starts_anew_in_step() -> None:
    """A position far from training still tells the place in the season."""
    model = ets(trend=0.0)
    path = 500.0 + np.resize(season(12, 30.0), 10_000)
    forecast = model.forecast(path[5_000:5_060], HORIZON, position=5_001)
    assert forecast == pytest.approx(path[5_060:5_072], abs=1.0)


def test_a_cut_window_keeps_its_place() -> None:
    """A window longer than what is looked at gives what its end gives, with and without its position."""
    model = ets()
    window = series(900)
    assert (
        model.forecast(window, 5, 5_001).tolist()
        == model.forecast(window[-MEMORY:], 5, 5_901 - MEMORY).tolist()
    )
    assert model.forecast(window, 5).tolist() == model.forecast(window[-MEMORY:], 5).tolist()


MULTIPLICATIVE = ets(pattern=FACTORS, multiplicative=True, trend=0.0)


def test_a_multiplicative_season_survives_its_arrays() -> None:
    """The form is stored with the parameters, and a factor of zero or below is refused."""
    again = Ets.from_arrays(MULTIPLICATIVE.arrays())
    window = series(50)
    assert again.forecast(window, 30, 1).tolist() == MULTIPLICATIVE.forecast(window, 30, 1).tolist()
    with pytest.raises(ValueError, match="pattern"):
        Ets.from_arrays({**MULTIPLICATIVE.arrays(), "pattern": np.array([1.0, 0.0])})


@pytest.mark.parametrize("offset", range(12))
def test_a_multiplicative_season_scales_with_the_window(offset: int) -> None:
    """A window from anywhere, a thousand times as high as training, is forecast with its own season's size."""
    path = 1e5 * np.resize(FACTORS, 200)
    window, ahead = path[offset : offset + 61], path[offset + 61 : offset + 73]
    assert MULTIPLICATIVE.forecast(window, HORIZON) == pytest.approx(ahead, rel=0.05)


@pytest.mark.parametrize("position", [None, 1, 50])
@settings(max_examples=50)
@given(window=arrays(np.float64, 60, elements=st.floats(-(2.0**100), 2.0**100, width=32)))
def test_a_multiplicative_season_stays_finite(position: int | None, window: FloatArray) -> None:
    """Windows for which it makes no sense, of zeros and of both signs, give finite forecasts all the same."""
    assert np.isfinite(MULTIPLICATIVE.forecast(window, 3 * HORIZON, position)).all()


@pytest.mark.parametrize("name", ["smoothing", "state", "pattern", "tail"])
def test_a_missing_parameter_is_named(name: str) -> None:
    """Arrays without one of the parameters are refused, by its name."""
    left = dict(ets().arrays())
    del left[name]
    with pytest.raises(ValueError, match=name):
        Ets.from_arrays(left)


def test_smoothing_parameters_must_make_sense() -> None:
    """A smoothing parameter outside its range is refused."""
    wrong = dict(ets().arrays()) | {"smoothing": np.array([1.5, 0.0, 0.0, 1.0])}
    with pytest.raises(ValueError, match="smoothing"):
        Ets.from_arrays(wrong)
