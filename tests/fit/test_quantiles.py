"""From errors to quantiles."""

from statistics import NormalDist

import numpy as np
import pytest
from scipy.stats import t

from forecast_grpc.fit.quantiles import (
    _shape,
    _shapes,
    estimate_quantiles,
    no_quantiles,
    random_walk_quantiles,
)
from forecast_grpc.models.residuals import LEVELS

RNG = np.random.default_rng(5)


def test_many_errors_give_their_quantiles() -> None:
    """Of thousands of independent errors the quantiles are theirs, whatever their shape, bias and size."""
    errors = np.stack([RNG.exponential(2.0, 20_000) - 1.0, 10.0 * RNG.normal(size=20_000)], axis=1)
    offsets = estimate_quantiles(errors, 1).offsets
    for step in range(2):
        exact = np.quantile(errors[:, step], LEVELS)
        assert offsets[:, step] == pytest.approx(exact, rel=0.02, abs=0.02)


@pytest.mark.parametrize("count", [8, 9, 40, 101])
def test_quantiles_are_median_unbiased(count: int) -> None:
    """Read from a sample as numpy reads them by that method."""
    pool = RNG.normal(size=count)
    assert _shape(pool) == pytest.approx(np.quantile(pool, LEVELS, method="median_unbiased"))


def test_many_errors_are_read_as_few_are() -> None:
    """With nothing to pool all horizons are read at once: the same quantiles as those of each horizon alone."""
    errors = RNG.normal(size=(130, 9)) * np.arange(1.0, 10.0)
    # The last origins have not seen their far horizons.
    errors[np.arange(130)[:, None] + np.arange(9) >= 130] = np.nan
    at_once, mirrored = _shapes(errors)
    for step in range(9):
        pool = errors[~np.isnan(errors[:, step]), step]
        assert at_once[:, step] == pytest.approx(_shape(pool), rel=1e-12)
        assert mirrored[:, step] == pytest.approx(_shape(np.concatenate([pool, -pool])), rel=1e-12)


def test_few_errors_are_widened() -> None:
    """What looks the same in few independent errors as in many is less certain: by Student's t."""
    errors = np.tile([[1.0], [-1.0]], (20, 1))
    few = estimate_quantiles(np.repeat(errors, 10, axis=1), 1).offsets
    many = estimate_quantiles(np.repeat(errors, 10, axis=1), 1_000_000).offsets
    independent = 40 / np.arange(1, 11)
    for level in (0.8, 0.95, 0.975):
        place = LEVELS.index(level)
        ratio = t.ppf(level, independent) / NormalDist().inv_cdf(level)
        assert few[place] / many[place] == pytest.approx(ratio, rel=0.03)


def test_overlapping_errors_are_few() -> None:
    """Errors of 40 forecasts that overlap by their 20 steps are as good as two: their bias is hardly believed."""
    biased = np.full((40, 20), 5.0) + RNG.normal(size=(40, 20))
    offsets = estimate_quantiles(biased, 1).offsets
    median = offsets[LEVELS.index(0.5)]
    assert median[0] > 3.0
    assert abs(median[-1]) < 2.0
    assert offsets[0, -1] < 0.0 < offsets[-1, -1]


def test_neighbouring_horizons_lend_their_shape() -> None:
    """With 20 errors a horizon, the quantiles of all are pooled, and each keeps its own size."""
    sizes = np.array([1.0, 10.0, 100.0])
    offsets = estimate_quantiles(RNG.normal(size=(20, 3)) * sizes, 20).offsets
    spread = offsets[-1] - offsets[0]
    assert spread / spread[0] == pytest.approx(sizes, rel=0.6)


def test_a_horizon_without_errors_grows_on() -> None:
    """Steps that no outcome reached have the size of the last one observed, growing with the square root."""
    errors = np.where(np.arange(8) < 2, RNG.normal(size=(500, 1)), np.nan)
    offsets = estimate_quantiles(errors, 1).offsets
    assert np.isfinite(offsets).all()
    assert np.ptp(offsets[:, 7]) > 1.8 * np.ptp(offsets[:, 1])


def test_hardly_any_errors_are_taken_for_those_of_a_normal_curve() -> None:
    """Of three errors no quantile can be read, but a size."""
    offsets = estimate_quantiles(np.array([[1.0], [-1.0], [1.0]]), 1).offsets[:, 0]
    student = t.ppf(LEVELS, 3)
    assert offsets == pytest.approx(student, rel=0.07, abs=1e-6)


@pytest.mark.parametrize("errors", [np.zeros((50, 3)), np.full((5, 3), np.nan), np.empty((0, 3))])
def test_no_errors_are_no_offsets(errors: np.ndarray) -> None:
    """A model that never erred, or was never measured, has quantiles on its forecast."""
    assert not estimate_quantiles(errors, 1).offsets.any()


def test_quantiles_rise_with_the_level() -> None:
    """For errors of any number and shape."""
    for count in (1, 5, 9, 40, 300):
        offsets = estimate_quantiles(RNG.standard_cauchy((count, 6)), 1).offsets
        assert (np.diff(offsets, axis=0) >= 0.0).all()


def test_a_random_walk_stands_in_for_what_cannot_be_measured() -> None:
    """Normal, of the size of the changes, growing with the square root of the horizon."""
    offsets = random_walk_quantiles(np.array([0.0, 3.0, 0.0, -3.0]), 4).offsets
    # Stored in float16.
    expected = 3.0 * NormalDist().inv_cdf(0.975) * np.sqrt(np.arange(1, 5))
    assert offsets[-1] == pytest.approx(expected, rel=1e-3)
    assert not random_walk_quantiles(np.array([7.0]), 4).offsets.any()
    assert no_quantiles(4).offsets.shape == (len(LEVELS), 4)
