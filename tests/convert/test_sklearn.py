"""Regressors of scikit-learn and LightGBM on windows."""

import os
from typing import Any

import lightgbm
import numpy as np
import pytest
from sklearn.ensemble import ExtraTreesRegressor, GradientBoostingRegressor, RandomForestRegressor
from sklearn.linear_model import (
    ElasticNet,
    HuberRegressor,
    Lasso,
    LinearRegression,
    PoissonRegressor,
    Ridge,
    SGDRegressor,
)
from sklearn.neighbors import KNeighborsRegressor
from sklearn.neural_network import MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MaxAbsScaler, MinMaxScaler, PolynomialFeatures, RobustScaler, StandardScaler
from sklearn.svm import LinearSVR
from sklearn.tree import DecisionTreeRegressor

from forecast_grpc.convert import ConversionError, convert
from forecast_grpc.convert.recursion import recursive
from tests.convert.examples import SEASON, sales, served, windows

LAGS, STEPS = 12, 7

LINEAR = {
    "ordinary": LinearRegression(),
    "without intercept": LinearRegression(fit_intercept=False),
    "ridge": Ridge(),
    "lasso": Lasso(),
    "elastic net": ElasticNet(),
    "huber": make_pipeline(StandardScaler(), HuberRegressor(max_iter=1_000)),
    "support vectors": make_pipeline(StandardScaler(), LinearSVR(max_iter=10_000)),
    "stochastic": make_pipeline(StandardScaler(), SGDRegressor(random_state=0)),
    "standardised": make_pipeline(StandardScaler(), Ridge()),
    "only centred": make_pipeline(StandardScaler(with_std=False), Ridge()),
    "scaled twice": make_pipeline(MinMaxScaler(), RobustScaler(), Ridge()),
    "scaled by size": make_pipeline(MaxAbsScaler(), "passthrough", Ridge()),
}
ONE_OUTPUT = {"huber", "support vectors", "stochastic"}

GRAPHS = {
    "forest": RandomForestRegressor(20, random_state=0),
    "extra trees": ExtraTreesRegressor(10, random_state=0),
    "tree": DecisionTreeRegressor(random_state=0),
    "boosting": GradientBoostingRegressor(random_state=0),
    "perceptron": make_pipeline(
        StandardScaler(), MLPRegressor(hidden_layer_sizes=(16,), max_iter=200, random_state=0)
    ),
    "polynomial": make_pipeline(StandardScaler(), PolynomialFeatures(2), Ridge()),
    "not linear": PoissonRegressor(max_iter=10),
    "lightgbm": lightgbm.LGBMRegressor(n_estimators=20, verbose=-1),
}
MANY_OUTPUTS = {"forest", "extra trees", "tree", "perceptron", "polynomial"}


@pytest.fixture(autouse=True)
def _quiet() -> None:
    """LightGBM's threads wait for each other where others use the cores."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")


def fitted(model: Any, steps: int) -> Any:
    """The regressor, fitted to the next step or to the next few."""
    lagged, ahead = windows(LAGS, steps)
    return model.fit(lagged, ahead if steps > 1 else ahead[:, 0])


def own(model: Any, window: Any, horizon: int) -> Any:
    """The library's own forecast after a window."""
    return recursive(model.predict, window[-LAGS:], horizon)


@pytest.mark.parametrize("name", LINEAR)
def test_a_linear_model_is_an_autoregression(name: str) -> None:
    """One output is the next step; far ones come from near ones, as with the model's own `predict`, to 1e-9."""
    model = fitted(LINEAR[name], 1)
    converted = convert(model, history=sales(), horizon=24)
    assert converted.forecaster.family == "linear"
    window = sales()[20:50]
    assert served(converted, window, 24) == pytest.approx(own(model, window, 24), rel=1e-9)
    assert served(converted, horizon=40) == pytest.approx(own(model, sales(), 40), rel=1e-9)


