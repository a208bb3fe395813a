"""Models of statsforecast, served from the state at the end of their training."""

from typing import Any

import numpy as np
import pytest
from statsforecast import _lib
from statsforecast.models import (
    AutoCES,
    AutoETS,
    AutoTheta,
    DynamicTheta,
    Holt,
    HoltWinters,
    Naive,
    OptimizedTheta,
    SeasonalNaive,
    Theta,
)

from forecast_grpc.convert import ConversionError, convert
from tests.convert.examples import SEASON, TRAINED, daily, sales, served

FORMS = [
    error + trend + season + damped
    for error in "AM"
    for trend in "NA"
    for season in "NAM"
    for damped in "ND"
    # The library knows neither additive errors with factors, nor damping without a trend.
    if (error, season) != ("A", "M") and (trend, damped) != ("N", "D")
]


def ets(form: str, values: Any = None) -> Any:
    """AutoETS of this form, fitted."""
    model = AutoETS(season_length=SEASON, model=form[:3], damped=form[3] == "D")
    return model.fit(sales() if values is None else values)


def predicted(model: Any, horizon: int) -> Any:
    """The library's own point forecast from the end of training."""
    return model.predict(horizon)["mean"]


@pytest.mark.parametrize("form", FORMS)
def test_ets_from_the_end_of_training(form: str) -> None:
    """`predict`'s own numbers to 1e-9, over several seasons, in every form with an additive trend or none."""
    model = ets(form)
    assert served(convert(model), horizon=40) == pytest.approx(predicted(model, 40), rel=1e-9)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("overlap", [0, 30])
def test_ets_goes_on_with_new_observations(form: str, overlap: int) -> None:
    """A window that continues the training resumes its state: the library's recursion over the whole series.

    That is its `forward` over all values, which begins where training began.
    """
    model, values = ets(form), sales(TRAINED + 20)
    converted = convert(model, history=daily(values[:TRAINED]), season_length=SEASON)
    forecast = served(converted, values[TRAINED - overlap :], 40, TRAINED - overlap)
    assert forecast == pytest.approx(model.forward(values, 40)["mean"], rel=1e-9)


@pytest.mark.parametrize("kind", [Holt(SEASON), HoltWinters(SEASON), HoltWinters(SEASON, "M"), Naive()])
def test_what_derives_from_them_too(kind: Any) -> None:
    """Holt and Holt-Winters are AutoETS in one form, Naive is SeasonalNaive of one step."""
    model = kind.fit(sales())
    assert served(convert(model), horizon=30) == pytest.approx(predicted(model, 30), rel=1e-9)


def test_the_form_that_it_chooses_itself() -> None:
    """Left to choose, it takes factors for this series, and they are served."""
    model = AutoETS(season_length=SEASON).fit(sales())
    assert model.model_["components"] == "MAMN"
    assert served(convert(model), horizon=30) == pytest.approx(predicted(model, 30), rel=1e-9)


@pytest.mark.parametrize(
    "values", [np.full(40, 5.0), sales()[:15], -sales()], ids=["constant", "short", "negative"]
)
def test_unusual_series(values: Any) -> None:
    """A constant, a series of a season and a bit, and negative values."""
    for model in (AutoETS(season_length=SEASON), AutoTheta(season_length=SEASON, model="OTM")):
        model.fit(values)
        assert served(convert(model), horizon=30) == pytest.approx(predicted(model, 30), rel=1e-9)


def test_seasonal_naive() -> None:
    """The last season, and the library's own intervals."""
    model = SeasonalNaive(season_length=SEASON).fit(sales())
    converted = convert(model, horizon=30)
    assert served(converted) == pytest.approx(predicted(model, 30), rel=1e-12)
    own = model.predict(30, level=[80])
    low, high = served(converted) + converted.forecaster.quantile_offsets((0.1, 0.9), 30)
    assert (low, high) == (pytest.approx(own["lo-80"], rel=1e-6), pytest.approx(own["hi-80"], rel=1e-6))


