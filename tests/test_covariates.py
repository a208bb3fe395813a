"""The covariates of a request and those that its model was fitted with."""

import math
import warnings
from dataclasses import replace

import numpy as np
import pytest

from forecast_grpc import artefact
from forecast_grpc.domain import Covariate, FloatArray, ForecastQuery, ModelMetadata, ServedModel
from forecast_grpc.errors import ModelCorrupt, RequestInvalid
from forecast_grpc.forecasting import answer, pass_over_overflows
from forecast_grpc.models.covariates import Regression
from tests.models.examples import HORIZON, MODELS, linear, series
from tests.stores import with_metadata

EMPTY = np.empty(0)
PRICE, PROMO = np.arange(24.0), np.resize([0.0, 0.0, 1.0], 24)
NAMES = ("price", "promo")


def served(names: tuple[str, ...] = NAMES, *, looks_back: bool = True) -> ServedModel:
    """A model of price and promotions; it looks at their past or at the steps of the forecast alone."""
    tail = np.array([PRICE, PROMO]) if looks_back else np.empty((2, 0))
    regression = Regression(effects=np.array([[-2.0], [30.0]]), tail=tail)
    model = replace(linear(24), regression=regression)
    metadata = ModelMetadata(
        family="linear", model_version=1, horizon=HORIZON, min_length=24, covariates=names
    )
    return ServedModel(metadata=metadata, forecaster=model, nbytes=1)


def ask(model: ServedModel, sequence: FloatArray, **covariates: FloatArray) -> FloatArray:
    """The forecast with these covariates."""
    given = tuple(Covariate(name=name, values=values) for name, values in covariates.items())
    return answer(model, ForecastQuery(sequence=sequence, covariates=given), max_horizon=50).forecast


def refused(model: ServedModel, sequence: FloatArray, **covariates: FloatArray) -> tuple[str, str]:
    """The field at fault, and what is said of it."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pass_over_overflows()
        with pytest.raises(RequestInvalid) as caught:
            ask(model, sequence, **covariates)
    [violation] = caught.value.violations
    return violation.field, violation.description


def ahead(value: float = 1.0, past: int = 0) -> FloatArray:
    """One value for each step of the forecast, and for as many before it."""
    return np.full(past + HORIZON, value)


def test_covariates_come_in_any_order() -> None:
    """They are known by their names."""
    window, price, promo = series(30), ahead(2.0, 30), ahead(1.0, 30)
    one, other = (
        ask(served(), window, price=price, promo=promo),
        ask(served(), window, promo=promo, price=price),
    )
    assert one.tolist() == other.tolist()
    told = served().forecaster.forecast(window, HORIZON, None, np.array([price, promo])[:, 6:])
    assert one.tolist() == told.tolist()


def test_an_empty_sequence_goes_on_from_the_covariates_of_training() -> None:
    """The same as a request that brings the end of the training series and of its covariates."""
    model = served()
    price, promo = ahead(20.0), ahead()
    told = ask(
        model,
        model.forecaster.tail,
        price=np.concatenate([PRICE, price]),
        promo=np.concatenate([PROMO, promo]),
    )
    assert ask(model, EMPTY, price=price, promo=promo).tolist() == told.tolist()


def test_the_steps_of_the_forecast_suffice_where_the_past_is_not_looked_at() -> None:
    """Both lengths that leave no doubt are taken, and give the same."""
    model, window = served(looks_back=False), series(30)
    short = ask(model, window, price=ahead(2.0), promo=ahead())
    assert ask(model, window, price=ahead(2.0, 30), promo=ahead(1.0, 30)).tolist() == short.tolist()


def test_past_values_may_be_missing() -> None:
    """They are filled as a sequence is, from beyond the window where that is nearest."""
    window, promo = series(30), ahead(0.0, 30)
    price = np.arange(37.0)
    holes = price.copy()
    holes[[4, 5, 6, 7, 20, 29]] = np.nan
    filled = ask(served(), window, price=price, promo=promo)
    assert ask(served(), window, price=holes, promo=promo) == pytest.approx(filled, rel=1e-12)


@pytest.mark.parametrize(
    ("sequence", "price", "field", "text"),
    [
        (
            series(30),
            ahead(),
            "covariates[1].values",
            "must hold 37 values, 30 for sequence_data and 7 for the",
        ),
        (series(30), ahead(1.0, 31), "covariates[1].values", "got 38"),
        (
            EMPTY,
            ahead(1.0, 1),
            "covariates[1].values",
            "must hold 7 values, one for each step of the forecast; got 8",
        ),
        (EMPTY, EMPTY, "covariates[1].values", "got 0"),
        (
            EMPTY,
            np.r_[1.0, 1.0, math.nan, np.ones(4)],
            "covariates[1].values[2]",
            "belongs to step 3 of the forecast",
        ),
    ],
    ids=["no past", "long", "longer than empty", "none", "missing ahead"],
)
def test_values_belong_to_one_step_each(
    sequence: FloatArray, price: FloatArray, field: str, text: str
) -> None:
    """A number of values that does not fit, or a step of the forecast without a value, is told with its place."""
    named, said = refused(served(), sequence, promo=ahead(1.0, sequence.size), price=price)
    assert named == field
    assert text in said


def test_both_lengths_are_told_where_both_are_taken() -> None:
    """A model that looks at no past names the shorter form and the longer one."""
    _, said = refused(served(looks_back=False), series(30), price=ahead(1.0, 3), promo=ahead())
    assert said == (
        "must hold 7 values, one for each step of the forecast, "
        "or 37 values, 30 for sequence_data and 7 for the forecast; got 10"
    )


def test_an_unknown_covariate_is_named() -> None:
    """With those that the model knows."""
    field, said = refused(served(), EMPTY, price=ahead(), weather=ahead(), promo=ahead())
    assert field == "covariates[1].name"
    assert said == "must be one that this model was fitted with: price, promo; got weather"


def test_a_missing_covariate_is_named() -> None:
    """None of them is taken for zeros."""
    assert refused(served(), EMPTY, promo=ahead()) == (
        "covariates",
        "must hold each of those that this model was fitted with: price, promo; missing: price",
    )
    assert refused(served(), EMPTY)[1].endswith("missing: price, promo")


@pytest.mark.parametrize("name", MODELS)
def test_a_model_without_covariates_refuses_them(name: str) -> None:
    """They would be ignored, and the caller would not know."""
    model = MODELS[name]
    metadata = ModelMetadata(family=name, model_version=1, horizon=HORIZON, min_length=model.min_length)
    plain = ServedModel(metadata=metadata, forecaster=model, nbytes=1)
    assert refused(plain, EMPTY, price=ahead()) == (
        "covariates",
        "must be left out: this model was fitted without covariates",
    )


def test_covariates_whose_arithmetic_overflows_are_refused() -> None:
    """The caller's covariates are blamed, not the sequence and not the model."""
    field, said = refused(served(), EMPTY, price=ahead(1.7e308), promo=ahead())
    assert (field, said) == ("covariates", "holds values too large to forecast from: the result overflows")


