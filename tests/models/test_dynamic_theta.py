"""The dynamic Theta method: its recursion, and from which state it goes on."""

from dataclasses import replace

import numpy as np
import pytest

from forecast_grpc.domain import FloatArray
from forecast_grpc.models import DynamicTheta
from tests.models.examples import residuals, season, series

ALPHA, THETA = 0.3, 2.5


def trained(values: FloatArray) -> DynamicTheta:
    """The state after these values, computed from all of them at once: mean, line through them, smoothed level."""
    level = values[0]
    for value in values:
        level += ALPHA * (value - level)
    slope, _ = np.polyfit(np.arange(values.size), values, 1)
    return DynamicTheta(
        alpha=ALPHA,
        theta=THETA,
        level=float(level),
        mean=float(values.mean()),
        slope=float(slope),
        count=values.size,
        pattern=np.zeros(1),
        end=values[-2:].copy(),
        residuals=residuals(),
    )


def test_the_state_is_that_of_all_observations() -> None:
    """Resuming over new values gives mean, line and level of the whole series, and so its forecast."""
    values = series(150)
    resumed = trained(values[:100]).forecast(values[100:], 20, position=1)
    whole = trained(values)
    assert resumed == pytest.approx(whole.forecast(whole.tail, 20, position=-1), rel=1e-9)


def test_what_training_has_seen_counts_once() -> None:
    """A window that reaches back over training gives what its new part gives."""
    model, values = trained(series(100)), series(30, seed=2)
    reaching = np.concatenate([np.full(20, 1e6), values])
    assert model.forecast(reaching, 9, -19).tolist() == model.forecast(values, 9, 1).tolist()


@pytest.mark.parametrize("multiplicative", [False, True])
def test_the_season_goes_round(multiplicative: bool) -> None:
    """New observations are adjusted by the trained pattern, which goes on after them where they stop."""
    plain, pattern = trained(series(100)), season(12, 0.3) + multiplicative
    model = replace(plain, pattern=pattern, multiplicative=multiplicative)
    new, ahead = series(17, seed=2), np.resize(pattern, 17 + 30)
    seasonal = new * ahead[:17] if multiplicative else new + ahead[:17]
    expected = plain.forecast(new, 30, 1)
    expected = expected * ahead[17:] if multiplicative else expected + ahead[17:]
    for each in (model, DynamicTheta.from_arrays(model.arrays())):
        assert each.forecast(seasonal, 30, 1) == pytest.approx(expected, rel=1e-12)


def test_a_window_from_elsewhere_keeps_the_drift() -> None:
    """Far from training, or without a place, the level is the window's, and the line rises as trained."""
    model = trained(series(100) + np.arange(100.0))
    rise = (1 - 1 / THETA) * model.slope
    for position in (None, 5_000):
        path = model.forecast(np.full(60, 1e4), 10, position)
        assert np.diff(path) == pytest.approx(rise)
        assert path[0] == pytest.approx(1e4, rel=0.01)


@pytest.mark.parametrize(
    ("name", "values"),
    [("smoothing", [0.0, 2.0]), ("smoothing", [0.5, 0.9]), ("state", [1.0, 1.0, 1.0, 0.0])],
)
def test_parameters_must_make_sense(name: str, values: list[float]) -> None:
    """A smoothing parameter outside its range, and a state after no observation, are refused."""
    with pytest.raises(ValueError, match="smoothing"):
        DynamicTheta.from_arrays({**trained(series(20)).arrays(), name: np.array(values)})


def test_factors_are_above_zero() -> None:
    """A multiplicative pattern with a factor of zero is refused."""
    model = replace(trained(series(20)), pattern=np.array([1.0, 0.0]), multiplicative=True)
    with pytest.raises(ValueError, match="pattern"):
        DynamicTheta.from_arrays(model.arrays())
