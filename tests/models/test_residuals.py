"""From stored error quantiles to offsets at any level and horizon."""

from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from forecast_grpc.domain import FloatArray
from forecast_grpc.models.residuals import LEVELS, NAME, ResidualQuantiles
from tests.models.examples import residuals

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
