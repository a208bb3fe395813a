"""From stored error quantiles to offsets at any level and horizon."""

from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from forecast_grpc.domain import FloatArray
from forecast_grpc.models.residuals import LEVELS, NAME, SCORES, ResidualQuantiles
from tests.models.examples import knots, residuals

levels = st.floats(1e-9, 1.0 - 1e-9)
offsets = arrays(np.float32, (len(LEVELS), 3), elements=st.floats(-(2.0**100), 2.0**100, width=32))


def test_normal_errors_are_met_at_every_level() -> None:
    """Between the stored levels and beyond them, normal errors have normal quantiles."""
    asked = (0.001, 0.03, 0.4, 0.5, 0.77, 0.96, 0.9999)
    exact = [3.0 * NormalDist().inv_cdf(level) for level in asked]
    assert residuals(1, size=3.0).at(asked, 1)[:, 0] == pytest.approx(exact, rel=1e-6, abs=1e-9)


def test_stored_levels_come_back_as_they_are() -> None:
    """At a level of the grid no arithmetic touches the stored value."""
    stored = residuals()
    assert stored.at(LEVELS, 7).tolist() == stored.offsets.astype(np.float64).tolist()


def test_beyond_the_fitted_horizon_they_widen_with_the_square_root() -> None:
    """At 4 H the offsets are twice those at H."""
    widened = residuals(5).at((0.1, 0.9), 20)
    assert widened.shape == (2, 20)
    assert widened[:, 19] == pytest.approx(2.0 * widened[:, 4])


@settings(deadline=None)
@given(stored=offsets, asked=st.lists(levels, min_size=2, max_size=6), horizon=st.integers(1, 6))
def test_a_higher_level_never_lies_below(stored: FloatArray, asked: list[float], horizon: int) -> None:
    """Whatever errors were measured, biased ones too, quantiles do not cross."""
    quantiles = ResidualQuantiles(np.sort(stored, axis=0).astype(np.float32))
    rows = quantiles.at(tuple(sorted(asked)), horizon)
    assert (np.diff(rows, axis=0) >= 0.0).all()


@settings(deadline=None)
@given(asked=st.permutations([0.1, 0.5, 0.9, 0.99]))
def test_levels_answer_in_the_order_of_asking(asked: list[float]) -> None:
    """Each row belongs to the level at its place."""
    together = residuals().at(tuple(asked), 4)
    assert together.tolist() == [residuals().at((level,), 4)[0].tolist() for level in asked]


def test_quantiles_that_fall_with_the_level_are_refused() -> None:
    """A publisher that stored them in another order is told so; NaN is no order either."""
    stored = residuals().offsets
    for wrong in (stored[::-1], np.full_like(stored, np.nan)):
        with pytest.raises(ValueError, match="rise"):
            ResidualQuantiles.from_arrays({NAME: wrong})


def test_another_number_of_levels_is_refused() -> None:
    """The grid of levels is part of the format."""
    with pytest.raises(ValueError, match="levels"):
        ResidualQuantiles.from_arrays({NAME: residuals().offsets[1:]})


def test_a_few_steps_stand_for_all() -> None:
    """Errors that grow as a random walk's are met at every step, at an eighth of the bytes."""
    every, few = residuals(48), knots(48)
    assert few.table.nbytes < every.table.nbytes / 6
    assert few.at(LEVELS, 100) == pytest.approx(every.at(LEVELS, 100), rel=2e-3)
    assert few.offsets.shape == (len(LEVELS), 48)


@pytest.mark.parametrize("horizon", [1, 2, 5, 12])
def test_short_horizons_keep_every_step(horizon: int) -> None:
    """Up to twelve; float16 rounds them to half a thousandth."""
    rough = np.sort(np.random.default_rng(3).normal(size=(len(LEVELS), horizon)), axis=0)
    few = ResidualQuantiles.at_knots(rough)
    assert few.offsets == pytest.approx(rough, rel=1e-3, abs=1e-6)


def test_a_horizon_longer_than_float16_counts_is_reached() -> None:
    """The last step stored is 2,048; beyond it the offsets grow as a random walk's."""
    few = knots(3_000)
    assert few.at((0.9,), 4_000)[0, -1] == pytest.approx(residuals(4_000).at((0.9,), 4_000)[0, -1], rel=2e-3)


@pytest.mark.parametrize("size", [1e-300, 1e-30, 1.0, 1e30])
def test_steps_hold_errors_of_any_size(size: float) -> None:
    """A power of two takes them into float16's range."""
    exact = np.outer(SCORES, [size, 2.0 * size])
    assert ResidualQuantiles.at_knots(exact).offsets == pytest.approx(exact, rel=1e-3, abs=1e-310)


@settings(deadline=None)
@given(stored=offsets, asked=st.lists(levels, min_size=2, max_size=6), horizon=st.integers(1, 40))
def test_a_higher_level_never_lies_below_between_steps(
    stored: FloatArray, asked: list[float], horizon: int
) -> None:
    """Quantiles do not cross where they are read between two stored steps either."""
    spread = np.sort(stored, axis=0).astype(np.float64)[:, np.arange(30) % 3]
    rows = ResidualQuantiles.at_knots(spread).at(tuple(sorted(asked)), horizon)
    assert (np.diff(rows, axis=0) >= 0.0).all()


@pytest.mark.parametrize(
    ("row", "values"),
    [
        (0, [1, 1, 3, 4, 5, 6, 7]),
        (0, [0, 1, 2, 3, 4, 5, 6]),
        (0, [1, 2.5, 3, 4, 5, 6, 7]),
        (0, [1, 2, 3, 4, 5, 6, np.nan]),
        (0, [1, 2, 3, 4, 5, 6, np.inf]),
        (1, [2] * 6 + [3]),
        (1, [0.5] * 7),
        (1, [np.nan] * 7),
    ],
)
def test_steps_and_exponents_that_are_none_are_refused(row: int, values: list[float]) -> None:
    """Steps rise from 1 in whole numbers, and there is one exponent, a whole number."""
    table = np.array(ResidualQuantiles.at_knots(np.outer(SCORES, np.ones(7))).table)
    table[2:] = table[2:, :1]
    table[0] = range(1, 8)
    assert ResidualQuantiles.from_arrays({NAME: table}).at((0.5,), 7).shape == (1, 7)
    table[row] = values
    with pytest.raises(ValueError, match="steps"):
        ResidualQuantiles.from_arrays({NAME: table})
