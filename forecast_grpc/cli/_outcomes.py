"""What came of a fit, in words and in JSON."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from rich.markup import escape

from forecast_grpc.cli._common import table
from forecast_grpc.cli._describe import describe
from forecast_grpc.domain import ModelMetadata
from forecast_grpc.fit import FitOutcome, Table

_SHOWN = 20
"""Failures that are listed one by one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of one customer."""

    fitted: FitOutcome
    """The model, or why there is none."""

    version: int | None
    """The version that it was published under; None where it was not."""


def outcome_json(outcome: Outcome) -> dict[str, Any]:
    """One line of `fit --json`."""
    customer_id, model = outcome.fitted.customer_id, outcome.fitted.model
    if model is None:
        return {"customer_id": customer_id, "error": outcome.fitted.error}
    # The digest is that of the published bytes, which the store alone has.
    facts = {key: value for key, value in describe(model.metadata).items() if key != "sha256"}
    return {"customer_id": customer_id, **facts, "model_version": outcome.version}


def guesses(name: str, read: Table, given: tuple[str | None, ...]) -> str:
    """How the file was understood, and which of it was guessed."""
    found = {
        "customer column": read.customer_column,
        "time column": read.time_column,
        "value column": read.value_column,
        "step": read.frequency or "1",
    }
    parts = [
        f"{what} {value}" + ("" if named else " (guessed)")
        for (what, value), named in zip(found.items(), given, strict=True)
    ]
    return escape(f"{name}: {len(read)} customers, {', '.join(parts)}.")


@dataclass(slots=True)
class Summary:
    """The whole fit, gathered as it goes."""

    models: list[ModelMetadata] = field(default_factory=list)
    """The metadata of the fitted models."""

    failed: list[FitOutcome] = field(default_factory=list)
    """The customers without one."""

    def add(self, outcome: Outcome) -> None:
        """Takes in one customer."""
        if outcome.fitted.model is None:
            self.failed.append(outcome.fitted)
        else:
            self.models.append(outcome.fitted.model.metadata)

    def table(self) -> Any:  # noqa: ANN401 - rich's tables hold anything.
        """A row a family: how many customers, how accurate."""
        columns = ("customers", "horizon", "season", "median MASE", "median sMAPE", "MASE below 1")
        rows = table("family", *columns, numbers=columns)
        for family in sorted({model.family for model in self.models}):
            rows.add_row(family, *_row([model for model in self.models if model.family == family]))
        rows.add_row("all", *_row(self.models), style="bold")
        return rows

    def assumptions(self, horizon: int | None, season_length: int | None) -> str:
        """What was taken for granted of the models; empty where all was given."""
        horizons = _range(model.horizon for model in self.models)
        seasons = _range(model.season_length for model in self.models)
        assumed = [f"a horizon of {horizons}"] if horizon is None else []
        assumed += [f"a season of {seasons}"] if season_length is None else []
        return f"Assumed {' and '.join(assumed)} steps." if assumed and self.models else ""

    def failures(self) -> str:
        """The customers without a model, with the reasons."""
        lines = [f"{each.customer_id}: {each.error}" for each in self.failed[:_SHOWN]]
        if len(self.failed) > _SHOWN:
            lines.append(f"... and {len(self.failed) - _SHOWN} more: see them all with --json.")
        heading = (
            f"{len(self.failed)} of {len(self.failed) + len(self.models)} customers could not be fitted:"
        )
        return escape("\n".join([heading, *lines]))


def _row(models: list[ModelMetadata]) -> list[str]:
    mase = _measured(models, "mase")
    smape = _measured(models, "smape")
    better = sum(error < 1 for error in mase)
    return [
        str(len(models)),
        _range(model.horizon for model in models),
        _range(model.season_length for model in models),
        f"{median(mase):.3f}" if mase else "-",
        f"{median(smape):.2f} %" if smape else "-",
        f"{100 * better / len(mase):.0f} %" if mase else "-",
    ]


def _measured(models: list[ModelMetadata], name: str) -> list[float]:
    return [model.accuracy[name] for model in models if name in model.accuracy]


def _range(numbers: Iterable[int]) -> str:
    different = sorted(set(numbers))
    if not different:
        return "-"
    return str(different[0]) if len(different) == 1 else f"{different[0]}-{different[-1]}"
