"""The whole fit in numbers, gathered as it goes: a few bytes a customer, however many there are."""

import heapq
import math
from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from statistics import median

from forecast_grpc.domain import ModelMetadata
from forecast_grpc.fit import FitOutcome, Status

MEASURES = ("mase", "smape", "relative_mae")
"""The errors that are gathered, by their names in the artefact; see docs/models.md."""

_SHOWN_TO = 3.0
_BINS = 30


@dataclass(frozen=True, slots=True, order=True)
class Worst:
    """A customer with a large error."""

    mase: float
    """By which they are ordered."""

    customer_id: str
    """The customer."""

    family: str
    """Its model's."""

    relative_mae: float
    """NaN where it is not known."""


@dataclass(slots=True)
class FamilyTally:
    """The models of one family."""

    customers: int = 0
    """How many there are."""

    horizons: set[int] = field(default_factory=set)
    """Theirs, in steps."""

    season_lengths: set[int] = field(default_factory=set)
    """Theirs, in steps."""

    errors: "dict[str, array[float]]" = field(default_factory=lambda: {name: array("d") for name in MEASURES})
    """By MEASURES, of the models of which they are known."""

    def add(self, model: ModelMetadata) -> None:
        """Takes in one model."""
        self.customers += 1
        self.horizons.add(model.horizon)
        self.season_lengths.add(model.season_length)
        for name in MEASURES:
            if name in model.accuracy:
                self.errors[name].append(model.accuracy[name])

    def median(self, name: str) -> float:
        """The median of an error; NaN where it is known of none."""
        return median(self.errors[name]) if self.errors[name] else math.nan

    @property
    def better(self) -> float:
        """The share of models with a smaller error than the seasonal naive method; NaN where none is known."""
        known = self.errors["relative_mae"]
        return sum(error < 1 for error in known) / len(known) if known else math.nan

    @classmethod
    def of(cls, families: Iterable["FamilyTally"]) -> "FamilyTally":
        """All of them as one."""
        whole = cls()
        for each in families:
            whole.customers += each.customers
            whole.horizons |= each.horizons
            whole.season_lengths |= each.season_lengths
            for name in MEASURES:
                whole.errors[name].extend(each.errors[name])
        return whole


@dataclass(slots=True)
class Tally:
    """All customers of a fit."""

    worst_count: int = 0
    """Customers that are kept for their large errors."""

    families: dict[str, FamilyTally] = field(default_factory=dict)
    """By their names."""

    failed: list[tuple[str, str]] = field(default_factory=list)
    """Customers without a model, and why."""

    unchanged: int = 0
    """Customers who had this very model already."""

    with_covariates: int = 0
    """Models that were fitted with covariates."""

    _worst: list[Worst] = field(default_factory=list)

    def add(self, outcome: FitOutcome) -> None:
        """Takes in one customer."""
        model = outcome.metadata
        if model is None:
            self.failed.append((outcome.customer_id, outcome.error or ""))
            return
        self.with_covariates += bool(model.covariates)
        self.unchanged += outcome.status is Status.UNCHANGED
        self.families.setdefault(model.family, FamilyTally()).add(model)
        if "mase" in model.accuracy:
            self._keep(outcome.customer_id, model)

    def _keep(self, customer_id: str, model: ModelMetadata) -> None:
        relative = model.accuracy.get("relative_mae", math.nan)
        heapq.heappush(self._worst, Worst(model.accuracy["mase"], customer_id, model.family, relative))
        if len(self._worst) > self.worst_count:
            heapq.heappop(self._worst)

    @property
    def whole(self) -> FamilyTally:
        """All families as one."""
        return FamilyTally.of(self.families.values())

    @property
    def worst(self) -> list[Worst]:
        """The largest errors, the largest first."""
        return sorted(self._worst, reverse=True)


def bins(errors: Sequence[float]) -> tuple[list[float], list[int]]:
    """How many errors lie from each of these on, up to the next: from 0, and in the last one all from 3 on."""
    width = _SHOWN_TO / _BINS
    counts = [0] * (_BINS + 1)
    for error in errors:
        counts[min(int(error / width), _BINS)] += 1
    return [index * width for index in range(_BINS + 1)], counts
