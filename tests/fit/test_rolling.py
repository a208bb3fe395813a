"""Rolling-origin evaluation."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forecast_grpc.fit.families import FITS, FitSpec
from forecast_grpc.fit.quantiles import no_quantiles
from forecast_grpc.fit.rolling import FOLDS, MAX_ORIGINS, rolling_origin
from forecast_grpc.models.missing import fill_missing
from tests.models.examples import series

NAIVE = FITS["seasonal_naive"]
families = pytest.mark.parametrize("fit", FITS.values(), ids=FITS.keys())


def spec(horizon: int = 3, season_length: int = 1) -> FitSpec:
    """What to fit for."""
    return FitSpec(horizon=horizon, season_length=season_length)


def test_the_naive_method_on_squares_by_hand() -> None:
    """0 1 4 9 16 25, forecast from 3, 4 and 5 observations on: the last value, two steps."""
    errors = rolling_origin(NAIVE, np.arange(6.0) ** 2, spec(2))
    assert errors is not None
    assert errors.forecasts.tolist() == [[4, 4], [9, 9], [16, 16]]
    assert errors.errors[:2].tolist() == [[5, 12], [7, 16]]
    assert errors.errors[2, 0] == 9
    assert math.isnan(errors.errors[2, 1])
    accuracy = errors.accuracy()
    assert accuracy["mae"] == pytest.approx((5 + 12 + 7 + 16 + 9) / 5)
    shares = [5 / 13, 12 / 20, 7 / 25, 16 / 34, 9 / 41]
    assert accuracy["smape"] == pytest.approx(200 * sum(shares) / 5)
    assert accuracy["mase"] == pytest.approx(accuracy["mae"] / ((1 + 3) / 2))
    assert accuracy["relative_mae"] == 1.0


def test_an_error_is_relative_to_that_of_the_seasonal_naive_method() -> None:
    """From the same origins, over the same steps: the method itself has 1, and a line that is drawn on 0."""
    values = series(120)
    values[[3, 77, 90]] = np.nan
    naive = rolling_origin(NAIVE, values, spec(30, 12))
    assert naive is not None
    assert naive.naive.tolist() == naive.forecasts.tolist()
    assert naive.accuracy()["relative_mae"] == 1.0
    theta = rolling_origin(FITS["theta"], values, spec(30, 12))
    assert theta is not None
    assert theta.accuracy()["relative_mae"] == pytest.approx(theta.mae / naive.mae)
    line = rolling_origin(FITS["trend"], np.arange(60.0), spec(6))
    assert line is not None
    assert line.accuracy()["relative_mae"] == pytest.approx(0.0, abs=1e-12)


def test_without_a_season_yet_the_last_value_is_the_naive_forecast() -> None:
    """Half of a short history is less than a season: nothing to repeat but its last value."""
    errors = rolling_origin(FITS["trend"], np.arange(10.0), spec(2, 12))
    assert errors is not None
    assert errors.naive[0].tolist() == [4.0, 4.0]


@families
def test_no_forecast_knows_its_future(fit: object) -> None:
    """Changing all values after an origin changes no forecast made at it or before."""
    values, later = series(120), series(120)
    cut = 90
    later[cut:] = -1e6
    known = rolling_origin(fit, values, spec(6, 12))  # type: ignore[arg-type]
    changed = rolling_origin(fit, later, spec(6, 12))  # type: ignore[arg-type]
    assert known is not None
    assert changed is not None
    origins = 120 - known.forecasts.shape[0] + np.arange(known.forecasts.shape[0])
    before = origins <= cut
    assert before.sum() > 20
    assert known.forecasts[before].tolist() == changed.forecasts[before].tolist()
    assert known.forecasts[~before].tolist() != changed.forecasts[~before].tolist()


def test_folds_follow_each_other() -> None:
    """The model is refitted three times, each time on more of the series."""
    errors = rolling_origin(NAIVE, series(120), spec())
    assert errors is not None
    assert np.unique(errors.folds).size == FOLDS
    assert (np.diff(errors.folds) >= 0).all()


@settings(deadline=None)
@given(length=st.integers(1, 3_000), season_length=st.sampled_from([1, 4, 7, 12, 24]))
def test_origins_are_few_enough_and_not_in_step_with_the_season(length: int, season_length: int) -> None:
    """However long the series: at most 200 forecasts, and from all places in the season."""
    errors = rolling_origin(FITS["trend"], np.arange(float(length)), spec(3, season_length))
    if errors is None:
        assert length == 1
        return
    assert len(errors.forecasts) <= MAX_ORIGINS
    assert math.gcd(errors.stride, season_length) == 1


@pytest.mark.parametrize("missing", [[], [0, 1], [70, 71], [89], [0, 40, 61, 62, 63, 118, 119]])
def test_windows_are_filled_with_what_was_known(missing: list[int]) -> None:
    """Forecasts that are made at once are those of each window, filled without what came after it."""
    values = series(120)
    values[missing] = np.nan
    errors = rolling_origin(FITS["theta"], values, spec(6, 12))
    assert errors is not None
    origins = 120 - len(errors.forecasts) + np.arange(len(errors.forecasts))
    for fold in range(FOLDS):
        own = np.flatnonzero(errors.folds == fold)
        trained = fill_missing(values[: origins[own[0]]])
        model = FITS["theta"](trained, spec(6, 12), no_quantiles(6))
        alone = [model.forecast(fill_missing(values[:origin]), 6) for origin in origins[own]]
        assert errors.forecasts[own] == pytest.approx(np.array(alone), rel=1e-12)


def test_missing_outcomes_are_not_judged() -> None:
    """Where nothing was observed there is no error; windows are filled, and nothing is NaN but that."""
    values = series(60)
    values[45] = np.nan
    errors = rolling_origin(NAIVE, values, spec(1))
    assert errors is not None
    assert np.isnan(errors.errors[:, 0]).sum() == 1
    assert np.isfinite(errors.forecasts).all()


def test_a_series_of_one_value_cannot_be_measured() -> None:
    """There is nothing to hold out; nor where the first half holds no observation."""
    assert rolling_origin(NAIVE, np.array([1.0]), spec()) is None
    assert rolling_origin(NAIVE, np.array([np.nan, np.nan, 1.0, 2.0]), spec()) is None


def test_a_constant_has_no_scaled_error() -> None:
    """Its seasonal naive error is zero, and a share of zero is no number: `mase` is left out."""
    errors = rolling_origin(NAIVE, np.full(60, 5.0), spec())
    assert errors is not None
    assert errors.accuracy() == {"mae": 0.0, "smape": 0.0, "coverage_80": 1.0}


def test_the_interval_covers_what_it_promises() -> None:
    """On a random walk, the naive method's 80 % interval is judged to cover about 80 %."""
    walk = np.cumsum(np.random.default_rng(11).normal(size=1500))
    errors = rolling_origin(NAIVE, walk, spec(2))
    assert errors is not None
    assert errors.accuracy()["coverage_80"] == pytest.approx(0.8, abs=0.08)
