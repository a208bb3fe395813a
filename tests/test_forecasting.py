"""A query and a model -> an answer."""

import warnings
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest

from forecast_grpc.domain import FloatArray, ForecastQuery, ModelMetadata, ServedModel
from forecast_grpc.errors import ModelCorrupt, RequestInvalid
from forecast_grpc.forecasting import answer, pass_over_overflows
from tests.models.examples import HORIZON, MODELS, linear, series

LIMIT = 50
EMPTY = np.empty(0)


def served(name: str = "trend", horizon: int = HORIZON) -> ServedModel:
    """A model of the examples as the loader hands it out."""
    model = MODELS[name]
    metadata = ModelMetadata(family=name, model_version=1, horizon=horizon, min_length=model.min_length)
    return ServedModel(metadata=metadata, forecaster=model, nbytes=1)


def query(sequence: FloatArray, horizon: int | None = None, *levels: float) -> ForecastQuery:
    """A query as the wire hands it in."""
    return ForecastQuery(sequence=sequence, horizon=horizon, quantile_levels=levels)


def refused(model: ServedModel, asked: ForecastQuery) -> str:
    """What the model says to a query that it refuses; the message names its field."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pass_over_overflows()
        with pytest.raises(RequestInvalid) as caught:
            answer(model, asked, max_horizon=LIMIT)
    [violation] = caught.value.violations
    assert caught.value.message == f"{violation.field}: {violation.description}"
    return caught.value.message


@pytest.mark.parametrize("name", MODELS)
def test_the_models_horizon_is_the_default(name: str) -> None:
    """Without a horizon the forecast has the length that the model was fitted for."""
    assert answer(served(name, 5), query(series(60)), max_horizon=LIMIT).forecast.shape == (5,)


@pytest.mark.parametrize("name", MODELS)
def test_an_empty_sequence_goes_on_from_training(name: str) -> None:
    """The same as a window that is the end of the training series."""
    model = served(name)
    tail = model.forecaster.tail
    told = model.forecaster.forecast(tail, model.metadata.horizon, 1 - tail.size)
    assert answer(model, query(EMPTY), max_horizon=LIMIT).forecast.tolist() == told.tolist()


@pytest.mark.parametrize("year", [1, 9998])
def test_a_time_at_the_end_of_the_calendar_is_answered(year: int) -> None:
    """Where the steps from training cannot be counted, a window's place is not known, and that is no fault."""
    model = served()
    metadata = replace(model.metadata, frequency="PT1H", state_time="2026-01-31T00:00:00Z")
    asked = replace(query(series(60)), start_time=datetime(year, 1, 1, 0, 25, tzinfo=UTC))
    result = answer(replace(model, metadata=metadata), asked, max_horizon=LIMIT)
    assert result.start_time is not None


def test_missing_values_are_filled_before_the_model_sees_them() -> None:
    """A last value that is missing is the nearest one before it."""
    result = answer(served(), query(np.array([1.0, 120.0, np.nan])), max_horizon=LIMIT)
    assert result.forecast[0] == 121.45


def test_quantiles_are_offsets_from_the_point_forecast() -> None:
    """In the order and at the levels asked for, one value for each step."""
    model = served()
    result = answer(model, query(series(60), 20, 0.9, 0.1), max_horizon=LIMIT)
    assert [quantile.level for quantile in result.quantiles] == [0.9, 0.1]
    offsets = model.forecaster.quantile_offsets((0.9, 0.1), 20)
    for quantile, offset in zip(result.quantiles, offsets, strict=True):
        assert quantile.values.tolist() == (result.forecast + offset).tolist()


def test_without_levels_there_are_no_quantiles() -> None:
    """The point forecast alone."""
    assert answer(served(), query(series(60)), max_horizon=LIMIT).quantiles == ()


def test_a_sequence_shorter_than_the_model_needs_is_refused() -> None:
    """The message says how many values are needed and how many came."""
    message = refused(served("linear"), query(series(23)))
    assert message == "sequence_data: must be empty or hold at least 24 values for this model, got 23"


def test_a_sequence_of_missing_values_is_refused() -> None:
    """There is nothing to fill from."""
    message = refused(served(), query(np.full(3, np.nan)))
    assert message == "sequence_data: must hold at least one value that is not missing"


def test_a_publisher_may_ask_for_more_than_the_family_needs() -> None:
    """The length that the artefact tells is the one that is held to."""
    model = served()
    strict = replace(model, metadata=replace(model.metadata, min_length=3))
    assert answer(strict, query(series(3)), max_horizon=LIMIT).forecast.shape == (HORIZON,)
    assert "at least 3 values" in refused(strict, query(series(2)))


def test_a_model_without_a_finite_forecast_is_the_models_fault() -> None:
    """A weight that is not a number, published by other means than ours: the caller's sequence is not blamed."""
    broken = replace(MODELS["trend"], slope=float("nan"))  # type: ignore[type-var]
    for sequence in (series(60), EMPTY):
        with pytest.raises(ModelCorrupt):
            answer(replace(served(), forecaster=broken), query(sequence), max_horizon=LIMIT)


@pytest.mark.parametrize("horizon", [0, -1, LIMIT + 1])
def test_a_horizon_beyond_the_limit_is_refused(horizon: int) -> None:
    """The message says what is accepted."""
    message = refused(served(), query(series(60), horizon))
    assert message == f"horizon: must be from 1 to {LIMIT} for this model, got {horizon}"


def test_a_model_may_have_a_limit_of_its_own() -> None:
    """A model that cannot go beyond its fitted horizon says so, below the server's limit."""
    bounded = replace(linear(), max_horizon=HORIZON)
    model = replace(served("linear"), forecaster=bounded)
    assert answer(model, query(series(60), HORIZON), max_horizon=LIMIT).forecast.shape == (HORIZON,)
    assert refused(model, query(series(60), HORIZON + 1)).endswith(
        f"from 1 to {HORIZON} for this model, got 8"
    )


def test_a_default_above_the_limit_is_not_cut_silently() -> None:
    """A model fitted for more steps than the server allows has to be asked for fewer."""
    model = served(horizon=LIMIT + 1)
    assert refused(model, query(series(60))).startswith("horizon: must be given")
    assert answer(model, query(series(60), LIMIT), max_horizon=LIMIT).forecast.shape == (LIMIT,)


@pytest.mark.parametrize("name", ["theta", "linear"])
def test_values_whose_arithmetic_overflows_are_refused(name: str) -> None:
    """Finite values near the largest float64 are the caller's mistake, without a warning in the log."""
    window = series(60)
    window[-2:] = 1.7e308, -1.7e308
    message = refused(served(name), query(window, None, 0.1))
    assert message == "sequence_data: holds values too large to forecast from: the result overflows"
