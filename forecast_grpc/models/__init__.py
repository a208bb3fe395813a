"""The families of forecasters: pure arithmetic on a window, no I/O. Numpy is all they import.

`onnx` alone is run by a library, which is imported with the first graph.
"""

from collections.abc import Mapping
from types import MappingProxyType

from forecast_grpc.domain import Forecaster
from forecast_grpc.models.combination import Combination
from forecast_grpc.models.dynamic_theta import DynamicTheta
from forecast_grpc.models.ets import Ets
from forecast_grpc.models.linear import Linear
from forecast_grpc.models.onnx import Onnx
from forecast_grpc.models.seasonal_ar import SeasonalAr
from forecast_grpc.models.seasonal_naive import SeasonalNaive
from forecast_grpc.models.theta import Theta
from forecast_grpc.models.trend import Trend

FAMILIES: Mapping[str, type[Forecaster]] = MappingProxyType(
    {
        kind.family: kind
        for kind in (Trend, SeasonalNaive, Theta, Ets, Linear, SeasonalAr, Combination, DynamicTheta, Onnx)
    }
)
"""Every family by its name, the simplest first."""

__all__ = [
    "FAMILIES",
    "Combination",
    "DynamicTheta",
    "Ets",
    "Linear",
    "Onnx",
    "SeasonalAr",
    "SeasonalNaive",
    "Theta",
    "Trend",
]
