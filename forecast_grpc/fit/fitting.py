"""Series in, fitted and measured models out."""

from collections.abc import Iterator
from dataclasses import dataclass

from forecast_grpc.domain import Forecaster, ModelMetadata
from forecast_grpc.fit.series import Series
from forecast_grpc.fit.table import Table

AUTO = "auto"
"""The choice that takes, for each customer, the family with the smallest rolling-origin error."""

FAMILY_CHOICES: tuple[str, ...] = (AUTO, "trend", "seasonal_naive", "theta", "linear")
"""What `family` may be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FittedModel:
    """A model fitted to one series, and what was measured of it."""

    forecaster: Forecaster
    """The model."""

    metadata: ModelMetadata
    """What its artefact will say of it; the version is 1 until the store assigns another."""

    def encode(self, model_version: int) -> bytes:
        """The artefact under this version: what `store.publish(customer_id, model.encode)` asks for."""
        raise NotImplementedError


@dataclass(frozen=True, slots=True, kw_only=True)
class FitOutcome:
    """What became of one customer. Exactly one of `model` and `error` is set."""

    customer_id: str
    """The customer."""

    model: FittedModel | None = None
    """The fitted model."""

    error: str | None = None
    """Why there is none: one sentence for a person."""

    duration_s: float
    """Time spent on this customer in seconds."""


def fit_series(
    series: Series,
    *,
    family: str = AUTO,
    horizon: int | None = None,
    season_length: int | None = None,
) -> FittedModel:
    """Fits one series and measures the model by rolling origin.

    `horizon` in steps; None: the M4 competition's for the frequency (PT1H 48, P1D 14, P1W 13, P1M 18, P3M 8,
    P1Y 6), else one season, else 7. `season_length` in steps; None: guessed from the frequency.

    `metadata.accuracy` holds `mae`, `smape` (percent), `mase` and `coverage_80`, as far as the series is long
    enough to measure them.

    Raises SeriesError where the series is too short or holds no observation, ValueError for an unknown family or
    a horizon or season length below 1.
    """
    raise NotImplementedError


def fit_table(
    table: Table,
    *,
    family: str = AUTO,
    horizon: int | None = None,
    season_length: int | None = None,
    processes: int = 1,
) -> Iterator[FitOutcome]:
    """Fits every customer of the table, lazily and in the table's order, and yields one outcome for each.

    A customer that cannot be fitted yields an outcome with `error`, and the others go on. Options as in
    `fit_series`, checked at once. `processes` > 1 fits that many customers at a time in processes of their own.
    """
    raise NotImplementedError
