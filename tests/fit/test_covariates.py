"""What a fit makes of covariates."""

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from forecast_grpc import artefact
from forecast_grpc.domain import Covariate, FloatArray, ForecastQuery
from forecast_grpc.fit import Series, SeriesError, TableError, fit_series, read_table
from forecast_grpc.fit.covariates import fit_effects
from forecast_grpc.forecasting import answer
from forecast_grpc.models import FAMILIES, Linear

HORIZON, WEEK = 14, 7
EFFECTS = {"promo": 30.0, "temperature": 1.5, "holiday": -25.0}
MOMENT = datetime(2026, 1, 2, tzinfo=UTC)


def daily_sales(days: int, seed: int = 1) -> tuple[FloatArray, dict[str, FloatArray]]:
    """Sales with a weekly season and autocorrelated noise, and what drives them: promotions, weather, holidays."""
    rng = np.random.default_rng(seed)
    noise, weather = np.zeros(days), np.zeros(days)
    for day in range(1, days):
        noise[day] = 0.6 * noise[day - 1] + 4.0 * rng.normal()
        weather[day] = 0.9 * weather[day - 1] + rng.normal()
    known = {
        "promo": (rng.random(days) < 0.12).astype(float),
        "temperature": weather + 10.0 * np.sin(2 * np.pi * np.arange(days) / 365),
        "holiday": (rng.random(days) < 0.05).astype(float),
    }
    sales = 200.0 + np.resize(rng.normal(size=WEEK) * 10.0, days) + noise
    return sales + sum(EFFECTS[name] * values for name, values in known.items()), known


def until(known: dict[str, FloatArray], day: int) -> dict[str, FloatArray]:
    """What is known before this day."""
    return {name: values[:day] for name, values in known.items()}


@pytest.mark.parametrize("seed", range(5))
def test_effects_are_found(seed: int) -> None:
    """In two years of days with a season and autocorrelated noise each effect is met within a tenth."""
    sales, known = daily_sales(730, seed)
    found = fit_effects(sales, np.array(list(known.values())), WEEK)
    assert found == pytest.approx(list(EFFECTS.values()), rel=0.1)


@pytest.mark.parametrize("unit", [1e-30, 1e-3, 1e6, 1e30])
def test_units_do_not_matter(unit: float) -> None:
    """Of sales or of a covariate: the effect is in sales for each unit of the covariate."""
    sales, known = daily_sales(200)
    covariates = np.array(list(known.values()))
    plain = fit_effects(sales, covariates, WEEK)
    assert fit_effects(sales, covariates * unit, WEEK) == pytest.approx(plain / unit, rel=1e-9)
    if unit < 1e20:
        assert fit_effects(sales * unit, covariates, WEEK) == pytest.approx(plain * unit, rel=1e-9)


@pytest.mark.parametrize("seed", range(3))
def test_forecasts_with_covariates_are_far_better(seed: int) -> None:
    """On days that the model has not seen, half the error or less; and so the rolling origin says."""
    sales, known = daily_sales(730, seed)
    with_them, measured_with_them = held_out_error(sales, known)
    without, measured_without = held_out_error(sales, {})
    assert with_them < 0.5 * without
    assert measured_with_them < 0.5 * measured_without
    assert measured_with_them == pytest.approx(with_them, rel=0.25)


def held_out_error(sales: FloatArray, known: dict[str, FloatArray]) -> tuple[float, float]:
    """The mean absolute error after 500 days of training: on the days after, and as measured at fit time."""
    history = Series(values=sales[:500], covariates=until(known, 500))
    model = fit_series(history, family="linear", horizon=HORIZON, season_length=WEEK)
    served = artefact.decode(model.encode(1), "c")
    errors = []
    for day in range(500, sales.size - HORIZON, 5):
        ahead = until(known, day + HORIZON)
        query = ForecastQuery(
            sequence=sales[:day],
            covariates=tuple(Covariate(name=name, values=values) for name, values in ahead.items()),
        )
        forecast = answer(served, query, max_horizon=HORIZON).forecast
        errors.append(np.abs(forecast - sales[day : day + HORIZON]).mean())
    return float(np.mean(errors)), model.metadata.accuracy["mae"]


