"""The rule of Ray's tutorial "Model multiplexing with forecasting models": a straight line from the last value."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from forecast_grpc.domain import FloatArray, StoredArray
from forecast_grpc.models.many import Forecasts
from forecast_grpc.models.parameters import scalars
from forecast_grpc.models.residuals import NAME, ResidualQuantiles
from forecast_grpc.models.tails import Tail
from forecast_grpc.quick import maker

MAX_DECIMALS = 15
"""The most decimals that a float64 of size one holds."""

_POWERS = tuple(10.0**decimals for decimals in range(MAX_DECIMALS + 1))
_EXACT = 1e9  # Below, a product is off by a ten-millionth at most.
_CLEAR = 0.499999  # So it is clear which whole number is the nearest, if it is no further off than this.


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Trend:
    """The i-th forecast is `round(last value + slope * i, decimals)`.

    With the slope fitted as the mean step it is the drift method (Hyndman & Athanasopoulos, Forecasting:
    Principles and Practice, 3rd ed., section 5.2).
    """

    family: ClassVar[str] = "trend"
    min_length: ClassVar[int] = 1
    max_horizon: ClassVar[int | None] = None
    covariate_tail: ClassVar[FloatArray | None] = None

    slope: float
    """Change a step, in the unit of the observations."""

    base_level: float
    """The last value of the training series: where an empty sequence goes on from."""

    residuals: ResidualQuantiles
    """Quantiles of the errors."""

    decimals: int = 2
    """Decimals that the point forecast is rounded to; the tutorial's are 2."""

    @property
    def tail(self) -> FloatArray:
        """The base level, shape (1,)."""
        return np.array([self.base_level])

    def forecast(
        self,
        window: FloatArray,
        horizon: int,
        position: int | None = None,  # noqa: ARG002
        covariates: FloatArray | None = None,  # noqa: ARG002
    ) -> FloatArray:
        """The line from the window's last value, shape (horizon,)."""
        return np.array(self.line(window.item(-1), horizon))

    def forecasts(self, windows: FloatArray, horizon: int) -> FloatArray:
        """`forecast` of many windows of one length, one a row: shape (len(windows), horizon)."""
        return np.array([self.line(last, horizon) for last in windows[:, -1].tolist()])

    form: ClassVar[None] = None

    @staticmethod
    def stacked(models: Sequence["Trend"]) -> Forecasts:
        """`forecast` of each model for a window of its own, of as many models."""
        return lambda windows, horizon: np.array(
            [model.line(last, horizon) for model, last in zip(models, windows[:, -1].tolist(), strict=True)]
        )

    def line(self, last: float, horizon: int) -> list[float]:
        """The line from this value on, without it."""
        slope, decimals, power = self.slope, self.decimals, _POWERS[self.decimals]
        values = []
        for step in range(1, horizon + 1):
            value = last + slope * step
            scaled = value * power
            # As Python's round does it, which is the tutorial's: numpy's differs in the last digit. To decimals it
            # goes by way of text, which takes longer than all the rest. Where it is clear to which whole number of
            # the last decimal it rounds, that number's quotient is the float nearest to the same text.
            if -_EXACT < scaled < _EXACT:
                whole = round(scaled)
                if whole and -_CLEAR < scaled - whole < _CLEAR:
                    values.append(whole / power)
                    continue
            values.append(round(value, decimals))
        return values

    def quantile_offsets(self, levels: tuple[float, ...], horizon: int) -> FloatArray:
        """As `ResidualQuantiles.at`."""
        return self.residuals.at(levels, horizon)

    def arrays(self) -> dict[str, StoredArray]:
        """`line`: slope, base level, decimals; and the quantiles."""
        line = np.array([self.slope, self.base_level, self.decimals])
        return {"line": line, NAME: self.residuals.table}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, StoredArray]) -> "Trend":
        """As `Forecaster.from_arrays`."""
        return cls.shared(arrays, np.empty(0), ResidualQuantiles.from_arrays(arrays))

    @classmethod
    def shared(cls, arrays: Mapping[str, StoredArray], end: Tail, residuals: ResidualQuantiles) -> "Trend":  # noqa: ARG003
        """As `from_arrays`, with the quantiles of errors from elsewhere."""
        slope, base_level, decimals = scalars(arrays, "line", 3)
        if decimals not in range(MAX_DECIMALS + 1):
            raise ValueError(f"cannot round to {decimals} decimals")
        return _made(slope=slope, base_level=base_level, decimals=int(decimals), residuals=residuals)


_made = maker(Trend)
