"""The six customers of Ray's tutorial "Model multiplexing with forecasting models", as `trend` models."""

from dataclasses import dataclass
from datetime import UTC, datetime
from statistics import NormalDist

import numpy as np

from forecast_grpc import artefact
from forecast_grpc.domain import FloatArray, ModelMetadata
from forecast_grpc.models.residuals import LEVELS, ResidualQuantiles
from forecast_grpc.models.trend import Trend

HORIZON = 7
"""Steps that the tutorial forecasts."""

_STEP_DEVIATION = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class TutorialCustomer:
    """One of the six. The tutorial draws slope and level at random; here they are fixed."""

    customer_id: str
    """The customer's name."""

    slope: float
    """Change a step."""

    base_level: float
    """Where an empty sequence goes on from."""

    def encode(self, model_version: int) -> bytes:
        """The artefact of the customer's model."""
        model = Trend(slope=self.slope, base_level=self.base_level, residuals=_random_walk())
        metadata = ModelMetadata(
            family=Trend.family,
            model_version=model_version,
            horizon=HORIZON,
            min_length=Trend.min_length,
            trained_time=datetime.now(UTC).replace(microsecond=0),
        )
        return artefact.encode(model, metadata)


CUSTOMERS = (
    TutorialCustomer(customer_id="customer_123", slope=1.45, base_level=100.0),
    TutorialCustomer(customer_id="customer_456", slope=0.8, base_level=94.5),
    TutorialCustomer(customer_id="customer_789", slope=-0.6, base_level=107.25),
    TutorialCustomer(customer_id="customer_abc", slope=2.35, base_level=91.0),
    TutorialCustomer(customer_id="customer_def", slope=-0.15, base_level=103.5),
    TutorialCustomer(customer_id="customer_hij", slope=2.9, base_level=98.75),
)
"""`customer_123` has the slope with which the tutorial documents its answer."""


def _random_walk() -> ResidualQuantiles:
    """Quantiles of normal steps that add up: the deviation grows with the square root of the horizon."""
    scores: FloatArray = np.array([NormalDist().inv_cdf(level) for level in LEVELS])
    deviations = _STEP_DEVIATION * np.sqrt(np.arange(1, HORIZON + 1))
    return ResidualQuantiles(np.outer(scores, deviations).astype(np.float32))
