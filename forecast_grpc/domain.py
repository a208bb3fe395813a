"""The values that the rooms of the house hand to each other. Frozen, and free of wire and I/O."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
"""Float64 values. Each use says its shape."""

StoredArray = NDArray[Any]
"""What an artefact may hold: float64; float32 and float16 where the last digits carry no information, such as
estimated errors; int8, int16 and int32 for codes that count in a unit; uint8 for bytes of another format, such as
a graph."""

CUSTOMER_ID_PATTERN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}", re.ASCII)
"""What a customer may be called; match it with `fullmatch`. It has no way to leave a folder."""


_NAMED = 1_024  # Bytes of JSON that hold a covariate's name, each character escaped, and what is around it.

MAX_COVARIATES = 1_000
"""Covariates that a request may hold, whatever the limits of a server."""

MAX_COVARIATE_NAME = 64
"""Characters of a covariate's name."""


def is_covariate_name(name: str) -> bool:
    """Whether a covariate may be called so: 1 to 64 printable characters."""
    return 0 < len(name) <= MAX_COVARIATE_NAME and name.isprintable()


class CacheTier(StrEnum):
    """Where a replica had the model when a request came."""

    HOT = "hot"
    """Held by Ray's multiplexer."""

    WARM = "warm"
    """Decoded and in memory, but not among the hot ones."""

    COLD = "cold"
    """Fetched from the store for this request."""

    # Enum's own is written in Python, and each request looks a tier up.
    __hash__ = str.__hash__


@dataclass(frozen=True, slots=True, kw_only=True)
class Covariate:
    """What is known beside the series itself, such as a price or a temperature, at each step."""

    name: str
    """The name that the model was fitted with."""

    values: FloatArray
    """One a step, in time order, shape (m,), never infinite; the last belongs to the last step of the forecast."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ForecastQuery:
    """A request that has passed every check that needs no model."""

    sequence: FloatArray
    """Observations, oldest first, shape (n,), NaN where missing, never infinite. n = 0: go on from training."""

    horizon: int | None = None
    """Steps to forecast; None for the model's own horizon."""

    quantile_levels: tuple[float, ...] = ()
    """Each strictly between 0 and 1, in the caller's order."""

    start_time: datetime | None = None
    """The time of the first observation, with a time zone; None where the caller did not say."""

    covariates: tuple[Covariate, ...] = ()
    """In any order, no two of one name."""

    model_version: int | None = None
    """The version asked for; None for the active one."""

    complete: bool = False
    """Whether it is known that no observation is missing; if not, some may be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QuantileForecast:
    """The forecast at one quantile level."""

    level: float
    """Strictly between 0 and 1, as asked for."""

    values: FloatArray
    """Shape (horizon,), in the unit of the observations."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ForecastResult:
    """What a model answers to a query."""

    forecast: FloatArray
    """The point forecast, shape (horizon,), nearest step first, in the unit of the observations."""

    quantiles: tuple[QuantileForecast, ...] = ()
    """One for each level of the query, in its order."""

    start_time: datetime | None = None
    """The time of the first step, in UTC; None where it is not known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelMetadata:
    """What an artefact says of its model beside the arrays."""

    family: str
    """The forecaster's name: `trend`, `seasonal_naive`, `theta`, `ets`, `linear`."""

    model_version: int
    """Counted from 1 within a customer; 0 for a pickle that is in no artefact."""

    horizon: int
    """Steps that the model was fitted for; the default of a request. 0 where only the model knows: a pickle's."""

    min_length: int
    """Observations that a non-empty sequence must hold at least."""

    season_length: int = 1
    """Steps in a season; 1 where there is none."""

    frequency: str | None = None
    """The length of a step as an ISO-8601 duration, such as `PT1H` or `P1M`; None for plain integer steps."""

    time_zone: str = "UTC"
    """The IANA name of the time zone in which steps of days and longer keep the clock's time."""

    digest: bytes = b""
    """The SHA-256 digest of the tensor bytes. Empty until the artefact is encoded."""

    trained_time: datetime | None = None
    """When the model was fitted, in UTC."""

    state_time: str | None = None
    """Time of the last observation that the model was fitted to: RFC 3339, or an integer step."""

    fit_digest: str = ""
    """Digest of the history and the options of the fit: equal ones fit the same model. Empty where not known."""

    accuracy: Mapping[str, float] = field(default_factory=dict)
    """Errors by rolling origin at fit time: `mae`, `smape` (percent), `mase`, `coverage_80` and their like."""

    covariates: tuple[str, ...] = ()
    """The names of the covariates that the model was fitted with, in the order of its rows for them."""

    @property
    def sha256(self) -> str:
        """The digest as 64 lower-case hexadecimal digits, which take twice the room; empty where there is none."""
        return self.digest.hex()


