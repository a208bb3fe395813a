"""The last season again: the benchmark that every other family has to beat."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from forecast_grpc.domain import FloatArray, StoredArray
from forecast_grpc.models.many import Forecasts
from forecast_grpc.models.residuals import NAME, ResidualQuantiles
from forecast_grpc.models.tails import Tail, tail_arrays, tail_of, values_of
from forecast_grpc.quick import maker


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SeasonalNaive:
    """Each forecast is the value one season before it, the last season over and over.

    With a season of one step it is the naive method (Hyndman & Athanasopoulos, Forecasting: Principles and
    Practice, 3rd ed., section 5.2).
    """

    family: ClassVar[str] = "seasonal_naive"
    max_horizon: ClassVar[int | None] = None
    covariate_tail: ClassVar[FloatArray | None] = None

    end: Tail
    """The last season of the training series, shape (season_length,)."""

    residuals: ResidualQuantiles
    """Quantiles of the errors."""

    @property
    def min_length(self) -> int:
        """One season."""
        return self.end.size

    @property
    def tail(self) -> FloatArray:
        """The last season of the training series, shape (season_length,)."""
        return values_of(self.end)

    def forecast(
        self,
        window: FloatArray,
        horizon: int,
        position: int | None = None,  # noqa: ARG002
        covariates: FloatArray | None = None,  # noqa: ARG002
    ) -> FloatArray:
        """The window's last season repeated, shape (horizon,)."""
        return self.forecasts(window, horizon)

    def forecasts(self, windows: FloatArray, horizon: int) -> FloatArray:
        """`forecast` of many windows of one length, one a row: shape (len(windows), horizon)."""
        season_length = self.end.size
        return windows[..., -season_length:][..., np.arange(horizon) % season_length]

    @property
    def form(self) -> int:
        """What models have in common that `stacked` takes together."""
        return self.end.size

    @staticmethod
    def stacked(models: Sequence["SeasonalNaive"]) -> Forecasts:
        """`forecast` of each model for a window of its own, of as many models of one form."""
        return models[0].forecasts

    def quantile_offsets(self, levels: tuple[float, ...], horizon: int) -> FloatArray:
        """As `ResidualQuantiles.at`."""
        return self.residuals.at(levels, horizon)

    def arrays(self) -> dict[str, StoredArray]:
        """`tail` and the quantiles."""
        return {**tail_arrays(self.end), NAME: self.residuals.table}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, StoredArray]) -> "SeasonalNaive":
        """As `Forecaster.from_arrays`."""
        return cls.shared(arrays, tail_of(arrays), ResidualQuantiles.from_arrays(arrays))

    @classmethod
    def shared(
        cls,
        arrays: Mapping[str, StoredArray],  # noqa: ARG003
        end: Tail,
        residuals: ResidualQuantiles,
    ) -> "SeasonalNaive":
        """As `from_arrays`, with the end of the series and the quantiles of errors from elsewhere."""
        return _made(end=end, residuals=residuals)


_made = maker(SeasonalNaive)
