"""Many series and their models -> a row of forecasts for each: `forecasting.answer`, many at a time."""

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from forecast_grpc.domain import FloatArray, ForecastQuery, ServedModel
from forecast_grpc.items import Group, ModelKey, Rows, Single, Source
from forecast_grpc.loading import Acquired
from forecast_grpc.models.many import Forecasts, form_of, stacked, vectorised

MANY = 16
"""Series of one model from which on they are forecast by themselves; fewer go together with other models'."""

_PIECE = 8_000_000  # Of the units below: about two milliseconds.
_SERIES, _STEP = (
    8_000,
    800,
)  # What a series costs, and a step of its forecast beside the values it is made from.

Asking = tuple[Acquired, Sequence[int]]
"""A model, and the rows of a group that ask it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lot:
    """Rows of a group that are forecast at once, if they can be."""

    rows: Sequence[int]
    """Which they are."""

    models: list[Acquired]
    """The model of each row; or the one of them all."""

    horizon: int | None
    """Steps to forecast; None where they have to be looked at one by one."""


def lots(group: Group, asking: Sequence[Asking], max_horizon: int) -> Iterator[Lot]:
    """The rows of a group by what can be forecast at once, in pieces that take about two milliseconds each."""
    mixed: dict[tuple[Hashable, int | None], tuple[list[int], list[Acquired]]] = {}
    for acquired, rows in asking:
        model = acquired.model
        horizon = _horizon(model, group, max_horizon)
        form = None if horizon is None or len(rows) >= MANY else form_of(model.forecaster)
        if form is None:
            known = None if vectorised(model.forecaster) is None else horizon
            yield from _pieces(group, rows, [acquired], known)
            continue
        rows_of_form, models = mixed.setdefault((form, horizon), ([], []))
        rows_of_form += rows
        models += [acquired] * len(rows)
    for (_, horizon), (rows, models) in mixed.items():
        yield from _pieces(group, rows, models, horizon)


def rows_of(group: Group, lot: Lot) -> Rows:
    """The forecasts of a lot, to the last bit as `answer` gives them one by one.

    A row that is not finite stands for one that `answer` has an error for.
    """
    assert lot.horizon is not None  # noqa: S101 - such lots are not forecast at once
    windows = group.windows if len(lot.rows) == len(group.windows) else group.windows[lot.rows]
    with np.errstate(over="ignore", invalid="ignore"):
        point = _forecasts(lot)(windows, lot.horizon)
        quantiles = point[:, np.newaxis] + _offsets(lot, group.levels) if group.levels else None
    return Rows(sources=_sources(group, lot), forecast=point, levels=group.levels, quantiles=quantiles)


def single_of(group: Group, row: int) -> Single:
    """One item of the group as an item of its own."""
    customer_id, version = group.keys[row]
    query = ForecastQuery(
        sequence=group.windows[row],
        horizon=group.horizon,
        quantile_levels=group.levels,
        model_version=version,
    )
    return Single(customer_id=customer_id, place=group.places[row], query=query)


def _horizon(model: ServedModel, group: Group, max_horizon: int) -> int | None:
    """The steps to forecast; None where the model cannot be asked so: then `answer` knows why."""
    horizon = model.metadata.horizon if group.horizon is None else group.horizon
    limit = min(max_horizon, model.forecaster.max_horizon or max_horizon)
    long_enough = group.windows.shape[1] >= model.metadata.min_length
    return horizon if long_enough and 1 <= horizon <= limit else None


def _pieces(group: Group, rows: Sequence[int], models: list[Acquired], horizon: int | None) -> Iterator[Lot]:
    length, steps = group.windows.shape[1], horizon or 1
    size = max(1, _PIECE // (_SERIES + steps * (length + _STEP)))
    for start in range(0, len(rows), size):
        some = models if len(models) == 1 else models[start : start + size]
        yield Lot(rows=rows[start : start + size], models=some, horizon=horizon)


def _forecasts(lot: Lot) -> Forecasts:
    if len(lot.models) > 1:
        return stacked([acquired.model.forecaster for acquired in lot.models])
    forecasts = vectorised(lot.models[0].model.forecaster)
    assert forecasts is not None  # noqa: S101 - else the lot would have no horizon
    return forecasts


def _offsets(lot: Lot, levels: tuple[float, ...]) -> FloatArray:
    """What to add to the point forecasts, shape (1 or len(lot.rows), len(levels), horizon)."""
    assert lot.horizon is not None  # noqa: S101 - see `rows_of`
    return np.array(
        [acquired.model.forecaster.quantile_offsets(levels, lot.horizon) for acquired in lot.models]
    )


def _sources(group: Group, lot: Lot) -> list[Source]:
    """Where each row of the lot is from; one object for each customer and model."""
    made: dict[ModelKey, Source] = {}
    acquired = lot.models * len(lot.rows) if len(lot.models) == 1 else lot.models
    sources: list[Source] = []
    for row, each in zip(lot.rows, acquired, strict=True):
        key = group.keys[row]
        if key not in made:
            made[key] = Source(customer_id=key[0], metadata=each.model.metadata)
        sources.append(made[key])
    return sources