def test_many_names_are_not_all_listed() -> None:
    """An error stays short."""
    names = tuple(f"c{number:02}" for number in range(100))
    tail = np.zeros((100, 24))
    model = replace(linear(24), regression=Regression(effects=np.ones((100, 1)), tail=tail))
    _, said = refused(replace(served(names), forecaster=model), EMPTY)
    assert said.count("and 90 more") == 2
    assert len(said) < 300


# --- in the artefact ---


@pytest.mark.parametrize("names", [NAMES, ("a, b", "Größe [m]")])
@pytest.mark.parametrize("looks_back", [True, False])
def test_covariates_survive_the_bytes(names: tuple[str, ...], looks_back: bool) -> None:
    """Names of any printable characters, effects and tail: the same forecast to the last bit."""
    model = served(names, looks_back=looks_back)
    again = artefact.decode(artefact.encode(model.forecaster, model.metadata), "c")
    assert again.metadata.covariates == names
    covariates = {names[0]: ahead(2.0), names[1]: ahead()}
    assert ask(again, EMPTY, **covariates).tolist() == ask(model, EMPTY, **covariates).tolist()


@pytest.mark.parametrize(
    "names", [(), ("a",), ("a", "b", "c"), ("a", "a"), ("a", ""), ("a", "b" * 65), ("a", "b\nc")]
)
def test_names_that_are_not_those_of_the_model_are_not_published(names: tuple[str, ...]) -> None:
    """Each row of the model's covariates has one name, and no other row has it."""
    with pytest.raises(ValueError, match="2 covariates"):
        artefact.encode(served().forecaster, served(names).metadata)


@pytest.mark.parametrize("text", ["", "price", "price\nprice", "price\npromo\nweather"])
def test_an_artefact_with_other_names_is_damaged(text: str) -> None:
    """So no request reaches a model whose covariates are not known."""
    data = artefact.encode(served().forecaster, served().metadata)
    with pytest.raises(ModelCorrupt):
        artefact.decode(with_metadata(data, covariates=text), "c")