def test_auto_takes_linear_where_covariates_tell_most() -> None:
    """And names them in the artefact."""
    sales, known = daily_sales(400)
    model = fit_series(Series(values=sales, covariates=known), horizon=HORIZON, season_length=WEEK)
    assert model.metadata.family == "linear"
    assert model.metadata.covariates == tuple(known)


def test_what_was_fitted_is_served() -> None:
    """From the artefact, after the end of training: the promotion of the third day shows on the third day."""
    sales, known = daily_sales(400)
    model = fit_series(
        Series(values=sales, covariates=known), family="linear", horizon=HORIZON, season_length=WEEK
    )
    served = artefact.decode(model.encode(1), "c")

    def ask(promo: FloatArray) -> FloatArray:
        ahead = {"promo": promo, "temperature": np.full(HORIZON, 5.0), "holiday": np.zeros(HORIZON)}
        given = tuple(Covariate(name=name, values=values) for name, values in ahead.items())
        query = ForecastQuery(sequence=np.empty(0), covariates=given)
        return answer(served, query, max_horizon=50).forecast

    change = ask(np.eye(HORIZON)[2]) - ask(np.zeros(HORIZON))
    assert change[2] == pytest.approx(30.0, rel=0.15)
    assert np.delete(change, 2) == pytest.approx(np.zeros(HORIZON - 1), abs=1e-9)


@pytest.mark.parametrize("family", sorted(FAMILIES.keys() & {"trend", "seasonal_naive", "theta", "ets"}))
def test_other_families_ignore_covariates(family: str) -> None:
    """Their models are the same to the last byte, and want none from a caller."""
    sales, known = daily_sales(120)
    models = [
        fit_series(series, family=family, horizon=HORIZON, season_length=WEEK, trained_time=MOMENT).encode(1)
        for series in (Series(values=sales), Series(values=sales, covariates=known))
    ]
    assert models[0] == models[1]


def test_a_covariate_that_never_changes_has_no_effect() -> None:
    """Nothing can be learnt from it, and a change of it in the future is not made up."""
    sales, known = daily_sales(200)
    constant = np.array([known["promo"], np.full(200, 9.99)])
    assert fit_effects(sales, constant, WEEK)[1] == 0.0


def test_covariates_that_say_the_same_share_the_effect() -> None:
    """The same column twice: the effects add up to that of the one, and nothing explodes."""
    sales, known = daily_sales(400)
    twice = fit_effects(sales, np.array([known["promo"], known["promo"]]), WEEK)
    assert twice.sum() == pytest.approx(30.0, rel=0.1)
    assert twice[0] == pytest.approx(twice[1])


def test_missing_covariates_are_filled() -> None:
    """Gaps in the history are filled from their neighbours; what lies before the first observation is left out."""
    sales, known = daily_sales(200)
    known = {"temperature": known["temperature"]}
    holes = {"temperature": known["temperature"].copy()}
    holes["temperature"][[50, 51, 52]] = np.nan
    padded = Series(
        values=np.concatenate([[np.nan], sales, [np.nan]]),
        covariates={"temperature": np.concatenate([[1e9], holes["temperature"], [-1e9]])},
    )
    model = fit_series(padded, family="linear", horizon=HORIZON, season_length=WEEK).forecaster
    assert isinstance(model, Linear)
    assert model.regression is not None
    plain = fit_effects(sales, np.array(list(known.values())), WEEK)
    assert model.regression.effects[:, 0] == pytest.approx(plain, rel=0.05)


def test_too_little_history_is_said() -> None:
    """With fewer than five observations for each covariate nothing is learnt; without any value there is none."""
    sales, known = daily_sales(19)
    with pytest.raises(SeriesError, match="19 observations are too few for 3 covariates"):
        fit_series(Series(values=sales, covariates=known), family="linear", horizon=2, season_length=1)
    empty = {"price": np.full(19, np.nan)}
    with pytest.raises(SeriesError, match="the covariate price has no value"):
        fit_series(Series(values=sales, covariates=empty), family="linear", horizon=2, season_length=1)


