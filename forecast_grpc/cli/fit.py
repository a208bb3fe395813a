"""`forecast-grpc fit`: from a file of histories to models in the store."""

import os
from collections.abc import Callable, Iterator
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from forecast_grpc.cli._common import (
    CommandFailed,
    ExitCode,
    JsonOption,
    StoreOption,
    notes,
    output,
    print_json,
    progress,
    store_to_publish,
    use_one_thread,
)

if TYPE_CHECKING:
    from forecast_grpc.cli._outcomes import Outcome
    from forecast_grpc.fit import FitOutcome, Table

_FEW = 200
"""Customers below which one process is as fast as several."""


class Family(StrEnum):
    """What --family may be."""

    AUTO = "auto"
    TREND = "trend"
    SEASONAL_NAIVE = "seasonal_naive"
    THETA = "theta"
    LINEAR = "linear"
    ETS = "ets"


def _column(what: str) -> object:
    return typer.Option(metavar="NAME", help=f"The column that holds {what}.", show_default="guessed")


def fit(  # noqa: PLR0913 - each is an option of the command.
    file: Annotated[
        Path,
        typer.Argument(metavar="FILE", help="CSV or Parquet, one observation a row.", show_default=False),
    ],
    *,
    customer_column: Annotated[str | None, _column("the customer")] = None,
    time_column: Annotated[str | None, _column("timestamps, dates, or integers that count steps")] = None,
    value_column: Annotated[str | None, _column("the observations")] = None,
    horizon: Annotated[
        int | None, typer.Option(min=1, help="Steps to forecast.", show_default="by the frequency, as in M4")
    ] = None,
    season_length: Annotated[
        int | None,
        typer.Option(min=1, help="Steps in a season; 1 for none.", show_default="by the frequency"),
    ] = None,
    frequency: Annotated[
        str | None,
        typer.Option(
            help="The length of a step: PT15M, PT1H, P1D, P1W, P1M, P1Y ...", show_default="guessed"
        ),
    ] = None,
    family: Annotated[
        Family, typer.Option(help="The kind of model; auto takes the most accurate for each customer.")
    ] = Family.AUTO,
    processes: Annotated[
        int | None,
        typer.Option(min=1, help="Customers to fit at a time.", show_default="a core each, if many"),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Fit and measure, but publish nothing.")] = False,
    as_json: JsonOption = False,
    store: StoreOption = None,
) -> None:
    """Fit a model to each customer's history, measure it, and publish it.

    Each model is measured by rolling origin: on stretches of the history that it had not seen. A customer whose
    history cannot be fitted is reported, the others are published, and the exit code is 1.
    """
    use_one_thread()
    from forecast_grpc.cli._outcomes import Summary, guesses, outcome_json
    from forecast_grpc.fit import fit_table

    table = _read(file, customer_column, time_column, value_column, frequency)
    publish = None if dry_run else store_to_publish(store).publish
    notes().print(guesses(file.name, table, (customer_column, time_column, value_column, frequency)))
    fitted = fit_table(
        table,
        family=family,
        horizon=horizon,
        season_length=season_length,
        processes=processes or (os.cpu_count() or 1 if len(table) >= _FEW else 1),
    )
    summary = Summary()
    for outcome in _published(_watched(fitted, len(table)), publish):
        summary.add(outcome)
        if as_json:
            print_json(outcome_json(outcome))
    if not as_json:
        output().print(summary.table())
    if assumptions := summary.assumptions(horizon, season_length):
        notes().print(assumptions)
    if summary.failed:
        notes().print(summary.failures())
        raise typer.Exit(ExitCode.FAILED)


def _read(
    file: Path, customer: str | None, time: str | None, value: str | None, frequency: str | None
) -> "Table":
    from forecast_grpc.fit import TableError, read_table

    try:
        # The table's reader says at length what the system says in three words.
        file.open("rb").close()
        return read_table(
            file, customer_column=customer, time_column=time, value_column=value, frequency=frequency
        )
    except OSError as exc:
        raise CommandFailed(f"{file} cannot be read: {exc.strerror}.") from exc
    except TableError as exc:
        raise CommandFailed(_sentence(str(exc))) from exc


def _sentence(text: str) -> str:
    """One line with a capital and a full stop; what a file's own names begin with stays as it is."""
    line = " ".join(text.split()).removesuffix(".") + "."
    return line[0].upper() + line[1:] if line.startswith(("the ", "there ", "reading ")) else line


def _watched(outcomes: "Iterator[FitOutcome]", total: int) -> "Iterator[FitOutcome]":
    with progress() as bar:
        task = bar.add_task("Fitting", total=total)
        for outcome in outcomes:
            yield outcome
            bar.advance(task)


def _published(
    outcomes: "Iterator[FitOutcome]", publish: "Callable[[str, Callable[[int], bytes]], int] | None"
) -> "Iterator[Outcome]":
    from forecast_grpc.cli._outcomes import Outcome

    for outcome in outcomes:
        version = None
        if publish is not None and outcome.model is not None:
            version = publish(outcome.customer_id, outcome.model.encode)
        yield Outcome(fitted=outcome, version=version)
