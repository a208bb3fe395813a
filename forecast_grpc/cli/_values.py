"""Numbers as people give them on a command line."""

import csv
import io
import math
import sys
from pathlib import Path

from forecast_grpc.cli._common import CommandFailed, ExitCode

_MISSING = {"", "nan", "na", "null", "none"}
"""How a missing observation may be written, whatever the case."""


def observations(given: str, column: str | None = None) -> list[float]:
    """The observations that VALUES stand for: `1,2,3`, `-` for standard input, or `@file.csv`.

    NaN stands for a missing one. In a file, `column` names the one to read where there are several. Ends the
    command where something else than a number is met.
    """
    if given == "-":
        return _from_table(sys.stdin.read(), "standard input", column)
    if given.startswith("@"):
        return _from_table(_read(Path(given[1:])), given[1:], column)
    if given.startswith("--"):
        raise CommandFailed(f"There is no option {given.partition('=')[0]}.", ExitCode.USAGE)
    return [_number(cell, f"value {place}") for place, cell in enumerate(given.split(","), start=1)]


def covariates(given: list[str]) -> list[dict[str, object]]:
    """What each NAME=VALUES stands for, as the request takes it. VALUES are `1,2,3`, `@file.csv` or `-`."""
    return [_covariate(each) for each in given]


def _covariate(given: str) -> dict[str, object]:
    name, equals, text = given.partition("=")
    if not (name and equals):
        raise CommandFailed(f"--covariate is given as NAME=1,2,3, not as {given}.", ExitCode.USAGE)
    if text.startswith("@"):
        table = _read(Path(text[1:]))
        # In a file of several columns, the one of its own name.
        column = name if "," in table.partition("\n")[0] else None
        return {"name": name, "values": _from_table(table, text[1:], column)}
    return {"name": name, "values": observations(text) if text else []}


def levels(given: str) -> list[float]:
    """Quantile levels, separated by commas. The service checks their range."""
    return [_number(cell, "--quantiles") for cell in given.split(",")]


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as exc:
        raise CommandFailed(f"{path} is not a text file.") from exc
    except OSError as exc:
        raise CommandFailed(f"{path} cannot be read: {exc.strerror}.") from exc


def _from_table(text: str, source: str, column: str | None) -> list[float]:
    """One number a line, or all of them on one line, or the column of that name in a CSV with a header."""
    rows = list(csv.reader(io.StringIO(text), skipinitialspace=True))
    while rows and not any(rows[-1]):
        rows.pop()
    if column is not None:
        cells = _column(rows, source, column)
    elif len(rows) == 1:
        cells = rows[0]
    else:
        cells = _only_column(rows, source)
    return [_number(cell, f"{source}, value {place}") for place, cell in enumerate(cells, start=1)]


def _column(rows: list[list[str]], source: str, column: str) -> list[str]:
    header = [name.strip() for name in rows[0]] if rows else []
    if column not in header:
        there = ", ".join(header) or "none"
        raise CommandFailed(f"{source} has no column {column}. There are: {there}.", ExitCode.USAGE)
    place = header.index(column)
    return [row[place] if place < len(row) else "" for row in rows[1:]]


def _only_column(rows: list[list[str]], source: str) -> list[str]:
    if any(len(row) > 1 for row in rows):
        raise CommandFailed(f"{source} has several columns: name one with --column.", ExitCode.USAGE)
    cells = [row[0] if row else "" for row in rows]
    return cells if not cells or _is_number(cells[0]) else cells[1:]


def _is_number(cell: str) -> bool:
    try:
        _parse(cell)
    except ValueError:
        return False
    return True


def _number(cell: str, place: str) -> float:
    try:
        return _parse(cell)
    except ValueError:
        raise CommandFailed(f"{place} is not a number: {cell.strip()}", ExitCode.USAGE) from None


def _parse(cell: str) -> float:
    text = cell.strip()
    return math.nan if text.lower() in _MISSING else float(text)
