"""Regressors of scikit-learn on a window of the last values, oldest first: the linear ones to `linear`."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from forecast_grpc.convert.conversion import Conversion, Given
from forecast_grpc.convert.history import Predict, measured, need_history, proofs_of
from forecast_grpc.convert.problems import ConversionError
from forecast_grpc.convert.recursion import recursive
from forecast_grpc.domain import FloatArray
from forecast_grpc.fit import Series
from forecast_grpc.fit.quantiles import no_quantiles
from forecast_grpc.models import Linear


@dataclass(frozen=True, slots=True)
class Affine:
    """`weights @ x + intercept`, in float64."""

    weights: FloatArray
    """Shape (outputs, inputs)."""

    intercept: FloatArray
    """Shape (outputs,)."""


def convert(model: Any, given: Given) -> Conversion:  # noqa: ANN401 - scikit-learn ships no types
    """A regressor of windows: of one output, the next step, which later steps are forecast from; or of several.

    Linear models, also behind scalers in a Pipeline, become `linear`; any other is exported to ONNX.
    """
    affine = affine_of(model)
    if affine is None:
        from forecast_grpc.convert import exporters  # noqa: PLC0415 - needs skl2onnx

        return exporters.convert(model, given)
    return linear(affine, given, lambda window, horizon: recursive(model.predict, window, horizon))


def linear(affine: Affine, given: Given, predict: Predict) -> Conversion:
    """The conversion of an affine map from windows to the next step, or to several at once."""
    steps, lags = affine.weights.shape
    history = need_history(given.history, lags).values
    season_length = given.usual_season()
    horizon = given.horizon or (steps if steps > 1 else given.usual_horizon(season_length))
    if 1 < steps < horizon:
        raise ConversionError(f"This model forecasts {steps} steps, not {horizon}.")
    model = Linear(
        weights=affine.weights,
        intercept=affine.intercept,
        end=history[-lags:].copy(),
        residuals=no_quantiles(horizon),
        max_horizon=steps if steps > 1 else None,
        anchored=False,
    )
    return Conversion(
        forecaster=replace(model, residuals=measured(model, Series(values=history), horizon, season_length)),
        horizon=horizon,
        season_length=season_length,
        proofs=proofs_of(history, lags, predict, horizon),
    )


def affine_of(model: Any) -> Affine | None:  # noqa: ANN401
    """The affine map that a fitted regressor is, through the scalers before it in a Pipeline; None for any other.

    Raises ConversionError where the regressor is not fitted.
    """
    from sklearn.exceptions import NotFittedError  # noqa: PLC0415
    from sklearn.pipeline import Pipeline  # noqa: PLC0415
    from sklearn.utils.validation import check_is_fitted  # noqa: PLC0415

    try:
        check_is_fitted(model)
    except NotFittedError as exc:
        raise ConversionError(f"This {type(model).__name__} is not fitted: call `fit` first.") from exc
    if not isinstance(model, Pipeline):
        return _coefficients(model)
    *before, last = [step for _, step in model.steps]
    affine, scales = _coefficients(last), [scaling(step) for step in before]
    for scale in reversed(scales):
        if affine is None or scale is None:
            return None
        factor, shift = scale
        affine = Affine(affine.weights * factor, affine.intercept + (affine.weights * shift).sum(axis=1))
    return affine


def _coefficients(model: Any) -> Affine | None:  # noqa: ANN401
    from sklearn.linear_model import SGDRegressor  # noqa: PLC0415
    from sklearn.linear_model._base import LinearModel  # noqa: PLC0415 - no public class is common to them

    if not isinstance(model, LinearModel | SGDRegressor):
        return None
    weights = np.atleast_2d(np.asarray(model.coef_, np.float64))
    intercept = np.broadcast_to(np.asarray(model.intercept_, np.float64).ravel(), len(weights)).copy()
    return Affine(weights, intercept)


def scaling(transformer: Any) -> tuple[Any, Any] | None:  # noqa: ANN401
    """Factor and shift of a scaler, `x * factor + shift`, a number or one for each input; None for any other."""
    from sklearn.preprocessing import MaxAbsScaler, MinMaxScaler, RobustScaler, StandardScaler  # noqa: PLC0415

    if transformer is None or transformer == "passthrough":
        return 1.0, 0.0
    if isinstance(transformer, MinMaxScaler) and not transformer.clip:
        return transformer.scale_, transformer.min_
    if isinstance(transformer, MaxAbsScaler) and not getattr(transformer, "clip", False):
        return 1.0 / transformer.scale_, 0.0
    center = {StandardScaler: "mean_", RobustScaler: "center_"}.get(type(transformer))
    if center is None:
        return None
    factor = 1.0 if transformer.scale_ is None else 1.0 / transformer.scale_
    middle = getattr(transformer, center)
    return factor, 0.0 if middle is None else -middle * factor
