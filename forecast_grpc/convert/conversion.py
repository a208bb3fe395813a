"""What a converter gets beside the model, and what it gives back."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from forecast_grpc.domain import Covariate, FloatArray, Forecaster
from forecast_grpc.fit import Series
from forecast_grpc.fit.frequency import default_horizon, season_length

EXACT = 1e-9
"""How far the served forecast may be from the library's own, relative to its largest value."""

SINGLE_PRECISION = 1e-5
"""The same for graphs, which often compute in float32."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """What the caller of `convert` says beside the model. None where nothing was said."""

    horizon: int | None = None
    """Steps to forecast unless a request says otherwise."""

    season_length: int | None = None
    """Steps in a season."""

    history: Series | None = None
    """The training series or its end, without missing values."""

    frequency: str | None = None
    """The length of a step as an ISO-8601 duration."""

    window: int | None = None
    """Observations that the model looks at, where the model itself does not say."""

    def usual_season(self) -> int:
        """The season length that was said, else the one that goes with the frequency, else 1."""
        if self.season_length is not None:
            return self.season_length
        return 1 if self.frequency is None else season_length(self.frequency)

    def usual_horizon(self, season: int) -> int:
        """The horizon that was said, else the one that goes with the frequency and the season."""
        return self.horizon or default_horizon(self.frequency, season)


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """One forecast of the library, to be met."""

    sequence: FloatArray
    """What a request brings, shape (n,); n = 0: go on from training."""

    covariates: tuple[Covariate, ...] = ()
    """What a request brings of each covariate."""

    expected: FloatArray
    """The library's own forecast, shape (h,)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversion:
    """A model as it will be served, with what proves it."""

    forecaster: Forecaster
    """The model."""

    horizon: int
    """Steps to forecast unless a request says otherwise."""

    proofs: tuple[Proof, ...]
    """Forecasts of the library itself, at least one."""

    season_length: int
    """Steps in a season; 1 where there is none."""

    tolerance: float = EXACT
    """How far from them the served forecasts may be, relative to the largest value."""

    history: Series | None = None
    """The end of the training series as the model itself keeps it; None where it keeps none."""

    covariates: tuple[str, ...] = ()
    """The names of the covariates that the model takes, in its order."""


Converter = Callable[[Any, Given], Conversion]
"""Converts the models of one library. Raises ConversionError for one that it cannot convert."""
