"""ONNX graphs, whoever exported them, to the family `onnx`."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np

from forecast_grpc.convert.conversion import SINGLE_PRECISION, Conversion, Given, Proof
from forecast_grpc.convert.history import Predict, measured, need_history, proofs_of
from forecast_grpc.convert.problems import ConversionError
from forecast_grpc.domain import Covariate, FloatArray
from forecast_grpc.fit import Series
from forecast_grpc.fit.quantiles import no_quantiles
from forecast_grpc.models import Onnx
from forecast_grpc.models.graphs import check_graph, parse_graph

T = TypeVar("T")

_BATCH_NAMES_STEPS = 3


def convert(model: Any, given: Given) -> Conversion:  # noqa: ANN401 - an onnx.ModelProto
    """A graph as `onnx.load` gives it: a window of shape (1, L) in, the next step or the next H steps out.

    A second input, of shape (1, K, P + H), takes covariates: see `Onnx`.
    """
    return convert_graph(model.SerializeToString(), given)


def convert_graph(graph: bytes, given: Given, predict: Predict | None = None) -> Conversion:
    """The same from a graph's bytes. `predict` is the forecast of the library that exported it, to be met.

    Raises ConversionError where the graph holds what is not served, or does not take a window.
    """
    shapes = _checked(lambda: _input_shapes(graph))
    lags = shapes[0][-1] if shapes and shapes[0] and shapes[0][-1] else given.window
    if lags is None:
        raise ConversionError("The graph's input has no fixed length: name it with `window`.")
    history = need_history(given.history, lags)
    known = _known(history, shapes[1] if len(shapes) > 1 else None)
    model = Onnx(
        graph=np.frombuffer(graph, np.uint8),
        tail=history.values[-lags:].copy(),
        residuals=no_quantiles(1),
        # How much of it the graph looks at is not known before it has run.
        covariate_tail=None if known is None else known[:, :0],
    )
    width = None if known is None else shapes[1][-1]
    steps = _checked(lambda: model.check_shapes(width))
    if known is not None and width is not None:
        if width < steps:
            raise ConversionError(
                f"The graph takes {width} values of a covariate, and forecasts {steps} steps."
            )
        past = width - steps
        need_history(history, past)
        model = replace(model, covariate_tail=known[:, known.shape[1] - past :].copy())
    return _conversion(replace(model, max_horizon=steps if steps > 1 else None), history, given, predict)


def _known(history: Series, shape: tuple[int, ...] | None) -> FloatArray | None:
    """The covariates of the history, shape (K, n), as many as the graph takes; None for a graph without any."""
    if shape is None:
        return None
    if len(shape) != _BATCH_NAMES_STEPS or not all(shape[1:]):
        raise ConversionError("The graph's second input must have the fixed shape (1, K, P + H): covariates.")
    if len(history.covariates) != shape[1]:
        raise ConversionError(
            f"The graph takes {shape[1]} covariates, not {len(history.covariates)}: pass the history of each as"
            " `covariates`, by name, in the graph's order."
        )
    return np.array(list(history.covariates.values()))


def _checked(step: Callable[[], T]) -> T:
    try:
        return step()
    except ValueError as exc:
        raise ConversionError(f"The graph cannot be served: {str(exc).rstrip('.')}.") from exc


def _conversion(model: Onnx, history: Series, given: Given, predict: Predict | None) -> Conversion:
    season_length = given.usual_season()
    steps = model.max_horizon
    horizon = given.horizon or steps or given.usual_horizon(season_length)
    if steps is not None and steps < horizon:
        raise ConversionError(f"This graph forecasts {steps} steps, not {horizon}.")
    informed = model.covariate_tail is not None
    if informed:
        proofs = _informed_proofs(model, history, horizon)
    else:
        proofs = proofs_of(history.values, model.min_length, predict or model.forecast, horizon)
        history = replace(history, covariates={})
    return Conversion(
        forecaster=replace(model, residuals=measured(model, history, horizon, season_length)),
        horizon=horizon,
        proofs=proofs,
        season_length=season_length,
        tolerance=SINGLE_PRECISION,
        covariates=tuple(history.covariates),
    )


def _informed_proofs(model: Onnx, history: Series, horizon: int) -> tuple[Proof, ...]:
    """What the graph says of the end of the history, each covariate keeping its last value, and of its middle."""
    values, length, proofs = history.values, model.min_length, []
    known = np.pad(np.array(list(history.covariates.values())), ((0, 0), (0, horizon)), mode="edge")
    past = 0 if model.covariate_tail is None else model.covariate_tail.shape[1]
    for end in {length, (length + values.size) // 2, values.size}:
        expected = model.forecast(
            values[end - length : end], horizon, None, known[:, end - past : end + horizon]
        )
        asked = known[:, end - length : end + horizon]
        given = (
            Covariate(name=name, values=row) for name, row in zip(history.covariates, asked, strict=True)
        )
        proof = Proof(sequence=values[end - length : end], covariates=tuple(given), expected=expected)
        proofs.append(proof)
    return tuple(proofs)


def _input_shapes(graph: bytes) -> list[tuple[int, ...]]:
    """The shapes of the inputs that are no weights, 0 where not fixed. Raises ValueError where not served."""
    check_graph(graph)
    made = parse_graph(graph).graph
    weights = {each.name for each in made.initializer}
    return [
        tuple(dim.dim_value for dim in each.type.tensor_type.shape.dim)
        for each in made.input
        if each.name not in weights
    ]
