"""One small model of each family, for what all families have in common."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from onnx import GraphProto, TensorProto, helper, numpy_helper

from forecast_grpc.domain import FloatArray, Forecaster
from forecast_grpc.models import (
    Combination,
    DynamicTheta,
    Ets,
    Linear,
    Onnx,
    SeasonalAr,
    SeasonalNaive,
    Theta,
    Trend,
)
from forecast_grpc.models.combination import Member
from forecast_grpc.models.factored import Factored
from forecast_grpc.models.lags import Lags
from forecast_grpc.models.residuals import SCORES, ResidualQuantiles
from forecast_grpc.models.tails import coded
from forecast_grpc.models.theta import memory

HORIZON = 7


def residuals(horizon: int = HORIZON, size: float = 2.0) -> ResidualQuantiles:
    """Normal errors whose standard deviation grows from `size` by sqrt(h)."""
    growth = size * np.sqrt(np.arange(1, horizon + 1))
    return ResidualQuantiles(np.outer(SCORES, growth).astype(np.float32))


def knots(horizon: int = HORIZON) -> ResidualQuantiles:
    """The same at a few steps."""
    return ResidualQuantiles.at_knots(residuals(horizon).offsets)


def season(length: int, size: float = 0.3) -> FloatArray:
    """A smooth seasonal pattern around 0, shape (length,)."""
    return size * np.sin(2 * np.pi * np.arange(length) / length)


def series(count: int, seed: int = 1) -> FloatArray:
    """A level near 100 with a season of 12 and noise, shape (count,)."""
    noise = np.random.default_rng(seed).normal(size=count)
    return 100.0 * (1.0 + np.resize(season(12), count)) + noise


def linear(lags: int = 24) -> Linear:
    """Weights that average the same place in the last two seasons of 12."""
    weights = np.zeros((HORIZON, lags), np.float32)
    steps = np.arange(HORIZON)
    weights[steps, lags - 12 + steps] = weights[steps, lags - 24 + steps] = 0.5
    intercept = np.linspace(0.1, 0.7, HORIZON)
    return Linear(weights=weights, intercept=intercept, end=series(lags), residuals=residuals())


def graph(lags: int = 24) -> bytes:
    """The weights of `linear` as a graph, without taking the last value off."""
    parameters = linear(lags).arrays()
    nodes = [
        helper.make_node("MatMul", ["window", "weights"], ["product"]),
        helper.make_node("Add", ["product", "intercept"], ["forecast"]),
    ]
    inputs = [helper.make_tensor_value_info("window", TensorProto.DOUBLE, ["batch", lags])]
    outputs = [helper.make_tensor_value_info("forecast", TensorProto.DOUBLE, ["batch", HORIZON])]
    weights = [
        numpy_helper.from_array(parameters["weights"].T.astype(np.float64), "weights"),
        numpy_helper.from_array(parameters["intercept"], "intercept"),
    ]
    return serialised(helper.make_graph(nodes, "linear", inputs, outputs, weights))


def serialised(made: GraphProto, opset: int = 17, domains: tuple[str, ...] = ()) -> bytes:
    """A whole model's bytes around a graph, in a version that every runtime since 2023 loads."""
    opsets = [helper.make_opsetid("", opset), *(helper.make_opsetid(domain, 1) for domain in domains)]
    data: bytes = helper.make_model(made, opset_imports=opsets, ir_version=9).SerializeToString()
    return data


def onnx(data: bytes | None = None) -> Onnx:
    """The family `onnx` with that graph, or with another of as many lags."""
    return Onnx(graph=np.frombuffer(data or graph(), np.uint8), tail=series(24), residuals=residuals())


