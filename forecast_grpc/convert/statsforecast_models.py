"""Models of statsforecast, served from the final state of their training.

A model's own `forward` starts from the state at the *beginning* of training, which is wrong for a window that does
not begin there; the final state is what a window goes on from.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from forecast_grpc.convert.conversion import Conversion, Given, Proof
from forecast_grpc.convert.problems import ConversionError
from forecast_grpc.domain import FloatArray, Forecaster
from forecast_grpc.fit import Series
from forecast_grpc.fit.quantiles import random_walk_quantiles
from forecast_grpc.models import DynamicTheta, Ets, SeasonalNaive
from forecast_grpc.models.residuals import LEVELS, ResidualQuantiles

_INTERVALS = [95, 90, 80, 60, 30]
"""The central intervals whose ends lie at the levels that artefacts store, all but the median."""


def convert(model: Any, given: Given) -> Conversion:  # noqa: ANN401 - what it holds is not typed
    """AutoETS, AutoTheta and SeasonalNaive with what derives from them, and Naive; fitted by `model.fit(y)`.

    The intervals are the library's own, as `predict(h, level=...)` gives them.
    """
    build = _builder(model)
    fitted = getattr(model, "model_", None)
    if fitted is None:
        raise ConversionError(f"This {type(model).__name__} is not fitted: call `fit` with the series first.")
    season_length = given.season_length or int(getattr(model, "season_length", 1))
    horizon = given.usual_horizon(season_length)
    training = _training(fitted, given)
    residuals = _quantiles(model, horizon, training)
    far = max(horizon, 2 * season_length + 1)
    expected = np.asarray(model.predict(far)["mean"], np.float64)
    return Conversion(
        forecaster=build(fitted, training, residuals),
        horizon=horizon,
        season_length=season_length,
        proofs=(Proof(sequence=np.empty(0), expected=expected),),
        history=Series(values=training),
    )


def _builder(model: Any) -> Callable[[Mapping[str, Any], FloatArray, ResidualQuantiles], Forecaster]:  # noqa: ANN401
    for kind in type(model).__mro__:
        if kind.__name__ in _BUILDERS:
            return _BUILDERS[kind.__name__]
    raise ConversionError(
        f"statsforecast's {type(model).__name__} is not supported: {', '.join(_BUILDERS)} are."
    )


def _training(fitted: Mapping[str, Any], given: Given) -> FloatArray:
    """The training series, from what the library keeps of it: what was fitted and what was left."""
    if given.history is not None:
        return given.history.values
    errors = fitted.get("actual_residuals", fitted.get("residuals"))
    values = None if errors is None else np.asarray(fitted["fitted"]) + np.asarray(errors)
    if values is None:
        raise ConversionError("This model keeps no training series: pass its end as `history`.")
    return np.asarray(values[~np.isnan(values)], np.float64)


def _quantiles(model: Any, horizon: int, training: FloatArray) -> ResidualQuantiles:  # noqa: ANN401
    forecast = model.predict(horizon, level=_INTERVALS)
    point = np.asarray(forecast["mean"], np.float64)
    lower = [np.asarray(forecast[f"lo-{level}"]) - point for level in _INTERVALS]
    upper = [np.asarray(forecast[f"hi-{level}"]) - point for level in reversed(_INTERVALS)]
    offsets = np.stack([*lower, np.zeros(horizon), *upper]).astype(np.float32)
    if len(offsets) != len(LEVELS) or not np.isfinite(offsets).all():
        # Some forms have no intervals.
        return random_walk_quantiles(training, horizon)
    # Some intervals are drawn at random, and may cross by chance.
    return ResidualQuantiles(np.maximum.accumulate(offsets, axis=0))


def _ets(fitted: Mapping[str, Any], training: FloatArray, residuals: ResidualQuantiles) -> Ets:
    """The final state. Additive and multiplicative errors have the same point forecasts."""
    _, trend, season, damped = fitted["components"]
    if trend == "M":
        raise ConversionError(
            f"{fitted['method']}, with a multiplicative trend, is not supported: forms with an additive one, or"
            " none, are."
        )
    state = [float(each) for each in fitted["states"][-1]]
    alpha, beta, gamma, phi = (0.0 if np.isnan(each) else float(each) for each in fitted["par"][:4])
    seasonal = season != "N"
    # The library keeps the latest season first; the model wants that of the next step first.
    pattern = np.array(state[-int(fitted["m"]) :][::-1]) if seasonal else np.zeros(1)
    return Ets(
        alpha=alpha,
        beta=beta if trend != "N" else 0.0,
        gamma=gamma if seasonal else 0.0,
        phi=phi if damped == "D" else 1.0,
        level=state[0],
        trend=state[1] if trend != "N" else 0.0,
        pattern=pattern,
        end=training[-max(pattern.size, 2) :].copy(),
        residuals=residuals,
        multiplicative=season == "M",
        slow_damping=damped == "D",
    )


def _theta(
    fitted: Mapping[str, Any], training: FloatArray, residuals: ResidualQuantiles
) -> Ets | DynamicTheta:
    """The state of the dynamic forms. In the others the drift is held: exponential smoothing along a line."""
    pattern, multiplicative = _theta_season(fitted)
    level, mean, _, slope, _ = (float(each) for each in fitted["states"][-1])
    model = DynamicTheta(
        alpha=float(fitted["par"]["alpha"]),
        theta=float(fitted["par"]["theta"]),
        level=level,
        mean=mean,
        slope=slope,
        count=int(fitted["n"]),
        pattern=pattern,
        end=training[-max(pattern.size, 2) :].copy(),
        residuals=residuals,
        multiplicative=multiplicative,
    )
    return model.as_ets() if fitted["modeltype"] in {"STM", "OTM"} else model


def _theta_season(fitted: Mapping[str, Any]) -> tuple[FloatArray, bool]:
    """The seasonal pattern from the step after training on, and whether it is of factors."""
    if not fitted.get("decompose"):
        return np.zeros(1), False
    pattern = np.asarray(fitted["seas_forecast"]["mean"], np.float64)
    return pattern, fitted["decomposition_type"] == "multiplicative"


def _seasonal_naive(
    fitted: Mapping[str, Any], _training: FloatArray, residuals: ResidualQuantiles
) -> SeasonalNaive:
    return SeasonalNaive(end=np.asarray(fitted["mean"], np.float64), residuals=residuals)


_BUILDERS: Mapping[str, Callable[[Mapping[str, Any], FloatArray, ResidualQuantiles], Forecaster]] = {
    "AutoETS": _ets,
    "AutoTheta": _theta,
    "SeasonalNaive": _seasonal_naive,
    "Naive": _seasonal_naive,
}
"""How each class and what derives from it is built."""
