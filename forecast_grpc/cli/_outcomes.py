"""What came of a fit, in words, in tables and in JSON."""

import math
from collections.abc import Iterable, Sequence
from typing import Any

from rich.markup import escape

from forecast_grpc.cli._common import table
from forecast_grpc.cli._describe import describe
from forecast_grpc.cli._tally import FamilyTally, Tally
from forecast_grpc.fit import FitOutcome, Table

_SHOWN = 20
"""Failures that are listed one by one."""


def outcome_json(outcome: FitOutcome) -> dict[str, Any]:
    """One line of `fit --json`."""
    head = {"customer_id": outcome.customer_id, "status": str(outcome.status)}
    if outcome.metadata is None:
        return {**head, "error": outcome.error}
    # The digest is that of the published bytes, which the store alone has.
    facts = {key: value for key, value in describe(outcome.metadata).items() if key != "sha256"}
    return {**head, **facts, "model_version": outcome.version}


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


def families(tally: Tally) -> Any:  # noqa: ANN401 - rich's tables hold anything.
    """A row a family: how many customers, how accurate."""
    columns = ("customers", "horizon", "season", "median MASE", "median sMAPE", "against naive", "better")
    rows = table("family", *columns, numbers=columns)
    for name in sorted(tally.families):
        rows.add_row(name, *_row(tally.families[name]))
    rows.add_row("all", *_row(tally.whole), style="bold")
    return rows


def worst(tally: Tally) -> Any:  # noqa: ANN401
    """A row a customer with a large error, the largest first."""
    columns = ("MASE", "against naive")
    rows = table("the worst", "family", *columns, numbers=columns)
    for each in tally.worst:
        rows.add_row(escape(each.customer_id), each.family, _number(each.mase), _number(each.relative_mae))
    return rows


def assumptions(tally: Tally, horizon: int | None, season_length: int | None) -> str:
    """What was taken for granted of the models; empty where all was given."""
    whole = tally.whole
    assumed = [f"a horizon of {_range(whole.horizons)}"] if horizon is None else []
    assumed += [f"a season of {_range(whole.season_lengths)}"] if season_length is None else []
    return f"Assumed {' and '.join(assumed)} steps." if assumed and whole.customers else ""


def unchanged(tally: Tally) -> str:
    """How many customers were left as they are; empty where none was."""
    if not tally.unchanged:
        return ""
    customers = tally.whole.customers + len(tally.failed)
    return (
        f"{tally.unchanged} of {customers} customers had a model of this history and these options already, which "
        "stays: --again fits them anew."
    )


def covariates(tally: Tally, columns: Sequence[str]) -> str:
    """How many models use the covariates; empty where there are none, or all models do."""
    models = tally.whole.customers
    if not columns or tally.with_covariates == models:
        return ""
    names = ", ".join(columns)
    return escape(
        f"{tally.with_covariates} of {models} models use the covariates {names}; other families take none."
    )


def failures(tally: Tally) -> str:
    """The customers without a model, with the reasons."""
    failed = len(tally.failed)
    lines = [f"{customer_id}: {error}" for customer_id, error in tally.failed[:_SHOWN]]
    if failed > _SHOWN:
        lines.append(f"... and {failed - _SHOWN} more: see them all with --json.")
    heading = f"{failed} of {failed + tally.whole.customers} customers could not be fitted:"
    return escape("\n".join([heading, *lines]))


def _row(family: FamilyTally) -> list[str]:
    return [
        str(family.customers),
        _range(family.horizons),
        _range(family.season_lengths),
        _number(family.median("mase")),
        _number(family.median("smape"), "{:.2f} %"),
        _number(family.median("relative_mae")),
        _number(100 * family.better, "{:.0f} %"),
    ]


def _number(value: float, form: str = "{:.3f}") -> str:
    return "-" if math.isnan(value) else form.format(value)


def _range(numbers: Iterable[int]) -> str:
    different = sorted(numbers)
    if not different:
        return "-"
    return str(different[0]) if len(different) == 1 else f"{different[0]}-{different[-1]}"
