"""The weights of the linear family."""

import numpy as np
import pytest

from forecast_grpc.domain import FloatArray
from forecast_grpc.fit import SeriesError
from forecast_grpc.fit.ridge import (
    _held_out_errors,
    _Moments,
    _seasonal_naive_weights,
    _Setting,
    _settings,
    _solve,
    fit_weights,
    rows_of,
)
from tests.models.examples import series


def test_the_solution_is_that_of_penalised_least_squares() -> None:
    """The closed form equals least squares with the penalty as extra rows, intercept not penalised."""
    inputs, targets = rows_of(series(90), 24, 5)
    setting = _Setting(window=24, strength=0.3, prior=12)
    weights, intercept = _solve(_Moments.of(inputs, targets), setting, 24)
    root = np.sqrt(0.3 * (inputs**2).sum(axis=0).mean())
    prior = _seasonal_naive_weights(5, 24, 12)
    rows = np.vstack([np.column_stack([inputs, np.ones(len(inputs))]), np.eye(24, 25) * root])
    sought = np.vstack([targets, root * prior.T])
    solution = np.linalg.lstsq(rows, sought, rcond=None)[0]
    assert weights == pytest.approx(solution[:24].T, abs=1e-9)
    assert intercept == pytest.approx(solution[24], abs=1e-9)


def test_a_strong_prior_is_the_seasonal_naive_method() -> None:
    """Shrunk without end, the weights repeat the last season."""
    values = series(120)
    setting = _Setting(window=24, strength=1e12, prior=12)
    weights, _ = _solve(_Moments.of(*rows_of(values, 24, 15)), setting, 24)
    repeated = weights @ (values[-24:] - values[-1]) + values[-1]
    assert repeated == pytest.approx(np.resize(values[-12:], 15), rel=1e-6)


def test_settings_are_judged_by_the_weights_that_they_would_give() -> None:
    """The errors by principal components are those of forecasts with the solved weights."""
    inputs, targets = rows_of(series(150), 24, 5)
    moments = _Moments.of(inputs[:90], targets[:90])
    settings = list(_settings((12, 24), 12))
    errors = list(_held_out_errors(moments, inputs[95:], targets[95:], settings))
    for setting, error in zip(settings, errors, strict=True):
        weights, intercept = _solve(moments, setting, 24)
        assert error == pytest.approx(np.abs(inputs[95:] @ weights.T + intercept - targets[95:]).mean())


def test_a_season_too_long_is_refused() -> None:
    """A day of minutes would take a matrix of millions."""
    with pytest.raises(SeriesError, match="too long"):
        fit_weights(series(5000), 10, 1440)


def test_a_shorter_window_is_padded_with_zeros() -> None:
    """Older lags have no weight, and the others the same as alone."""
    moments = _Moments.of(*rows_of(series(90), 24, 5))
    setting = _Setting(window=10, strength=0.1, prior=0)
    wide, _ = _solve(moments, setting, 24)
    narrow, _ = _solve(moments, setting, 10)
    assert not wide[:, :14].any()
    assert wide[:, 14:].tolist() == narrow.tolist()


def test_a_recurrence_is_learnt() -> None:
    """Two waves of different periods follow a linear recurrence: what comes next is forecast within 2 %."""
    times = np.arange(400.0)
    values: FloatArray = 10.0 * np.sin(times / 3.0) + 5.0 * np.cos(times / 7.0)
    weights, intercept = fit_weights(values[:380], 20, 1)
    window = values[380 - weights.shape[1] : 380]
    forecast = weights @ (window - window[-1]) + intercept + window[-1]
    assert np.abs(forecast - values[380:]).max() < 0.3


@pytest.mark.parametrize("scale", [1e-25, 1.0, 1e25])
def test_the_unit_changes_nothing(scale: float) -> None:
    """The same series in another unit has the same weights; the intercept is in the unit."""
    weights, intercept = fit_weights(series(150), 12, 12)
    scaled, in_unit = fit_weights(series(150) * scale, 12, 12)
    assert scaled == pytest.approx(weights, rel=1e-6, abs=1e-9)
    assert in_unit / scale == pytest.approx(intercept, rel=1e-6, abs=1e-6)


def test_a_straight_line_leaves_no_wild_weights() -> None:
    """Its centred inputs are nothing but rounding; dividing by their squares would multiply it by 10^16."""
    line = np.linspace(861.0, 903.0, 15)
    weights, intercept = fit_weights(line, 6, 1)
    assert np.abs(weights).max() < 10.0
    assert np.abs(intercept).max() < 100.0


@pytest.mark.parametrize(("count", "season_length"), [(8, 1), (19, 12)])
def test_the_shortest_series(count: int, season_length: int) -> None:
    """One window and two targets are enough; one value less is refused."""
    horizon = 5
    weights, _ = fit_weights(series(count), horizon, season_length)
    assert weights.shape == (horizon, season_length + 1)
    with pytest.raises(SeriesError, match="too few"):
        fit_weights(series(count - 1), horizon, season_length)
