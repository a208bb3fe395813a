"""Forecasters of skforecast over linear regressors."""

from typing import Any

import numpy as np
import pytest
from skforecast.direct import ForecasterDirect
from skforecast.preprocessing import RollingFeatures
from skforecast.recursive import ForecasterRecursive
from sklearn.ensemble import RandomForestRegressor
from sklearn.linear_model import ElasticNet, Lasso, LinearRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, MinMaxScaler, StandardScaler

from forecast_grpc.convert import ConversionError, convert
from tests.convert.examples import daily, sales, served

SERIES = daily(sales())
REGRESSORS = {
    "ordinary": LinearRegression(),
    "ridge": Ridge(),
    "lasso": Lasso(),
    "elastic net": ElasticNet(),
    "pipeline": make_pipeline(StandardScaler(), Ridge()),
}
TRANSFORMERS = {"none": None, "standard": StandardScaler(), "range": MinMaxScaler()}
regressors = pytest.mark.parametrize("regressor", REGRESSORS.values(), ids=REGRESSORS)
transformers = pytest.mark.parametrize("transformer", TRANSFORMERS.values(), ids=TRANSFORMERS)


def fitted(model: Any, **options: Any) -> Any:
    """The forecaster, fitted to the series."""
    model.fit(SERIES, **options)
    return model


@regressors
@transformers
@pytest.mark.parametrize("lags", [4, [1, 2, 7, 12]], ids=["all lags", "some lags"])
def test_recursive(regressor: Any, transformer: Any, lags: Any) -> None:
    """From the end of training and from any window, `predict`'s own numbers to 1e-9, far beyond the horizon."""
    model = fitted(ForecasterRecursive(regressor, lags=lags, transformer_y=transformer))
    converted = convert(model, horizon=14)
    assert converted.forecaster.family == "linear"
    assert served(converted, horizon=50) == pytest.approx(model.predict(50).to_numpy(), rel=1e-9)
    window = SERIES.iloc[30:60]
    expected = model.predict(14, last_window=window).to_numpy()
    assert served(converted, window.to_numpy()) == pytest.approx(expected, rel=1e-9)


@regressors
@transformers
def test_direct(regressor: Any, transformer: Any) -> None:
    """A regressor a step becomes a row a step; its steps are its horizon."""
    model = fitted(ForecasterDirect(regressor, steps=5, lags=12, transformer_y=transformer))
    converted = convert(model)
    assert converted.metadata.horizon == converted.forecaster.max_horizon == 5
    assert served(converted) == pytest.approx(model.predict().to_numpy(), rel=1e-9)


def test_time_comes_with_the_model() -> None:
    """Frequency and the time of the last observation are read from its last window."""
    metadata = convert(fitted(ForecasterRecursive(Ridge(), lags=7))).metadata
    assert (metadata.frequency, metadata.state_time) == ("P1D", "2020-05-23T00:00:00Z")
    assert (metadata.horizon, metadata.season_length, metadata.min_length) == (14, 7, 7)


def test_a_longer_history_measures_the_errors() -> None:
    """With the series its errors are measured; the forecasts are the same."""
    model = fitted(ForecasterRecursive(Ridge(), lags=7))
    short, long = convert(model), convert(model, history=SERIES)
    assert served(short).tolist() == served(long).tolist()
    few, many = (each.forecaster.quantile_offsets((0.9,), 14).tolist() for each in (short, long))
    assert few != many


def exog() -> Any:
    """One known regressor."""
    return daily(np.arange(144.0)).rename("price")


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        (ForecasterRecursive(Ridge(), lags=3), "not fitted"),
        (fitted(ForecasterRecursive(Ridge(), lags=3, differentiation=1)), "differentiation"),
        (
            fitted(ForecasterRecursive(Ridge(), 3, window_features=RollingFeatures("mean", 7))),
            "window features",
        ),
        (fitted(ForecasterRecursive(Ridge(), lags=3), exog=exog()), "exog"),
        (fitted(ForecasterDirect(Ridge(), steps=2, lags=3), exog=exog()), "exog"),
        (fitted(ForecasterRecursive(RandomForestRegressor(2), lags=3)), "RandomForestRegressor"),
        (
            fitted(ForecasterRecursive(Ridge(), lags=3, transformer_y=FunctionTransformer())),
            "FunctionTransformer",
        ),
    ],
)
def test_what_cannot_be_converted_says_why(model: Any, reason: str) -> None:
    """What `linear` has no arithmetic for is refused by its name."""
    with pytest.raises(ConversionError, match=reason):
        convert(model)