@pytest.mark.parametrize("name", sorted(LINEAR.keys() - ONE_OUTPUT))
def test_a_linear_model_of_several_outputs_is_direct(name: str) -> None:
    """Each output is a step; what lies beyond them is refused."""
    model = fitted(LINEAR[name], STEPS)
    converted = convert(model, history=sales())
    assert converted.metadata.horizon == converted.forecaster.max_horizon == STEPS
    window = sales()[20:50]
    assert served(converted, window) == pytest.approx(model.predict(window[None, -LAGS:])[0], rel=1e-9)


@pytest.mark.parametrize("name", GRAPHS)
def test_any_other_regressor_is_exported(name: str) -> None:
    """Trees, networks and what is not linear become graphs that forecast as `predict` does, to 1e-5."""
    model = fitted(GRAPHS[name], 1)
    converted = convert(model, history=sales(), horizon=STEPS)
    assert converted.forecaster.family == "onnx"
    for window in (sales()[20:50], sales()[:12]):
        assert served(converted, window) == pytest.approx(own(model, window, STEPS), rel=1e-5)


@pytest.mark.parametrize("name", sorted(MANY_OUTPUTS))
def test_a_graph_of_several_outputs_is_direct(name: str) -> None:
    """The same with a regressor of as many outputs as steps."""
    model = fitted(GRAPHS[name], STEPS)
    converted = convert(model, history=sales())
    assert converted.forecaster.max_horizon == converted.metadata.horizon == STEPS
    assert served(converted) == pytest.approx(model.predict(sales()[None, -LAGS:])[0], rel=1e-5)


def test_a_booster_is_a_model_too() -> None:
    """LightGBM's own class converts as its scikit-learn class does."""
    lagged, ahead = windows(LAGS, 1)
    booster = lightgbm.train({"verbose": -1}, lightgbm.Dataset(lagged, ahead[:, 0]), 20)
    converted = convert(booster, history=sales(), season_length=SEASON)
    assert served(converted, horizon=5) == pytest.approx(own(booster, sales(), 5), rel=1e-5)


def test_errors_are_measured_on_the_history() -> None:
    """The quantiles are those of what the model got wrong; without enough history, a random walk's."""
    model = fitted(Ridge(), 1)
    measured = convert(model, history=sales(), horizon=5).forecaster.quantile_offsets((0.1, 0.9), 5)
    history = sales()[-LAGS:]
    walk = convert(model, history=history, horizon=5).forecaster.quantile_offsets((0.1, 0.9), 5)
    misses = sales()[LAGS + 60 :] - [own(model, sales()[: end + LAGS], 1)[0] for end in range(60, 132)]
    low, high = measured[:, 0]
    assert 0.7 < np.mean((misses > low) & (misses < high)) < 0.9
    assert (walk[1] > measured[1]).all()


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        (Ridge(), "Ridge is not fitted"),
        (make_pipeline(StandardScaler(), Ridge()), "not fitted"),
        (RandomForestRegressor(), "not fitted"),
        (fitted(KNeighborsRegressor(), 1), "Scan"),
    ],
)
def test_what_cannot_be_converted_says_why(model: Any, reason: str) -> None:
    """A model that is not fitted, or whose graph is not served, is refused in a sentence."""
    with pytest.raises(ConversionError, match=reason):
        convert(model, history=sales())


def test_a_model_needs_its_history() -> None:
    """The sentence names how much: it is what a request without observations goes on from."""
    for model in (fitted(Ridge(), 1), fitted(DecisionTreeRegressor(), 1)):
        with pytest.raises(ConversionError, match="12 values"):
            convert(model)
        with pytest.raises(ConversionError, match="there are 11"):
            convert(model, history=sales()[:11])


def test_a_horizon_beyond_the_outputs_is_refused() -> None:
    """A direct model forecasts its own steps and no more."""
    for model in (fitted(Ridge(), STEPS), fitted(DecisionTreeRegressor(), STEPS)):
        with pytest.raises(ConversionError, match="7 steps, not 8"):
            convert(model, history=sales(), horizon=8)
