"""ONNX graphs, whoever exported them, to the family `onnx`."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np

from forecast_grpc.convert.conversion import SINGLE_PRECISION, Conversion, Given
from forecast_grpc.convert.history import Predict, measured, need_history, proofs_of
from forecast_grpc.convert.problems import ConversionError
from forecast_grpc.domain import FloatArray
from forecast_grpc.fit.quantiles import no_quantiles
from forecast_grpc.models import Onnx
from forecast_grpc.models.graphs import check_graph, parse_graph

T = TypeVar("T")


def convert(model: Any, given: Given) -> Conversion:  # noqa: ANN401 - an onnx.ModelProto
    """A graph as `onnx.load` gives it: a window of shape (1, L) in, the next step or the next H steps out."""
    return convert_graph(model.SerializeToString(), given)


def convert_graph(graph: bytes, given: Given, predict: Predict | None = None) -> Conversion:
    """The same from a graph's bytes. `predict` is the forecast of the library that exported it, to be met.

    Raises ConversionError where the graph holds what is not served, or does not take a window.
    """
    lags = _checked(lambda: _input_length(graph)) or given.window
    if lags is None:
        raise ConversionError("The graph's input has no fixed length: name it with `window`.")
    history = need_history(given.history, lags).values
    tail = history[-lags:].copy()
    model = Onnx(graph=np.frombuffer(graph, np.uint8), tail=tail, residuals=no_quantiles(1))
    steps = _checked(model.check_shapes)
    return _conversion(model, steps, history, given, predict or model.forecast)


def _checked(step: Callable[[], T]) -> T:
    try:
        return step()
    except ValueError as exc:
        raise ConversionError(f"The graph cannot be served: {str(exc).rstrip('.')}.") from exc


def _conversion(model: Onnx, steps: int, history: FloatArray, given: Given, predict: Predict) -> Conversion:
    season_length = given.usual_season()
    horizon = given.horizon or (steps if steps > 1 else given.usual_horizon(season_length))
    if 1 < steps < horizon:
        raise ConversionError(f"This graph forecasts {steps} steps, not {horizon}.")
    residuals = measured(model, history, horizon, season_length)
    return Conversion(
        forecaster=replace(model, residuals=residuals, max_horizon=steps if steps > 1 else None),
        horizon=horizon,
        proofs=proofs_of(history, model.min_length, predict, horizon),
        season_length=season_length,
        tolerance=SINGLE_PRECISION,
    )


def _input_length(graph: bytes) -> int | None:
    """L of the first input that is no weight, where it is fixed. Raises ValueError for what is not served."""
    check_graph(graph)
    made = parse_graph(graph).graph
    weights = {each.name for each in made.initializer}
    for each in made.input:
        if each.name not in weights:
            dims = each.type.tensor_type.shape.dim
            return dims[-1].dim_value or None if dims else None
    return None
