"""A query and a model -> an answer: the core that knows neither protocol."""

import numpy as np

from forecast_grpc.domain import (
    FloatArray,
    ForecastQuery,
    ForecastResult,
    QuantileForecast,
    ServedModel,
)
from forecast_grpc.errors import ForecastError, ModelCorrupt, RequestInvalid
from forecast_grpc.models.missing import fill_missing

_ORDINARY = 1e100  # Below, no arithmetic on two values overflows.


def answer(model: ServedModel, query: ForecastQuery, *, max_horizon: int) -> ForecastResult:
    """What the model forecasts for the query; `max_horizon` is the server's own limit in steps.

    Raises RequestInvalid, naming the field, where the sequence is too short for this model, holds nothing but
    missing values or values so large that the arithmetic overflows, or where the horizon is beyond a limit;
    ModelCorrupt where the model answers values of an ordinary size with something that is not a finite number.
    """
    horizon = _horizon(model, query.horizon, max_horizon)
    window = _window(model, query.sequence)
    forecaster, levels = model.forecaster, query.quantile_levels
    # Where values overflow, the check below answers the caller; a warning in the log helps nobody.
    with np.errstate(over="ignore", invalid="ignore"):
        point = forecaster.forecast(window, horizon)
        rows = point + forecaster.quantile_offsets(levels, horizon) if levels else ()
    if not np.isfinite(point).all():
        raise _no_forecast(window)
    quantiles = tuple(
        QuantileForecast(level=level, values=row) for level, row in zip(levels, rows, strict=True)
    )
    return ForecastResult(forecast=point, quantiles=quantiles)


def _horizon(model: ServedModel, asked: int | None, max_horizon: int) -> int:
    limit = min(max_horizon, model.forecaster.max_horizon or max_horizon)
    if asked is None and model.metadata.horizon > limit:
        raise RequestInvalid.of(
            "horizon",
            f"must be given: this model's own is {model.metadata.horizon}, the limit here is {limit}",
        )
    horizon = model.metadata.horizon if asked is None else asked
    if not 1 <= horizon <= limit:
        raise RequestInvalid.of("horizon", f"must be from 1 to {limit} for this model, got {horizon}")
    return horizon


def _window(model: ServedModel, sequence: FloatArray) -> FloatArray:
    if not sequence.size:
        return model.forecaster.tail
    needed = model.metadata.min_length
    if sequence.size < needed:
        raise RequestInvalid.of(
            "sequence_data",
            f"must be empty or hold at least {needed} values for this model, got {sequence.size}",
        )
    try:
        return fill_missing(sequence)
    except ValueError as exc:
        raise RequestInvalid.of("sequence_data", "must hold at least one value that is not missing") from exc


def _no_forecast(window: FloatArray) -> ForecastError:
    """Whose fault it is that the forecast is not finite."""
    if np.abs(window).max() > _ORDINARY:
        text = "holds values too large to forecast from: the result overflows"
        return RequestInvalid.of("sequence_data", text)
    return ModelCorrupt("The model's parameters give no finite forecast: fit and publish it again.")
