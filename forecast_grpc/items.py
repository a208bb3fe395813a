"""What a batch or a stream asks for, and what becomes of it: many forecasts on their way through a replica.

What can be answered by one pass of arithmetic over many series stands together in a `Group`; what cannot is a
`Single`, and takes the way of a request of its own. Both give the same bits.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from forecast_grpc.domain import Answer, FloatArray, ForecastQuery, ModelMetadata, RequestLimits
from forecast_grpc.errors import ForecastError, RequestInvalid

ModelKey = tuple[str, int | None]
"""A customer, and the version where an item names one; None for the active version."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Items that differ by their models and their observations alone, and need nothing but those."""

    places: Sequence[int]
    """Which items they are, counted from 0."""

    keys: Sequence[ModelKey]
    """The model that each of them asks; the customers' names are not checked yet."""

    windows: FloatArray
    """Their observations, oldest first, shape (len(places), n), n >= 1, all finite."""

    horizon: int | None
    """Steps to forecast, within the server's limits; None for each model's own horizon."""

    levels: tuple[float, ...]
    """Quantile levels, each strictly between 0 and 1."""

    def part(self, rows: Sequence[int]) -> "Group":
        """Some of them."""
        if len(rows) == len(self.places):
            return self
        return Group(
            places=[self.places[row] for row in rows],
            keys=[self.keys[row] for row in rows],
            windows=self.windows[rows],
            horizon=self.horizon,
            levels=self.levels,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Single:
    """An item that is answered on its own."""

    customer_id: str
    """Whose model is to answer; not checked yet."""

    place: int
    """Which item it is, counted from 0."""

    query: ForecastQuery | RequestInvalid
    """What it asks for, or what is wrong with that."""


class Allowance:
    """How many values the forecasts of some items may still hold, all together."""

    def __init__(self, values: int) -> None:
        self.most = values
        """How many they may hold in all."""
        self._left = values

    def take(self, values: int) -> bool:
        """Whether there are so many left; they are not afterwards."""
        allowed = values <= self._left
        self._left -= values if allowed else 0
        return allowed


class Items(Protocol):
    """What a call asks for, as its wire brought it."""

    allowance: Allowance
    """For the forecasts of all of them."""

    values: int
    """About how many values they hold themselves."""

    def __len__(self) -> int:
        """How many items there are."""
        ...

    def read(self, start: int, stop: int) -> tuple[list[Group], list[Single]]:
        """The items from `start` up to `stop`, decoded and judged: each of them once. Raises nothing."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """The model that answered."""

    customer_id: str
    """The customer whose model it is."""

    metadata: ModelMetadata
    """Which model it is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """The forecasts of many items at once."""

    sources: Sequence[Source]
    """Where each of the k forecasts is from."""

    forecast: FloatArray
    """The point forecasts, shape (k, horizon)."""

    levels: tuple[float, ...] = ()
    """The quantile levels."""

    quantiles: FloatArray | None = None
    """The forecasts at each of them, shape (k, len(levels), horizon); None where there are no levels."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """What became of some items."""

    items: Items
    """All that they were among."""

    places: Sequence[int]
    """Which of them they are."""

    outcome: Rows | Answer | ForecastError
    """A row for each of them; or the answer to the only one; or what each of them gets instead."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """A batch that may be answered."""

    items: Items
    """What is asked for."""

    limit_s: float | None = None
    """Seconds after which the caller wants what is there; None where the caller does not say."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BulkLimits:
    """How much batches and streams may ask for."""

    item: RequestLimits
    """How much each item may ask for."""

    max_batch_items: int
    """Items of a batch."""

    max_batch_values: int
    """Observations and values of covariates in all items of a batch together; values of all its forecasts; and
    values that a stream holds."""

    max_stream_items: int
    """Items of a stream's message, and items of a stream that wait for their results."""

    @property
    def max_answer_values(self) -> int:
        """Values of the longest answer to a single request."""
        return self.item.max_horizon * (1 + self.item.max_quantile_levels)
