"""`forecast-grpc fit`: from a file of histories to models in the store."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

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
    publishing_address,
    use_one_thread,
)
from forecast_grpc.cli.keys import SignOption, read_key

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from forecast_grpc.cli._tally import Tally
    from forecast_grpc.fit import FitJob, FitOutcome, Table

_FEW = 200
"""Customers below which one process is done before Ray has started."""


class Family(StrEnum):
    """What --family may be."""

    AUTO = "auto"
    TREND = "trend"
    SEASONAL_NAIVE = "seasonal_naive"
    THETA = "theta"
    LINEAR = "linear"
    ETS = "ets"
    SEASONAL_AR = "seasonal_ar"


def column_option(what: str) -> object:
    """The option that names the column with this in it."""
    return typer.Option(metavar="NAME", help=f"The column that holds {what}.", show_default="guessed")


def fit(  # noqa: PLR0913 - each is an option of the command.
    file: Annotated[
        Path,
        typer.Argument(metavar="FILE", help="CSV or Parquet, one observation a row.", show_default=False),
    ],
    *,
    customer_column: Annotated[str | None, column_option("the customer")] = None,
    time_column: Annotated[
        str | None, column_option("timestamps, dates, or integers that count steps")
    ] = None,
    value_column: Annotated[str | None, column_option("the observations")] = None,
    covariate_column: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="A column that holds what else is known at each step, such as prices. May be given again.",
            show_default=False,
        ),
    ] = None,
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
    ray_address: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS",
            help="Fit on the Ray cluster at HOST:PORT, or `auto`.",
            show_default="one of its own",
        ),
    ] = None,
    again: Annotated[
        bool, typer.Option("--again", help="Fit customers anew who have a model of the same history.")
    ] = False,
    sign: SignOption = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Fit and measure, but publish nothing.")] = False,
    worst_count: Annotated[
        int,
        typer.Option("--worst", min=0, help="Customers with the largest errors to name, if there are more."),
    ] = 5,
    report: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write a report into an .html, .json, .png or .svg file."),
    ] = None,
    plot: Annotated[bool, typer.Option("--plot", help="Draw how the errors are spread.")] = False,
    as_json: JsonOption = False,
    store: StoreOption = None,
) -> None:
    """Fit a model to each customer's history, measure it, and publish it.

    Each model is measured by rolling origin: on stretches of the history that it had not seen. A customer whose
    history cannot be fitted is reported, the others are published, and the exit code is 1. The same command goes
    on where it was interrupted.
    """
    use_one_thread()
    from forecast_grpc.cli import _outcomes as words
    from forecast_grpc.cli._tally import Tally
    from forecast_grpc.fit import FitJob

    _check_drawing(report, plot=plot)
    table = read_file(
        file,
        customer_column=customer_column,
        time_column=time_column,
        value_column=value_column,
        covariate_columns=covariate_column or (),
        frequency=frequency,
    )
    job = FitJob(
        family=family,
        horizon=horizon,
        season_length=season_length,
        store=None if dry_run else publishing_address(store),
        again=again,
        key=read_key(sign) if sign else None,
    )
    notes().print(words.guesses(file.name, table, (customer_column, time_column, value_column, frequency)))
    tally = Tally(worst_count=worst_count)
    with _fitting(table, job, processes, ray_address) as outcomes:
        for outcome in outcomes:
            tally.add(outcome)
            if as_json:
                print_json(words.outcome_json(outcome))
    if not as_json:
        _print(tally)
    for note in (
        words.unchanged(tally),
        words.assumptions(tally, horizon, season_length),
        words.covariates(tally, covariate_column or ()),
    ):
        if note:
            notes().print(note)
    _draw(tally, report, f"{file.name}: {len(table)} customers", plot=plot, as_json=as_json)
    if tally.failed:
        notes().print(words.failures(tally))
        raise typer.Exit(ExitCode.FAILED)


@contextmanager
def _fitting(
    table: "Table", job: "FitJob", processes: int | None, ray_address: str | None
) -> "Iterator[Iterator[FitOutcome]]":
    """The outcomes as they come, in this process where they are few, by Ray where they are many."""
    from forecast_grpc.fit import ClusterError, fit_on_ray, fit_table

    alone = ray_address is None and (processes == 1 or (processes is None and len(table) < _FEW))
    with progress() as bar:
        task = bar.add_task("Fitting" if alone else "Starting Ray", total=len(table))
        if alone:
            yield _counted(fit_table(table, job), bar, task)
            return
        from forecast_grpc.cli._ray import connected

        with connected(ray_address, processes or os.cpu_count()) as cores:
            bar.update(task, description="Fitting")
            try:
                yield _counted(fit_on_ray(table, job, processes=processes or cores), bar, task)
            except ClusterError as exc:
                raise CommandFailed(_sentence(str(exc))) from exc


def _counted(outcomes: "Iterator[FitOutcome]", bar: "Progress", task: "TaskID") -> "Iterator[FitOutcome]":
    for outcome in outcomes:
        yield outcome
        bar.advance(task)


def _print(tally: "Tally") -> None:
    from forecast_grpc.cli import _outcomes as words

    output().print(words.families(tally))
    # All customers would be no choice of them.
    if 0 < len(tally.worst) < len(tally.whole.errors["mase"]):
        output().print()
        output().print(words.worst(tally))


def _check_drawing(report: Path | None, *, plot: bool) -> None:
    if report is not None:
        from forecast_grpc.cli._report import require

        require(report)
    if plot:
        from forecast_grpc.cli import _histogram

        _histogram.require()


def _draw(tally: "Tally", report: Path | None, title: str, *, plot: bool, as_json: bool) -> None:
    if plot:
        from forecast_grpc.cli._histogram import in_terminal

        # With --json standard output is for programs alone.
        console = notes() if as_json else output()
        typer.echo(in_terminal(tally, colours=console.is_terminal), err=as_json)
    if report is not None:
        from forecast_grpc.cli._report import write

        write(tally, report, title)
        notes().print(f"Wrote {report}.")


def read_file(file: Path, **options: Any) -> "Table":  # noqa: ANN401 - as `read_table` takes them.
    """The histories in a file. Ends the command where it cannot be read."""
    from forecast_grpc.fit import TableError, read_table

    try:
        # The table's reader says at length what the system says in three words.
        file.open("rb").close()
        return read_table(file, **options)
    except OSError as exc:
        raise CommandFailed(f"{file} cannot be read: {exc.strerror}.") from exc
    except TableError as exc:
        raise CommandFailed(_sentence(str(exc))) from exc


def _sentence(text: str) -> str:
    """One line with a capital and a full stop; what a file's own names begin with stays as it is."""
    line = " ".join(text.split()).removesuffix(".") + "."
    return line[0].upper() + line[1:] if line.startswith(("the ", "there ", "reading ")) else line
