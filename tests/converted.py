"""Models of other libraries in the store that the service is tested on, and what those libraries forecast."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import lightgbm
import numpy as np
import pandas as pd
from skforecast.recursive import ForecasterRecursive
from sklearn.linear_model import Ridge
from sklearn.tree import DecisionTreeRegressor
from statsforecast.models import AutoETS, AutoTheta, SeasonalNaive

from forecast_grpc import publish
from forecast_grpc.convert.recursion import recursive
from forecast_grpc.domain import FloatArray
from forecast_grpc.store import FolderStore

HORIZON = 7
LAGS = 14
_KINDS = ("ets", "theta", "dynamic-theta", "naive", "skforecast", "ridge", "direct", "tree", "boosted")
CUSTOMERS = tuple(f"converted-{kind}" for kind in _KINDS)
"""For whom they are published."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Foreign:
    """A fitted model of another library."""

    model: Any
    """The model."""

    forecast: FloatArray
    """Its own forecast from the end of training, shape (HORIZON,)."""

    tolerance: float = 1e-9
    """How near the served one has to be, relative."""


def sales() -> FloatArray:
    """Half a year of days with a week in it, shape (180,)."""
    days = np.arange(180)
    noise = np.random.default_rng(11).normal(0.0, 3.0, days.size)
    values: FloatArray = 100.0 + 0.2 * days + 15.0 * np.sin(2 * np.pi * days / 7) + noise
    return values


@cache
def foreign() -> Mapping[str, Foreign]:
    """One model of each kind by its customer. Fitted when it is first asked for."""
    values = sales()
    rows = np.lib.stride_tricks.sliding_window_view(values, LAGS + HORIZON)
    lagged, ahead = rows[:, :LAGS], rows[:, LAGS:]
    boosted = lightgbm.LGBMRegressor(n_estimators=10, n_jobs=1, verbose=-1)
    models = (
        _statsforecast(AutoETS(season_length=7)),
        _statsforecast(AutoTheta(season_length=7, model="OTM")),
        _statsforecast(AutoTheta(season_length=7, model="DOTM")),
        _statsforecast(SeasonalNaive(season_length=7)),
        _skforecast(values),
        _regressor(Ridge().fit(lagged, ahead[:, 0]), 1e-9),
        _regressor(Ridge().fit(lagged, ahead), 1e-9),
        _regressor(DecisionTreeRegressor(random_state=0).fit(lagged, ahead), 1e-5),
        _regressor(boosted.fit(lagged, ahead[:, 0]), 1e-5),
    )
    return dict(zip(CUSTOMERS, models, strict=True))


def publish_foreign(store: FolderStore) -> None:
    """Converts and publishes them all."""
    for customer, each in foreign().items():
        publish(store, customer, each.model, history=sales(), horizon=HORIZON, frequency="P1D")


def _statsforecast(model: Any) -> Foreign:
    return Foreign(model=model.fit(sales()), forecast=model.predict(HORIZON)["mean"])


def _regressor(model: Any, tolerance: float) -> Foreign:
    forecast = recursive(model.predict, sales()[-LAGS:], HORIZON)
    return Foreign(model=model, forecast=forecast, tolerance=tolerance)


def _skforecast(values: FloatArray) -> Foreign:
    model = ForecasterRecursive(Ridge(), lags=[1, 7, 14])
    model.fit(pd.Series(values, index=pd.date_range("2025-01-01", periods=values.size, freq="D")))
    return Foreign(model=model, forecast=model.predict(HORIZON).to_numpy())
