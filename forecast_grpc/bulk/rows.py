"""A group of series and a model -> a row of forecasts for each: `forecasting.answer`, many at a time."""

import numpy as np

from forecast_grpc.domain import FloatArray, ForecastQuery, ServedModel
from forecast_grpc.items import Group, Rows, Single, Source
from forecast_grpc.models.many import vectorised


def rows_of(model: ServedModel, group: Group, max_horizon: int) -> Rows | None:
    """The forecasts of all of the group, to the last bit as `answer` gives them one by one.

    A row that is not finite stands for one that `answer` has an error for. None where the model forecasts one
    series at a time, or cannot be asked so: then `answer` knows why.
    """
    forecasts = vectorised(model.forecaster)
    horizon = _horizon(model, group, max_horizon)
    if forecasts is None or horizon is None or group.windows.shape[1] < model.metadata.min_length:
        return None
    with np.errstate(over="ignore", invalid="ignore"):
        point = forecasts(group.windows, horizon)
        quantiles = _quantiles(model, group, point)
    source = Source(customer_id=group.customer_id, metadata=model.metadata)
    return Rows(sources=[source] * len(point), forecast=point, levels=group.levels, quantiles=quantiles)


def single_of(group: Group, row: int) -> Single:
    """One item of the group as an item of its own."""
    query = ForecastQuery(
        sequence=group.windows[row],
        horizon=group.horizon,
        quantile_levels=group.levels,
        model_version=group.model_version,
    )
    return Single(customer_id=group.customer_id, place=group.places[row], query=query)


def _horizon(model: ServedModel, group: Group, max_horizon: int) -> int | None:
    horizon = model.metadata.horizon if group.horizon is None else group.horizon
    limit = min(max_horizon, model.forecaster.max_horizon or max_horizon)
    return horizon if 1 <= horizon <= limit else None


def _quantiles(model: ServedModel, group: Group, point: FloatArray) -> FloatArray | None:
    if not group.levels:
        return None
    quantiles: FloatArray = point[:, np.newaxis] + model.forecaster.quantile_offsets(
        group.levels, point.shape[1]
    )
    return quantiles