# --- from a file ---

HEADER = "shop,day,sales,price,promo\n"


def write(folder: Path, rows: str) -> Path:
    """A CSV file of these rows."""
    path = folder / "history.csv"
    path.write_text(HEADER + rows)
    return path


def test_covariates_are_read_on_the_grid(tmp_path: Path) -> None:
    """Sorted, with gaps; truth values are 0 and 1; rows before the first and after the last sale are left out."""
    path = write(
        tmp_path,
        "a,2026-01-04,4,1.5,false\na,2026-01-01,1,1.25,true\na,2026-01-02,,9,true\n"
        "a,2025-12-31,,7,true\na,2026-01-05,,7,true\nb,2026-01-01,5,,false\nb,2026-01-02,6,2,true\n",
    )
    table = read_table(path, value_column="sales", covariate_columns=["price", "promo"], frequency="P1D")
    series = table.series("a")
    assert np.array_equal(series.values, [1, np.nan, np.nan, 4], equal_nan=True)
    assert list(series.covariates) == ["price", "promo"]
    assert np.array_equal(series.covariates["price"], [1.25, 9, np.nan, 1.5], equal_nan=True)
    assert np.array_equal(series.covariates["promo"], [1, 1, np.nan, 0], equal_nan=True)
    assert np.array_equal(table.series("b").covariates["price"], [np.nan, 2], equal_nan=True)
    assert series.state_time == "2026-01-04T00:00:00Z"


def test_a_covariate_is_not_guessed_for_another_column(tmp_path: Path) -> None:
    """With the price named as a covariate, the sales are the one number that is left."""
    path = tmp_path / "history.csv"
    path.write_text("shop,day,sales,price\na,2026-01-01,1,2\na,2026-01-02,2,3\n")
    assert read_table(path, covariate_columns=["price"]).value_column == "sales"


@pytest.mark.parametrize(
    ("columns", "text"),
    [
        (["colour"], "there is no column colour"),
        (["price", "price"], "named twice"),
        (["sales"], "named twice"),
        (["shop"], "the covariate shop holds no numbers"),
    ],
)
def test_what_cannot_be_a_covariate_is_said(tmp_path: Path, columns: list[str], text: str) -> None:
    """Unknown, named twice, another role's, or not a number."""
    path = write(tmp_path, "a,2026-01-01,1,2,0\na,2026-01-02,2,3,1\n")
    with pytest.raises(TableError, match=text):
        read_table(path, customer_column="promo", value_column="sales", covariate_columns=columns)


@pytest.mark.parametrize(
    ("rows", "text"),
    [
        ("a,2026-01-01,1,,0\na,2026-01-02,2,,1\n", "the covariate price has no value"),
        ("a,2026-01-01,1,1e31,0\na,2026-01-02,2,1,1\n", "a value of price is beyond 1e\\+30"),
        ("a,2026-01-01,1,inf,0\na,2026-01-02,2,1,1\n", "a value of price is beyond 1e\\+30"),
        ("a,2026-01-01,1,1,0\na,2026-01-01,,1,0\na,2026-01-02,2,1,1\n", "there are two rows for 2026-01-01"),
    ],
    ids=["empty", "large", "infinite", "twice"],
)
def test_a_customers_bad_covariates_are_that_customers_error(tmp_path: Path, rows: str, text: str) -> None:
    """Others in the file are not concerned."""
    table = read_table(
        write(tmp_path, rows + "b,2026-01-01,1,2,0\nb,2026-01-02,2,2,1\n"),
        value_column="sales",
        covariate_columns=["price", "promo"],
    )
    with pytest.raises(SeriesError, match=text):
        table.series("a")
    assert table.series("b").covariates["price"].tolist() == [2, 2]
