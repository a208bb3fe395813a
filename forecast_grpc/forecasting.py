"""A query and a model -> an answer: the core that knows neither protocol."""

import warnings
from datetime import datetime

import numpy as np

from forecast_grpc.covariates import covariate_matrix
from forecast_grpc.domain import (
    FloatArray,
    ForecastQuery,
    ForecastResult,
    ModelMetadata,
    QuantileForecast,
    ServedModel,
)
from forecast_grpc.errors import ForecastError, ModelCorrupt, RequestInvalid
from forecast_grpc.finite import all_finite
from forecast_grpc.models.missing import fill_missing
from forecast_grpc.models.pickled import NotUsable, Pickled
from forecast_grpc.quick import maker
from forecast_grpc.timeline import steps_between, time_after

_result = maker(ForecastResult)
_ORDINARY = 1e100  # Below, no arithmetic on two values overflows.


def pass_over_overflows() -> None:
    """Has this process print no warning where numbers overflow, as `answer` tells its caller of each that does.

    For a process that answers requests: switched off around each request, as numpy has it, warnings cost it more
    than looking up a model.
    """
    warnings.filterwarnings("ignore", "(overflow|invalid value) encountered", RuntimeWarning)


def answer(model: ServedModel, query: ForecastQuery, *, max_horizon: int) -> ForecastResult:
    """What the model forecasts for the query; `max_horizon` is the server's own limit in steps.

    Raises RequestInvalid, naming the field, where the sequence is too short for this model, holds nothing but
    missing values or values so large that the arithmetic overflows, where the horizon is beyond a limit, or where
    the covariates are not those of the model (see `covariate_matrix`);
    ModelCorrupt where the model answers values of an ordinary size with something that is not a finite number.
    """
    if isinstance(model.forecaster, Pickled):
        return _from_pickle(model, model.forecaster, query, max_horizon)
    horizon = _horizon(model, query.horizon, max_horizon)
    start_time = position = covariates = None
    # Of most requests nobody says when they are: each call that is not made here counts, see docs/performance.md.
    if query.start_time is not None or not query.sequence.size:
        start_time, position = _start_time(model.metadata, query), _position(model, query)
    window = query.sequence
    if not query.complete or window.size < model.metadata.min_length:
        window = _window(model, query)
    if query.covariates or model.metadata.covariates:
        covariates = covariate_matrix(model, query, horizon)
    forecaster, levels = model.forecaster, query.quantile_levels
    point = forecaster.forecast(window, horizon, position, covariates)
    rows = point + forecaster.quantile_offsets(levels, horizon) if levels else ()
    if not all_finite(point):
        raise _no_forecast(window, covariates)
    if not levels:
        return _result(forecast=point, start_time=start_time)
    quantiles = tuple(
        QuantileForecast(level=level, values=row) for level, row in zip(levels, rows, strict=True)
    )
    return _result(forecast=point, quantiles=quantiles, start_time=start_time)


def _from_pickle(
    model: ServedModel, forecaster: Pickled, query: ForecastQuery, max_horizon: int
) -> ForecastResult:
    """The same of a model that knows no quantiles, time and covariates, and its horizon only by doing it."""
    asked = query.horizon
    if query.quantile_levels:
        raise RequestInvalid.of("quantile_levels", "must be left out: this model has no quantiles")
    if asked is not None:
        asked = _horizon(model, asked, max_horizon)
    _start_time(model.metadata, query)
    covariate_matrix(model, query, 0)
    window = _window(model, query)
    try:
        point = forecaster.forecast(window, asked or 0)
    except NotUsable as exc:
        raise ModelCorrupt(f"The model, a pickle, {exc}: mend it and publish it again.") from exc
    if point.size > max_horizon or asked not in (None, point.size):
        text = f"must be left out or {point.size}, which is what this model forecasts; the limit is {max_horizon}"
        raise RequestInvalid.of("horizon", text)
    return ForecastResult(forecast=point)


def _start_time(metadata: ModelMetadata, query: ForecastQuery) -> datetime | None:
    """The time of the forecast's first step: after the sequence, or after the training series."""
    frequency = metadata.frequency
    if query.start_time is not None:
        if frequency is None:
            text = "must be left out for this model: its steps have no length in time"
            raise RequestInvalid.of("start_time", text)
        last, steps = query.start_time, query.sequence.size
    elif query.sequence.size or frequency is None or metadata.state_time is None:
        return None
    else:
        last, steps = datetime.fromisoformat(metadata.state_time), 1
    try:
        return time_after(last, steps, frequency, metadata.time_zone)
    except ValueError as exc:
        raise RequestInvalid.of("start_time", "leads to a forecast beyond the year 9999") from exc


def _position(model: ServedModel, query: ForecastQuery) -> int | None:
    """Where the window starts, in steps after the last one of training; None where that is not known."""
    if not query.sequence.size:
        return 1 - model.forecaster.tail.size
    metadata = model.metadata
    if query.start_time is None or metadata.frequency is None or metadata.state_time is None:
        return None
    last = datetime.fromisoformat(metadata.state_time)
    try:
        return steps_between(last, query.start_time, metadata.frequency, metadata.time_zone)
    except ValueError:
        # At the ends of the calendar there is no way to count; then the place is not known.
        return None


def _horizon(model: ServedModel, asked: int | None, max_horizon: int) -> int:
    longest = model.forecaster.max_horizon
    limit = max_horizon if longest is None or longest > max_horizon else longest
    if asked is None and model.metadata.horizon > limit:
        raise RequestInvalid.of(
            "horizon",
            f"must be given: this model's own is {model.metadata.horizon}, the limit here is {limit}",
        )
    horizon = model.metadata.horizon if asked is None else asked
    if not 1 <= horizon <= limit:
        raise RequestInvalid.of("horizon", f"must be from 1 to {limit} for this model, got {horizon}")
    return horizon


def _window(model: ServedModel, query: ForecastQuery) -> FloatArray:
    sequence = query.sequence
    if not sequence.size:
        return model.forecaster.tail
    needed = model.metadata.min_length
    if sequence.size < needed:
        raise RequestInvalid.of(
            "sequence_data",
            f"must be empty or hold at least {needed} values for this model, got {sequence.size}",
        )
    if query.complete:
        return sequence
    try:
        return fill_missing(sequence)
    except ValueError as exc:
        raise RequestInvalid.of("sequence_data", "must hold at least one value that is not missing") from exc


def _no_forecast(window: FloatArray, covariates: FloatArray | None) -> ForecastError:
    """Whose fault it is that the forecast is not finite."""
    text = "holds values too large to forecast from: the result overflows"
    if np.abs(window).max() > _ORDINARY:
        return RequestInvalid.of("sequence_data", text)
    if covariates is not None and np.abs(covariates).max() > _ORDINARY:
        return RequestInvalid.of("covariates", text)
    return ModelCorrupt("The model's parameters give no finite forecast: fit and publish it again.")
