"""A series in, a fitted and measured model out."""

import warnings
from datetime import UTC, datetime

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from forecast_grpc.artefact import decode
from forecast_grpc.domain import FloatArray, ForecastQuery
from forecast_grpc.fit import AUTO, FAMILY_CHOICES, Series, SeriesError, fit_series
from forecast_grpc.forecasting import answer
from forecast_grpc.models import FAMILIES
from forecast_grpc.models.missing import fill_missing
from tests.models.examples import series

families = pytest.mark.parametrize("family", FAMILY_CHOICES)
EMPTY = ForecastQuery(sequence=np.empty(0), quantile_levels=(0.1, 0.5, 0.9))


def fitted_without_warnings(values: FloatArray, family: str, season_length: int = 4) -> FloatArray:
    """Fits, encodes, decodes and asks; gives the forecast, having seen that all of it is finite."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = fit_series(Series(values=values), family=family, horizon=5, season_length=season_length)
        served = decode(model.encode(1), "c")
        result = answer(served, EMPTY, max_horizon=100)
        told = served.forecaster.forecast(fill_missing(values), 5, 1 - values.size)
    assert told.tolist() == result.forecast.tolist()
    assert np.isfinite([quantile.values for quantile in result.quantiles]).all()
    return result.forecast


def test_every_family_can_be_fitted() -> None:
    """And `auto` beside them; graphs come from elsewhere."""
    assert set(FAMILY_CHOICES) == {AUTO, *FAMILIES} - {"combination", "dynamic_theta", "onnx"}


@families
@pytest.mark.parametrize(
    "values",
    [
        np.full(40, 5.0),
        np.zeros(40),
        np.full(40, 0.1),
        -series(60),
        np.append(np.full(40, 7.0), 8.0),
        series(60) * 1e-12,
        series(60) * 1e25,
        np.array([0.0] * 20 + [3.0] + [0.0] * 20),
        1e9 + series(60),
        np.arange(40.0),
        np.where(np.arange(60) % 9 == 4, np.nan, series(60)),
    ],
    ids=[
        "constant",
        "zero",
        "a constant that binary does not hold",
        "negative",
        "nearly constant",
        "tiny",
        "huge",
        "one sale",
        "far from zero",
        "a line",
        "gaps",
    ],
)
def test_odd_series_are_fitted_and_forecast(family: str, values: FloatArray) -> None:
    """Every family fits every series of 40 values without a warning; an empty request is one with all of it."""
    fitted_without_warnings(values, family)


@settings(deadline=None, max_examples=60)
@given(
    values=arrays(np.float64, st.integers(25, 45), elements=st.floats(-(2.0**60), 2.0**60, width=32)),
    family=st.sampled_from(FAMILY_CHOICES),
)
def test_any_finite_series_is_fitted(values: FloatArray, family: str) -> None:
    """Whatever 25 finite values are, each family forecasts them without a warning."""
    fitted_without_warnings(values, family)


@pytest.mark.parametrize("count", range(1, 25))
def test_a_short_series_is_fitted_or_refused_in_words(count: int) -> None:
    """From one value on `auto` finds a model; a family that cannot be fitted says so."""
    assert fitted_without_warnings(series(count), AUTO).shape == (5,)
    for family in FAMILY_CHOICES:
        try:
            fitted_without_warnings(series(count), family)
        except SeriesError as exc:
            assert str(count) in str(exc)  # noqa: PT017 - both ends are right, by the count.


def test_a_constant_is_forecast_as_itself() -> None:
    """By every family, with every quantile on it."""
    for family in FAMILY_CHOICES:
        model = fit_series(Series(values=np.full(60, 4.2)), family=family, horizon=5, season_length=12)
        result = answer(decode(model.encode(1), "c"), EMPTY, max_horizon=100)
        for values in (result.forecast, *(quantile.values for quantile in result.quantiles)):
            assert values == pytest.approx(np.full(5, 4.2))


def test_a_line_goes_on() -> None:
    """The trend family follows a straight line exactly, and so does what `auto` finds."""
    line = np.linspace(3.0, 121.0, 60)
    for family in ("trend", AUTO):
        forecast = fitted_without_warnings(line, family, 1)
        assert forecast == pytest.approx([123, 125, 127, 129, 131])


def test_weights_that_diverge_are_bounded_to_their_horizon() -> None:
    """Growth by 8 % a step is learnt, and would be 10^33 after a thousand; a wave goes on for ever."""
    growth = fit_series(Series(values=1.08 ** np.arange(60.0)), family="linear", horizon=6, season_length=1)
    assert growth.forecaster.max_horizon == 6
    wave = fit_series(Series(values=series(120)), family="linear", horizon=6, season_length=12)
    assert wave.forecaster.max_horizon is None


def test_small_numbers_keep_their_digits() -> None:
    """A series of thousandths is not rounded to the tutorial's two decimals; one of hundreds is."""
    for scale, slope in ((1e-5, 3e-5), (100.0, 333.33)):
        values = scale * np.linspace(5.0, 5.0 + 29 * 3.3333333, 30)
        model = fit_series(Series(values=values), family="trend", horizon=1, season_length=1)
        expected = values[-1] + scale * 3.3333333
        assert model.forecaster.forecast(values, 1)[0] == pytest.approx(expected, abs=slope / 100)


