"""The dynamic Theta method: simple exponential smoothing with a drift that every observation corrects."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np

from forecast_grpc.domain import FloatArray, StoredArray
from forecast_grpc.models.ets import Ets
from forecast_grpc.models.parameters import scalars, vector
from forecast_grpc.models.recursion import SMALLEST_FACTOR
from forecast_grpc.models.residuals import NAME, ResidualQuantiles
from forecast_grpc.models.tails import Tail, tail_arrays, tail_of, values_of


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DynamicTheta:
    """DSTM and DOTM of Fiorucci, Pellegrini, Louzada, Petropoulos & Koehler 2016, Models for optimising the Theta
    method and their relationship to state space models, section 4.

    After n observations with the mean m, the straight line through them has the slope b and the base
    a = m - b * (n + 1) / 2, and the next step is

        level + (1 - 1 / theta) * (a * (1 - alpha)^n + b * (1 - (1 - alpha)^(n + 1)) / alpha)

    where level is that of simple exponential smoothing. A forecast of several steps goes on from its own steps.

    A window that goes on from training, or reaches back over it, resumes this state with what is new. Of any
    other window the drift is held: see `as_ets`.
    """  # noqa: D205 - a reference does not fit into a line

    family: ClassVar[str] = "dynamic_theta"
    max_horizon: ClassVar[int | None] = None
    covariate_tail: ClassVar[FloatArray | None] = None

    alpha: float
    """Smoothing parameter, above 0, at most 1."""

    theta: float
    """The weight of the second line, 1 or more."""

    level: float
    """The level at the end of training, of the seasonally adjusted series."""

    mean: float
    """The mean of the seasonally adjusted training series."""

    slope: float
    """The slope of its straight line, a step."""

    count: int
    """Observations so far, 1 or more."""

    pattern: FloatArray
    """The seasonal pattern, the step after training first, shape (season_length,); [0.0] where there is none."""

    end: Tail
    """The end of the training series, shape (m,); what it says is in the state."""

    residuals: ResidualQuantiles
    """Quantiles of the errors."""

    multiplicative: bool = False
    """Whether the pattern is of factors, all above 0, instead of addends."""

    @property
    def min_length(self) -> int:
        """One season, or 2 where there is none."""
        return max(self.pattern.size, 2)

    @property
    def tail(self) -> FloatArray:
        """The end of the training series, shape (m,)."""
        return values_of(self.end)

    def forecast(
        self,
        window: FloatArray,
        horizon: int,
        position: int | None = None,
        covariates: FloatArray | None = None,  # noqa: ARG002
    ) -> FloatArray:
        """As `Forecaster.forecast`."""
        known = None if position is None else 1 - position
        if known is None or not 0 <= known <= window.size:
            return self.as_ets().forecast(window, horizon, position)
        new = window[known:]
        season = np.resize(self.pattern, new.size + horizon)
        adjusted = new / season[: new.size] if self.multiplicative else new - season[: new.size]
        path = np.array(self._run(adjusted.tolist(), horizon))
        return path * season[new.size :] if self.multiplicative else path + season[new.size :]

    def as_ets(self) -> Ets:
        """The same at the end of training with the drift held: simple exponential smoothing along a line."""
        (first,) = self._run([], 1)
        drift = (1.0 - 1.0 / self.theta) * self.slope
        return Ets(
            alpha=self.alpha,
            beta=0.0,
            gamma=0.0,
            phi=1.0,
            level=first - drift,
            trend=drift,
            pattern=self.pattern,
            end=self.end,
            residuals=self.residuals,
            multiplicative=self.multiplicative,
        )

    def _run(self, values: list[float], horizon: int) -> list[float]:
        """The state goes over adjusted values; then its forecasts, over which it goes too."""
        alpha, share, stays = self.alpha, 1.0 - 1.0 / self.theta, 1.0 - self.alpha
        level, mean, slope, count = self.level, self.mean, self.slope, self.count
        for value in values:
            level += alpha * (value - level)
            slope = ((count - 1) * slope + 6.0 * (value - mean) / (count + 1)) / (count + 2)
            mean += (value - mean) / (count + 1)
            count += 1
        path: list[float] = []
        for _ in range(horizon):
            gone, base = stays**count, mean - slope * (count + 1) / 2.0
            value = level + share * (base * gone + slope * (1.0 - gone * stays) / alpha)
            path.append(value)
            level += alpha * (value - level)
            slope = ((count - 1) * slope + 6.0 * (value - mean) / (count + 1)) / (count + 2)
            mean += (value - mean) / (count + 1)
            count += 1
        return path

    def quantile_offsets(self, levels: tuple[float, ...], horizon: int) -> FloatArray:
        """As `ResidualQuantiles.at`."""
        return self.residuals.at(levels, horizon)

    def arrays(self) -> dict[str, StoredArray]:
        """`smoothing` (alpha, theta), `state` (level, mean, slope, count), `pattern`, `tail` and the quantiles.

        And `multiplicative`, 1, where the season is.
        """
        arrays: dict[str, StoredArray] = {
            "smoothing": np.array([self.alpha, self.theta]),
            "state": np.array([self.level, self.mean, self.slope, self.count]),
            "pattern": self.pattern,
            **tail_arrays(self.end),
            NAME: self.residuals.table,
        }
        if self.multiplicative:
            arrays["multiplicative"] = np.ones(1)
        return arrays

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, StoredArray]) -> Self:
        """As `Forecaster.from_arrays`."""
        alpha, theta = scalars(arrays, "smoothing", 2)
        level, mean, slope, count = scalars(arrays, "state", 4)
        if not (0.0 < alpha <= 1.0 and theta >= 1.0 and count >= 1.0):
            raise ValueError(f"the smoothing parameters are {alpha} and {theta}, after {count} observations")
        pattern = vector(arrays, "pattern")
        multiplicative = "multiplicative" in arrays and scalars(arrays, "multiplicative", 1) == [1.0]
        if multiplicative and not pattern.min() >= SMALLEST_FACTOR:
            raise ValueError(f"the parameter pattern holds the factor {pattern.min()}")
        return cls(
            alpha=alpha,
            theta=theta,
            level=level,
            mean=mean,
            slope=slope,
            count=int(count),
            pattern=pattern,
            end=tail_of(arrays),
            residuals=ResidualQuantiles.from_arrays(arrays),
            multiplicative=multiplicative,
        )
