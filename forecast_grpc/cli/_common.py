"""What the commands share: consoles, exit codes, the store option, errors as one sentence."""

import json
import os
import sys
from collections.abc import Iterable, Mapping
from enum import IntEnum
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from typer.core import TyperGroup

from forecast_grpc.errors import Code, ForecastError, StoreUnavailable

if TYPE_CHECKING:
    from pathlib import Path

    from forecast_grpc.store import ModelStore


class ExitCode(IntEnum):
    """What a command tells the script that called it."""

    DONE = 0
    """All of it was done."""

    FAILED = 1
    """It was tried, and failed, or failed for some."""

    USAGE = 2
    """The command line, or the request that it made, cannot be served whatever the state of the world."""

    NOT_FOUND = 3
    """There is no such model or version."""

    UNAVAILABLE = 4
    """The store or the service does not answer, or is too busy: the same command may succeed later."""


EXIT_CODES: Mapping[Code, ExitCode] = {
    Code.INVALID_ARGUMENT: ExitCode.USAGE,
    Code.NOT_FOUND: ExitCode.NOT_FOUND,
    Code.UNAVAILABLE: ExitCode.UNAVAILABLE,
    Code.RESOURCE_EXHAUSTED: ExitCode.UNAVAILABLE,
    Code.DEADLINE_EXCEEDED: ExitCode.UNAVAILABLE,
}
"""The exit code of an error by its gRPC code; FAILED where none is named."""


class CommandFailed(Exception):
    """Ends a command with one sentence on standard error."""

    def __init__(self, message: str, code: ExitCode = ExitCode.FAILED) -> None:
        super().__init__(message)
        self.code = code
        """What the process ends with."""


class Commands(TyperGroup):
    """A group of commands that end in one sentence, not in a traceback, where an error was to be expected."""

    def invoke(self, ctx: Any) -> Any:  # noqa: ANN401 - typer names no public type for either.
        """Runs the command; what it raises becomes a sentence and an exit code."""
        try:
            return super().invoke(ctx)
        except CommandFailed as exc:
            end(str(exc), exc.code)
        except ForecastError as exc:
            end(exc.message + _cause(exc), EXIT_CODES.get(exc.code, ExitCode.FAILED))


def end(message: str, code: ExitCode) -> NoReturn:
    """Writes the sentence to standard error and ends the command."""
    typer.echo(f"Error: {message}", err=True)
    raise typer.Exit(code)


def _cause(error: ForecastError) -> str:
    """What the system said, which is kept from callers of the service, but is what an operator needs."""
    cause = error.__cause__
    if not isinstance(error, StoreUnavailable) or cause is None:
        return ""
    return f" {cause.strerror}: {cause.filename}" if isinstance(cause, OSError) else f" {cause}"


_PIPE_WIDTH = 1_000
"""Columns where there is no terminal: what is read by programs and files is not to be folded."""


def output() -> Console:
    """For results: standard output."""
    return Console(highlight=False, width=None if sys.stdout.isatty() else _PIPE_WIDTH)


def notes() -> Console:
    """For everything else that people want to know: standard error."""
    return Console(stderr=True, highlight=False, width=None if sys.stderr.isatty() else _PIPE_WIDTH)


def table(*columns: str, numbers: Iterable[str] = ()) -> Table:
    """An empty table in the style of all of them; the columns in `numbers` are set to the right."""
    made = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 2, 0, 0))
    right = set(numbers)
    for column in columns:
        made.add_column(column, justify="right" if column in right else "left", no_wrap=True)
    # Where the terminal is too narrow, it is the names that fold.
    made.columns[0].no_wrap, made.columns[0].overflow = False, "fold"
    return made


def print_json(value: Mapping[str, Any]) -> None:
    """One object on one line of standard output, at once, so that a reader of the pipe sees it."""
    typer.echo(json.dumps(value, ensure_ascii=False))


def progress() -> Progress:
    """A bar on standard error, where that is a terminal."""
    console = notes()
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, console=console, disable=not console.is_terminal, transient=True)


def use_one_thread() -> None:
    """Keeps numpy's algebra to one thread, where numpy is not loaded yet.

    Its threads gain nothing on the small matrices of a fit, and wait for each other where others use the cores.
    """
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


StoreOption = Annotated[
    str | None,
    typer.Option(
        "--store",
        envvar="FORECAST_GRPC_STORE",
        metavar="STORE",
        help="Where the models are: a folder, or a bucket as s3://, gs:// or az://.",
        show_default="the demo store",
    ),
]

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for programs, one object a line.")]

CustomerArgument = Annotated[
    str, typer.Argument(metavar="CUSTOMER", help="The customer's name.", show_default=False)
]


def store_url(store: str | None) -> str:
    """The store that is meant: the one named, or the demo store."""
    from forecast_grpc.config import default_store

    return store or str(default_store())


def existing_store(store: str | None) -> "ModelStore":
    """The store, which is there and can be read. Ends the command where it is not."""
    url = store_url(store)
    opened = _open(url)
    try:
        opened.check()
    except StoreUnavailable as exc:
        if not isinstance(exc.__cause__, FileNotFoundError):
            raise
        missing = (
            f"no store at {url}" if store else "no demo store yet: build it with `forecast-grpc demo-store`"
        )
        raise CommandFailed(f"There is {missing}.", ExitCode.UNAVAILABLE) from exc
    return opened


def store_to_publish(store: str | None) -> "ModelStore":
    """The same, but a folder that was named and does not exist is created."""
    if store and _open(store).create():
        notes().print(f"Created the store {store}.")
    return existing_store(store)


def publishing_address(store: str | None) -> str:
    """The same, checked and created as well, as an address that means it in other processes too."""
    from forecast_grpc.store import FolderStore

    opened = store_to_publish(store)
    return str(opened.root.absolute()) if isinstance(opened, FolderStore) else store_url(store)


def store_folder(store: str | None) -> "Path":
    """The folder of the store that is meant. Ends the command where that store is not a folder."""
    from forecast_grpc.store import FolderStore

    url = store_url(store)
    opened = _open(url)
    if not isinstance(opened, FolderStore):
        # What follows the ? is nobody's name for the store.
        raise CommandFailed(f"{url.partition('?')[0]} is not a folder.", ExitCode.USAGE)
    return opened.root


def _open(url: str) -> "ModelStore":
    from forecast_grpc.store import open_store

    try:
        return open_store(url)
    except ValueError as exc:
        raise CommandFailed(str(exc), ExitCode.USAGE) from exc