def test_the_artefact_says_all_that_is_known() -> None:
    """Season and horizon from the frequency, the times, the accuracy, and the version that the store gives."""
    moment = datetime(2026, 5, 4, 3, 2, 1, 999, tzinfo=UTC)
    history = Series(values=series(120), frequency="P1M", state_time="2026-04-01T00:00:00Z")
    model = fit_series(history, family="theta", trained_time=moment)
    metadata = decode(model.encode(17), "c").metadata
    assert (metadata.family, metadata.model_version) == ("theta", 17)
    assert (metadata.season_length, metadata.horizon, metadata.min_length) == (12, 18, 12)
    assert (metadata.frequency, metadata.state_time) == ("P1M", "2026-04-01T00:00:00Z")
    assert metadata.trained_time == moment.replace(microsecond=0)
    assert metadata.accuracy.keys() == {"mae", "smape", "mase", "relative_mae", "coverage_80"}
    assert metadata.accuracy == model.metadata.accuracy


def test_fitting_again_gives_the_same_bytes() -> None:
    """Nothing is drawn at random: equal history and time give an equal artefact."""
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    first, again = (fit_series(Series(values=series(200)), trained_time=moment).encode(1) for _ in range(2))
    assert first == again


def test_plain_steps_have_their_season_guessed() -> None:
    """Without a frequency the season shows in the series itself, and is the default horizon."""
    model = fit_series(Series(values=series(200)), family="seasonal_naive")
    assert (model.metadata.season_length, model.metadata.horizon) == (12, 12)


def test_auto_takes_what_errs_least() -> None:
    """A recurrence that only the autoregression can learn is given to it alone; of noise several say as much."""
    times = np.arange(300.0)
    waves = Series(values=10.0 * np.sin(times / 3.0) + 5.0 * np.cos(times / 7.0))
    assert fit_series(waves, horizon=10, season_length=1).metadata.family == "seasonal_ar"
    noise = Series(values=50.0 + np.random.default_rng(2).normal(size=300))
    assert fit_series(noise, horizon=10, season_length=1).metadata.family == "combination"


def test_auto_says_what_it_chose_among() -> None:
    """The artefact has the error of each candidate beside that of the model, which is about as small."""
    model = fit_series(Series(values=series(200)), horizon=12, season_length=12)
    accuracy = decode(model.encode(1), "c").metadata.accuracy
    candidates = {name: error for name, error in accuracy.items() if name.startswith("mae_")}
    assert candidates.keys() == {
        f"mae_{name}" for name in ("trend", "seasonal_naive", "theta", "ets", "seasonal_ar")
    }
    assert accuracy["mae"] < 1.05 * min(candidates.values())
    assert accuracy["relative_mae"] == pytest.approx(
        accuracy["mae"] / accuracy["mae_seasonal_naive"], rel=1e-3
    )
    single = fit_series(Series(values=series(200)), family="theta", horizon=12, season_length=12)
    assert not any(name.startswith("mae_") for name in single.metadata.accuracy)


def test_gaps_around_the_observations_are_cut_off() -> None:
    """What is missing before the first and after the last observation is no part of the series."""
    values = series(60)
    padded = np.concatenate([[np.nan] * 5, values, [np.nan] * 5])
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    plain = fit_series(Series(values=values), trained_time=moment)
    assert fit_series(Series(values=padded), trained_time=moment).encode(1) == plain.encode(1)


@pytest.mark.parametrize(
    ("values", "told"),
    [([], "no observation"), ([np.nan], "no observation"), ([1e31, 1.0], "beyond"), ([-1e31], "beyond")],
)
def test_what_cannot_be_fitted_is_explained(values: list[float], told: str) -> None:
    """No values, and values that the artefact's float32 could not hold the errors of."""
    with pytest.raises(SeriesError, match=told):
        fit_series(Series(values=np.array(values)))


@pytest.mark.parametrize("options", [{"family": "oracle"}, {"horizon": 0}, {"season_length": 0}])
def test_impossible_options_are_refused(options: dict[str, object]) -> None:
    """A family that there is, and counts from 1 on."""
    with pytest.raises(ValueError, match=r"no family|1 or more"):
        fit_series(Series(values=series(60)), **options)  # type: ignore[arg-type]
