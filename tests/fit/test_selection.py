"""Which families are combined, and with which weights."""

import numpy as np
import pytest

from forecast_grpc.fit.families import FITS, FitSpec
from forecast_grpc.fit.quantiles import no_quantiles
from forecast_grpc.fit.rolling import rolling_origin
from forecast_grpc.fit.selection import USUAL, fit_combination, mean_errors, measure, measure_all, weigh
from forecast_grpc.models import Combination
from tests.models.examples import series

SPEC = FitSpec(horizon=6, season_length=12)
VALUES = series(120)


def test_weights_fall_with_the_fourth_power_of_the_error() -> None:
    """Each weight is that power of the ratio to the best, the sum is 1, and nobody weighs less than 0.3 of it."""
    measured = measure_all(VALUES, SPEC)
    weights = weigh(measured)
    best = max(weights, key=weights.__getitem__)
    assert best == min(measured, key=lambda family: measured[family].mae)
    assert sum(weights.values()) == pytest.approx(1.0)
    assert 1 < len(weights) <= 3
    for family, weight in weights.items():
        assert weight / weights[best] == pytest.approx((measured[best].mae / measured[family].mae) ** 4)
        assert weight >= 0.3 * weights[best]


def test_a_mean_of_forecasts_has_the_mean_of_their_errors() -> None:
    """What is measured is what is served: a combination refitted in each fold errs the same."""
    measured = measure_all(VALUES, SPEC)
    weights = weigh(measured)
    found = mean_errors(measured, weights)
    again = rolling_origin(
        lambda values, spec, residuals: fit_combination(weights, values, spec, residuals), VALUES, SPEC
    )
    assert found is not None
    assert again is not None
    assert found.forecasts == pytest.approx(again.forecasts)
    assert np.array_equal(found.outcomes, again.outcomes, equal_nan=True)


def test_exact_candidates_share_alike() -> None:
    """A constant is forecast without an error by several: there is no ratio, and no division by zero."""
    weights = weigh(measure_all(np.full(60, 7.0), SPEC))
    assert list(weights.values()) == pytest.approx([1.0 / len(weights)] * len(weights))


def test_what_cannot_be_measured_is_theta() -> None:
    """One observation leaves nothing to hold out."""
    assert measure_all(np.ones(1), SPEC) == {}
    assert weigh({}) == {USUAL: 1.0}
    assert mean_errors({}, {USUAL: 1.0}) is None
    assert measure("seasonal_ar", np.arange(9.0), SPEC) is None


def test_one_family_is_no_combination() -> None:
    """It is served as itself."""
    residuals = no_quantiles(6)
    assert fit_combination({"theta": 1.0}, VALUES, SPEC, residuals).family == "theta"
    both = fit_combination({"theta": 0.5, "trend": 0.5}, VALUES, SPEC, residuals)
    assert isinstance(both, Combination)
    assert [member.family for member in both.members] == ["theta", "trend"]


def test_dense_weights_are_for_covariates_alone() -> None:
    """`linear` is a candidate where there are covariates, and not among the others: its artefact is large."""
    assert "linear" not in measure_all(VALUES, SPEC)
    covariates = np.sin(np.arange(126.0))[np.newaxis]
    spec = FitSpec(horizon=6, season_length=12, covariates=covariates)
    assert "linear" in measure_all(VALUES, spec)
    assert set(measure_all(VALUES, spec)) <= set(FITS)