class Forecaster(Protocol):
    """A fitted model: pure arithmetic on a window, no I/O, safe to share between requests."""

    family: ClassVar[str]
    """The name under which artefacts know this class."""

    @property
    def min_length(self) -> int:
        """Observations that a window must hold at least."""
        ...

    @property
    def max_horizon(self) -> int | None:
        """The longest horizon that this model can forecast, in steps; None where there is no limit."""
        ...

    @property
    def tail(self) -> FloatArray:
        """The end of the training series, shape (m,), to go on from when a request brings no sequence."""
        ...

    @property
    def covariate_tail(self) -> FloatArray | None:
        """The end of the covariates in training, shape (K, P): what goes with `tail`.

        K is the number of covariates, P how many of their values before the forecast the model looks at, 0 to
        `min_length`. None where it was fitted without covariates.
        """
        ...

    def forecast(
        self,
        window: FloatArray,
        horizon: int,
        position: int | None = None,
        covariates: FloatArray | None = None,
    ) -> FloatArray:
        """The point forecast of shape (horizon,) after `window`, shape (n,), n >= min_length, all finite.

        `position` is where the window starts, in steps after the last one of training: 1 where it goes on from
        there, less where it reaches back over it; None where that is not known.

        `covariates`, shape (K, P + horizon), all finite, ends with the last step of the forecast. It is given to
        every model that was fitted with covariates; one that was not ignores it.
        """
        ...

    def quantile_offsets(self, levels: tuple[float, ...], horizon: int) -> FloatArray:
        """What to add to the point forecast for each level: shape (len(levels), horizon)."""
        ...

    def arrays(self) -> dict[str, StoredArray]:
        """The parameters by name: what an artefact stores and `from_arrays` takes back."""
        ...

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, StoredArray]) -> "Forecaster":
        """The model with these parameters. Raises ValueError where one is missing or has a wrong shape."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedModel:
    """A decoded artefact, ready to answer."""

    metadata: ModelMetadata
    """What the artefact says of the model."""

    forecaster: Forecaster
    """The model itself."""

    nbytes: int
    """Resident size of the decoded model in bytes, as far as we can count it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestLimits:
    """How much one request may ask for."""

    max_sequence_length: int
    """Observations."""

    max_horizon: int
    """Steps."""

    max_quantile_levels: int
    """Quantile levels."""

    max_covariates: int
    """Covariates."""

    max_covariate_values: int
    """Values of all covariates together."""

    @property
    def max_numbers(self) -> int:
        """Numbers in all lists of a request together."""
        return self.max_sequence_length + self.max_quantile_levels + self.max_covariate_values

    @property
    def max_body_bytes(self) -> int:
        """Bytes of a JSON body that any acceptable request fits in: 64 for a number is ample."""
        return 64 * self.max_numbers + _NAMED * self.max_covariates + 4_096

    @property
    def max_commas(self) -> int:
        """Commas of a JSON body that any acceptable request does with, those in names among them."""
        return self.max_numbers + (MAX_COVARIATE_NAME + 4) * self.max_covariates + 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A forecast with its provenance, as every wire sends it."""

    customer_id: str
    """Whose model answered."""

    result: ForecastResult
    """What it answered."""

    metadata: ModelMetadata
    """Which model it was."""

    tier: CacheTier
    """Where the replica had it."""
