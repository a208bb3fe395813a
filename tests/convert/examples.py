"""A series with everything that converters meet, and ways to ask what was converted."""

from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd

from forecast_grpc.artefact import decode
from forecast_grpc.domain import FloatArray, ForecastQuery
from forecast_grpc.fit import FittedModel
from forecast_grpc.forecasting import answer

SEASON = 12
TRAINED = 144
START = datetime(2020, 1, 1, tzinfo=UTC)


def sales(count: int = TRAINED) -> FloatArray:
    """Positive values with a trend, a season that grows with it, and noise, shape (count,)."""
    steps = np.arange(count)
    noise = np.random.default_rng(3).normal(0, 3, 1_000)[:count]
    season = 1.0 + 0.2 * np.sin(2 * np.pi * steps / SEASON)
    values: FloatArray = (100.0 + 0.8 * steps) * season + noise
    return values


def daily(values: FloatArray) -> Any:
    """The same as a pandas Series of days from 2020 on."""
    return pd.Series(values, index=pd.date_range("2020-01-01", periods=len(values), freq="D"))


def windows(lags: int, steps: int) -> tuple[FloatArray, FloatArray]:
    """The series as a regressor is trained on it: windows, oldest value first, and the steps after each."""
    rows = np.lib.stride_tricks.sliding_window_view(sales(), lags + steps)
    return rows[:, :lags].copy(), rows[:, lags:].copy()


def served(
    fitted: FittedModel,
    sequence: FloatArray | None = None,
    horizon: int | None = None,
    start: int | None = None,
) -> FloatArray:
    """What the artefact answers; `start` is the step of the daily series that the sequence begins at."""
    model = decode(fitted.encode(1), "c")
    asked = np.empty(0) if sequence is None else sequence
    start_time = None if start is None else START + timedelta(days=start)
    query = ForecastQuery(sequence=asked, horizon=horizon, start_time=start_time)
    return answer(model, query, max_horizon=1_000).forecast