def informed(steps: int, past: int, lags: int = 24) -> tuple[Onnx, Callable[[Any, Any], Any]]:
    """A graph of a window and two covariates, of `past` values before the steps, and the same in numpy."""
    rng = np.random.default_rng(8)
    width = past + steps
    weights, effects = rng.normal(size=(lags, steps)) / lags, rng.normal(size=(2 * width, steps))
    if steps > 1:
        # No step looks at what is ahead of it.
        ahead = np.arange(width)[:, np.newaxis] > past + np.arange(steps)
        effects[np.tile(ahead, (2, 1))] = 0.0
    nodes = [
        helper.make_node("MatMul", ["window", "weights"], ["own"]),
        helper.make_node("Flatten", ["covariates"], ["flat"]),
        helper.make_node("MatMul", ["flat", "effects"], ["others"]),
        helper.make_node("Add", ["own", "others"], ["forecast"]),
    ]
    inputs = [
        helper.make_tensor_value_info("window", TensorProto.DOUBLE, [1, lags]),
        helper.make_tensor_value_info("covariates", TensorProto.DOUBLE, [1, 2, width]),
    ]
    outputs = [helper.make_tensor_value_info("forecast", TensorProto.DOUBLE, [1, steps])]
    stored = [numpy_helper.from_array(weights, "weights"), numpy_helper.from_array(effects, "effects")]
    data = serialised(helper.make_graph(nodes, "informed", inputs, outputs, stored))
    tail = rng.normal(size=(2, past))
    model = replace(onnx(data), covariate_tail=tail, max_horizon=steps if steps > 1 else None)
    return model, lambda window, known: window @ weights + known.ravel() @ effects


def seasonal_ar() -> SeasonalAr:
    """Two seasons of 12, and the three values before the last one."""
    lags = Lags(window=24, season_length=12, recent=3)
    weights = np.random.default_rng(4).uniform(0.0, 1.0 / lags.count, (HORIZON, lags.count))
    return SeasonalAr(
        lags=lags,
        weights=weights.astype(np.float32),
        intercept=np.linspace(0.1, 0.7, HORIZON),
        end=series(24),
        residuals=residuals(),
    )


def factored(rank: int) -> Factored:
    """The lags of `seasonal_ar`, and so many directions."""
    rng = np.random.default_rng(6)
    lags = Lags(window=24, season_length=12, recent=3)
    width = 1 + lags.count + rank
    return Factored(
        lags=lags,
        codes=rng.integers(-127, 128, (HORIZON, width), np.int8),
        unit=rng.uniform(0.1, 0.5, width) / (127.0 * width),
        directions=rng.integers(-127, 128, (rank, 24), np.int8) if rank else None,
    )


THETA = Theta(
    alpha=0.3,
    slope=0.2,
    multiplicative=True,
    pattern=season(12),
    end=series(memory(12)),
    residuals=residuals(),
)

MEMBERS: Mapping[str, Member] = {
    "trend": Trend(slope=1.45, base_level=100.0, residuals=residuals()),
    "seasonal_naive": SeasonalNaive(end=series(12), residuals=residuals()),
    "theta": THETA,
    "ets": Ets(
        alpha=0.3,
        beta=0.05,
        gamma=0.1,
        phi=0.9,
        level=100.0,
        trend=0.2,
        pattern=season(12, 30.0),
        end=series(12),
        residuals=residuals(),
    ),
    "linear": linear(),
    "seasonal_ar": seasonal_ar(),
}
"""One of each family that can be combined."""

SINGLE: Mapping[str, Forecaster] = {
    **MEMBERS,
    "dynamic_theta": DynamicTheta(
        alpha=0.3,
        theta=2.5,
        level=100.0,
        mean=80.0,
        slope=0.2,
        count=120,
        pattern=season(12, 30.0),
        end=series(12),
        residuals=residuals(),
    ),
    "onnx": onnx(),
}


def combination(*families: str) -> Combination:
    """Those of the families that are named, weighing 1, 2, 3 and so on."""
    weights = np.arange(1.0, len(families) + 1.0)
    members = tuple(MEMBERS[family] for family in sorted(families))
    return Combination(members=members, weights=weights / weights.sum(), residuals=residuals())


MODELS: Mapping[str, Forecaster] = {
    **SINGLE,
    "combination": combination("seasonal_ar", "seasonal_naive", "theta", "trend"),
}
"""One model of each family."""

FORMS: Mapping[str, Forecaster] = {
    **MODELS,
    "linear of codes": Linear(
        weights=factored(2), intercept=None, end=coded(series(24)), residuals=residuals()
    ),
    "seasonal_ar of codes": SeasonalAr(
        lags=factored(0).lags,
        weights=factored(0),
        intercept=None,
        end=coded(series(24).round(2)),
        residuals=knots(),
    ),
    "theta of codes": replace(THETA, end=coded(series(memory(12)).round(3)), residuals=knots()),
}
"""Those, and what else is stored in another form."""