@pytest.mark.parametrize("kind", ["STM", "OTM", "DSTM", "DOTM"])
@pytest.mark.parametrize("decomposition", ["multiplicative", "additive"])
@pytest.mark.parametrize("season_length", [1, SEASON])
def test_theta_from_the_end_of_training(kind: str, decomposition: str, season_length: int) -> None:
    """`predict`'s own numbers to 1e-9, in the standard, the optimised and the dynamic forms."""
    model = AutoTheta(season_length=season_length, decomposition_type=decomposition, model=kind).fit(sales())
    assert served(convert(model), horizon=40) == pytest.approx(predicted(model, 40), rel=1e-9)


@pytest.mark.parametrize("kind", [Theta, OptimizedTheta, DynamicTheta])
def test_theta_by_its_own_names(kind: Any) -> None:
    """The classes of one form derive from AutoTheta."""
    model = kind(season_length=SEASON).fit(sales())
    assert served(convert(model), horizon=40) == pytest.approx(predicted(model, 40), rel=1e-9)


def resumed(model: Any, values: Any, horizon: int) -> Any:
    """The library's own update over new values, from its final state; then its forecast. No season."""
    fitted, parameters = model.model_, model.model_["par"]
    kind = getattr(_lib.theta.ModelType, fitted["modeltype"])
    states = np.vstack([fitted["states"], np.zeros((len(values), 5))])
    for index, value in enumerate(values, fitted["n"]):
        _lib.theta.update(states, index, kind, parameters["alpha"], parameters["theta"], value, False)
    forecast = np.empty(horizon)
    _lib.theta.forecast(states, len(states), kind, forecast, parameters["alpha"], parameters["theta"])
    return forecast


@pytest.mark.parametrize("kind", ["STM", "OTM", "DSTM", "DOTM"])
@pytest.mark.parametrize("overlap", [0, 30])
def test_theta_goes_on_with_new_observations(kind: str, overlap: int) -> None:
    """A window that continues the training resumes its state as the library's own update does."""
    values = sales(TRAINED + 20)
    model = AutoTheta(season_length=1, model=kind).fit(values[:TRAINED])
    converted = convert(model, history=daily(values[:TRAINED]))
    forecast = served(converted, values[TRAINED - overlap :], 30, TRAINED - overlap)
    assert forecast == pytest.approx(resumed(model, values[TRAINED:], 30), rel=1e-9)


@pytest.mark.parametrize("model", [AutoETS(season_length=SEASON), AutoTheta(season_length=SEASON)])
def test_intervals_are_the_librarys_own(model: Any) -> None:
    """Quantiles are read from `predict(level=...)`, and rise with the level."""
    model.fit(sales())
    offsets = convert(model, horizon=12).forecaster.quantile_offsets((0.05, 0.2, 0.5, 0.8, 0.95), 12)
    own = model.predict(12, level=[60, 90])
    for row, name in ((0, "lo-90"), (1, "lo-60"), (3, "hi-60"), (4, "hi-90")):
        assert offsets[row] == pytest.approx(own[name] - own["mean"], rel=1e-5)
    assert (np.diff(offsets, axis=0) >= 0).all()


def test_a_window_from_anywhere_is_forecast() -> None:
    """Without a start time, recent observations alone give a forecast near what comes."""
    values = sales(400)
    for model in (ets("MAMN"), AutoTheta(season_length=SEASON).fit(sales())):
        forecast = served(convert(model), values[200:260], 12)
        assert forecast == pytest.approx(values[260:272], rel=0.1)


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        (AutoETS(season_length=SEASON), "not fitted"),
        (AutoCES(season_length=SEASON), "AutoCES is not supported"),
        (AutoETS(season_length=SEASON, model="MMM").fit(sales()), "multiplicative trend"),
    ],
)
def test_what_cannot_be_converted_says_why(model: Any, reason: str) -> None:
    """A class or a form that is not served is named, with those that are."""
    with pytest.raises(ConversionError, match=reason):
        convert(model)
