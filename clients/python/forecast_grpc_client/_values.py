"""What a caller sends and gets."""

from collections.abc import Iterable, Mapping
from dataclasses import KW_ONLY, dataclass, field
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Request:
    """One forecast to make. The service checks every field, and names the one that it cannot accept."""

    customer_id: str
    """Whose model is to answer."""

    sequence: Iterable[float] = ()
    """Observations, oldest first, equally spaced; NaN is a missing one. Whatever iterates over numbers will do: a
    list, an array, a series. Empty: the forecast goes on from the end of the training series."""

    _: KW_ONLY

    horizon: int | None = None
    """Steps to forecast. None: the horizon that the model was fitted for."""

    quantile_levels: Iterable[float] = ()
    """Quantile levels to forecast too, each above 0 and below 1."""

    start_time: datetime | None = None
    """The time of the first observation; one without a time zone is in UTC."""

    covariates: Mapping[str, Iterable[float]] = field(default_factory=dict)
    """What is known beside the series, by the names that the model was fitted with."""

    model_version: int | None = None
    """The version of the model. None: the active one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """The model that answered: enough to find the very bytes again."""

    version: int
    """Counted from 1 within the customer."""

    family: str
    """`trend`, `theta`, `ets`, `linear` or another."""

    sha256: str
    """Digest of the model's tensor bytes."""

    trained_time: datetime | None
    """When it was fitted, UTC; None where its publisher did not say."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Provenance:
    """Where an answer came from."""

    request_id: str
    """To quote in a report: the server's log has a line under it."""

    replica: str
    """The replica that answered."""

    cache: str
    """Where it had the model: `hot`, `warm` or `cold`; empty where no model was reached."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """A forecast, and the model that it came from."""

    customer_id: str
    """Whose model answered."""

    values: list[float]
    """The point forecast: one value a step, nearest step first, in the unit of the observations."""

    quantiles: dict[float, list[float]]
    """The forecast at each of the levels that were asked for, in that order."""

    model: Model
    """The model."""

    start_time: datetime | None
    """The time of the first step, UTC; None where it is not known."""

    provenance: Provenance
    """Where the answer came from."""
