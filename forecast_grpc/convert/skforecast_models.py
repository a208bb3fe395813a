"""Forecasters of skforecast over linear regressors, to `linear`."""

from dataclasses import replace
from typing import Any

import numpy as np

from forecast_grpc.convert.conversion import Conversion, Given
from forecast_grpc.convert.history import read_history
from forecast_grpc.convert.problems import ConversionError
from forecast_grpc.convert.sklearn_models import Affine, affine_of, linear, scaling
from forecast_grpc.domain import FloatArray

_UNSERVED = {
    "window_features": "window features",
    "differentiation": "differentiation",
    "calendar_features": "calendar features",
}
"""Attributes of a forecaster for which `linear` has no arithmetic."""


def convert(model: Any, given: Given) -> Conversion:  # noqa: ANN401 - skforecast ships no types
    """A ForecasterRecursive or ForecasterDirect over a linear regressor, also behind scalers, without exog."""
    _check(model)
    kept = read_history(model.last_window_.iloc[:, 0], None)
    affine = _affine(model)
    given = replace(given, history=given.history or kept, frequency=given.frequency or kept.frequency)
    converted = linear(affine, given, lambda *asked: _predict(model, *asked))
    return replace(converted, history=kept)


def _check(model: Any) -> None:  # noqa: ANN401
    name = type(model).__name__
    if name not in {"ForecasterRecursive", "ForecasterDirect"}:
        raise ConversionError(f"{name} is not supported: ForecasterRecursive and ForecasterDirect are.")
    if not model.is_fitted:
        raise ConversionError(f"This {name} is not fitted: call `fit` first.")
    found = [text for attribute, text in _UNSERVED.items() if getattr(model, attribute, None) is not None]
    found += ["exog"] if model.exog_in_ else []
    if found:
        raise ConversionError(
            f"{name} with {', '.join(found)} is not supported: a linear model on lags is, also behind scalers."
        )


def _affine(model: Any) -> Affine:  # noqa: ANN401
    """The forecaster as an affine map on the series itself, its transformer undone: a row a step."""
    rows = []
    for regressor in _regressors(model):
        row = affine_of(regressor)
        if row is None:
            raise ConversionError(
                f"skforecast over {type(regressor).__name__} is not supported: linear regressors are."
            )
        rows.append(row)
    weights = np.zeros((len(rows), int(model.max_lag)))
    weights[:, -np.asarray(model.lags, int)] = np.concatenate([row.weights for row in rows])
    intercept = np.concatenate([row.intercept for row in rows])
    scale = scaling(model.transformer_y)
    if scale is None:
        name = type(model.transformer_y).__name__
        raise ConversionError(f"The transformer {name} is not supported: scikit-learn's scalers are.")
    factor, shift = (float(np.ravel(each)[0]) for each in scale)
    # On the transformed series z = factor * y + shift; what follows is the same forecast in units of y.
    return Affine(weights, (weights.sum(axis=1) * shift + intercept - shift) / factor)


def _regressors(model: Any) -> list[Any]:  # noqa: ANN401
    if type(model).__name__ == "ForecasterRecursive":
        return [_renamed(model, "estimator", "regressor")]
    by_step = _renamed(model, "estimators_", "regressors_")
    return [by_step[step] for step in sorted(by_step)]


def _renamed(model: Any, name: str, before: str) -> Any:  # noqa: ANN401
    """An attribute whose name changed between releases of skforecast."""
    return getattr(model, name) if hasattr(model, name) else getattr(model, before)


def _predict(model: Any, window: FloatArray, horizon: int) -> FloatArray:  # noqa: ANN401
    last_window = model.last_window_.iloc[:, 0].copy()
    last_window[:] = window
    return np.asarray(model.predict(horizon, last_window=last_window), np.float64)
