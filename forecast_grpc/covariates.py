"""The covariates of a request, put in the order of the model that they are for."""

import numpy as np

from forecast_grpc.domain import Covariate, FloatArray, ForecastQuery, ServedModel
from forecast_grpc.errors import RequestInvalid
from forecast_grpc.models.missing import fill_missing

_FEW = 10  # Names that a message lists at most.


def covariate_matrix(model: ServedModel, query: ForecastQuery, horizon: int) -> FloatArray | None:
    """What `Forecaster.forecast` takes as `covariates`; None for a model that was fitted without.

    Values before the forecast may be missing: they are filled as a sequence is. Raises RequestInvalid, naming the
    field, where a covariate is unknown to the model or not given, holds another number of values than the sequence
    and the forecast have steps, or misses one of the forecast's.
    """
    names = model.metadata.covariates
    if not names:
        if query.covariates:
            raise RequestInvalid.of(
                "covariates", "must be left out: this model was fitted without covariates"
            )
        return None
    given = _places(names, query.covariates)
    tail = model.forecaster.covariate_tail
    assert tail is not None  # noqa: S101 - an artefact that names covariates is decoded with their tail only
    rows = [_row(query, given[name], past, horizon) for name, past in zip(names, tail, strict=True)]
    return np.array(rows)


def _places(names: tuple[str, ...], given: tuple[Covariate, ...]) -> dict[str, int]:
    """Where in the request each of the model's covariates stands."""
    for place, covariate in enumerate(given):
        if covariate.name not in names:
            text = f"must be one that this model was fitted with: {_listed(names)}"
            raise RequestInvalid.of(f"covariates[{place}].name", f"{text}; got {covariate.name}")
    places = {covariate.name: place for place, covariate in enumerate(given)}
    missing = [name for name in names if name not in places]
    if missing:
        text = f"must hold each of those that this model was fitted with: {_listed(names)}"
        raise RequestInvalid.of("covariates", f"{text}; missing: {_listed(missing)}")
    return places


def _row(query: ForecastQuery, place: int, tail: FloatArray, horizon: int) -> FloatArray:
    """One covariate over the steps that the model looks at, shape (P + horizon,), for its `tail`, shape (P,)."""
    values = query.covariates[place].values
    field = f"covariates[{place}].values"
    past = query.sequence.size
    if values.size not in _lengths(past, tail.size, horizon):
        raise RequestInvalid.of(field, _length_text(past, tail.size, horizon, values.size))
    missing = np.isnan(values[-horizon:])
    if missing.any():
        step = int(missing.argmax())
        text = f"must not be missing: it belongs to step {step + 1} of the forecast"
        raise RequestInvalid.of(f"{field}[{values.size - horizon + step}]", text)
    # Filled before it is cut, as the sequence is: the nearest neighbour may lie outside.
    values = fill_missing(values)
    if not past:
        return np.concatenate([tail, values])
    return values[values.size - tail.size - horizon :]


def _lengths(past: int, looks_at: int, horizon: int) -> tuple[int, ...]:
    """The numbers of values that leave no doubt which step each belongs to."""
    return (past + horizon,) if looks_at and past else (horizon, past + horizon)


def _length_text(past: int, looks_at: int, horizon: int, got: int) -> str:
    ahead = f"{horizon} values, one for each step of the forecast"
    both = f"{past + horizon} values, {past} for sequence_data and {horizon} for the forecast"
    if not past:
        return f"must hold {ahead}; got {got}"
    return f"must hold {both if looks_at else f'{ahead}, or {both}'}; got {got}"


def _listed(names: tuple[str, ...] | list[str]) -> str:
    more = len(names) - _FEW
    return ", ".join(names[:_FEW]) + (f" and {more} more" if more > 0 else "")
