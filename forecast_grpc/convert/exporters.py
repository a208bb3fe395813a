"""Regressors that no family has the arithmetic for: exported to ONNX by the library that knows them.

The export computes in float32, as scikit-learn's trees do with their inputs.
"""

from importlib import import_module
from typing import Any

from forecast_grpc.convert.conversion import Conversion, Given
from forecast_grpc.convert.onnx_graphs import convert_graph
from forecast_grpc.convert.problems import ConversionError
from forecast_grpc.convert.recursion import recursive

_OPSETS = {"": 17, "ai.onnx.ml": 3}
"""What every ONNX Runtime since 2023 runs."""


def convert(model: Any, given: Given) -> Conversion:  # noqa: ANN401 - neither library ships types
    """A regressor of scikit-learn or LightGBM on windows, oldest value first."""
    name = type(model).__name__
    lags = model.num_feature() if name == "Booster" else getattr(model, "n_features_in_", None)
    if lags is None:
        raise ConversionError(f"{name} is not fitted, or no regressor on windows.")
    export = _lightgbm if type(model).__module__.startswith("lightgbm") else _sklearn
    graph = export(model, int(lags))
    # Several outputs are known when the graph has run; a prediction of one is gone on from.
    return convert_graph(graph, given, lambda window, horizon: recursive(model.predict, window, horizon))


def _sklearn(model: Any, lags: int) -> bytes:  # noqa: ANN401
    skl2onnx = _import("skl2onnx")
    types = import_module("skl2onnx.common.data_types")
    window = [("window", types.FloatTensorType([None, lags]))]
    try:
        made = skl2onnx.to_onnx(model, initial_types=window, target_opset=_OPSETS)
    except Exception as exc:  # Its errors have no common class.
        raise ConversionError(
            f"skl2onnx cannot export this {type(model).__name__}: {_first_line(exc)}"
        ) from exc
    graph: bytes = made.SerializeToString()
    return graph


def _lightgbm(model: Any, lags: int) -> bytes:  # noqa: ANN401
    onnxmltools = _import("onnxmltools")
    types = import_module("onnxmltools.convert.common.data_types")
    window = [("window", types.FloatTensorType([None, lags]))]
    made = onnxmltools.convert_lightgbm(model, initial_types=window)
    graph: bytes = made.SerializeToString()
    return graph


def _import(name: str) -> Any:  # noqa: ANN401
    try:
        return import_module(name)
    except ImportError as exc:
        raise ConversionError(
            f"This model is exported by {name}, which is not installed here: install it."
        ) from exc


def _first_line(exc: Exception) -> str:
    return str(exc).strip().partition("\n")[0]
