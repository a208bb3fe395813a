"""`forecast-grpc batch`: forecasts of every customer in a file, from the running service."""

import csv
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TextIO

import typer

from forecast_grpc.cli._common import CommandFailed, JsonOption, notes, progress
from forecast_grpc.cli._target import (
    DEFAULT_ADDRESS,
    AddressOption,
    ApplicationOption,
    TimeoutOption,
    TlsOption,
    TokenOption,
    target,
)
from forecast_grpc.cli.fit import column_option, read_file
from forecast_grpc.cli.forecast import response_to_json

if TYPE_CHECKING:
    from forecast_grpc.cli._call import Connection
    from forecast_grpc.fit import Table
    from forecast_grpc.v1.forecast_pb2 import ForecastItem, ForecastResponse, ForecastResult

_AT_ONCE = 500  # Customers in a call: enough to be quick, few enough to show progress.
_SHOWN = 10  # Failures that are told at most.


def batch(  # noqa: PLR0913 - each is an option of the command.
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
    last: Annotated[
        int, typer.Option(min=1, max=10_000, help="Observations of each customer to send, the latest ones.")
    ] = 500,
    horizon: Annotated[
        int | None, typer.Option(help="Steps to forecast.", show_default="each model's own")
    ] = None,
    quantiles: Annotated[
        str,
        typer.Option(
            metavar="LEVELS", help="Quantile levels to forecast too, such as 0.1,0.9.", show_default=False
        ),
    ] = "",
    output_file: Annotated[
        Path | None,
        typer.Option(
            "--output", metavar="FILE", help="Write the forecasts here.", show_default="standard output"
        ),
    ] = None,
    address: AddressOption = DEFAULT_ADDRESS,
    timeout: TimeoutOption = 30.0,
    tls: TlsOption = False,
    token: TokenOption = None,
    application: ApplicationOption = None,
    as_json: JsonOption = False,
) -> None:
    """Ask the running service for the forecasts of every customer in a file.

    Each goes on from the customer's latest observations in the file. A customer who cannot be forecast is
    reported, the others are written, and the exit code is 1.
    """
    from forecast_grpc.cli import _outcomes as words
    from forecast_grpc.cli._call import connected
    from forecast_grpc.cli._values import levels

    columns = {"customer_column": customer_column, "time_column": time_column, "value_column": value_column}
    service = target(address, timeout, tls=tls, token=token, application=application)
    asked = levels(quantiles) if quantiles else []
    table = read_file(file, **columns)
    notes().print(words.guesses(file.name, table, (*columns.values(), None)))
    work = Work(table=table, last=last, fields={"horizon": horizon, "quantile_levels": asked})
    with _opened(output_file) as stream, connected(service) as connection, progress() as bar:
        writer = _JsonLines(stream) if as_json else _Csv(stream, asked)
        task = bar.add_task("Forecasting", total=len(table))
        for items in work.batches():
            for item, result in zip(items, _asked(connection, items), strict=True):
                if result.HasField("error"):
                    work.failures[item.customer_id] = result.error.message
                else:
                    writer.write(result.response)
            bar.update(task, completed=work.done)
    _finish(work)


@dataclass(slots=True, kw_only=True)
class Work:
    """The customers of a file, as items of batches."""

    table: "Table"
    """Their histories."""

    last: int
    """Observations of each to send."""

    fields: dict[str, Any]
    """What else stands in each request."""

    failures: dict[str, str] = field(default_factory=dict)
    """The customers who were not forecast, each with a sentence."""

    done: int = 0
    """Customers that have been looked at."""

    def batches(self) -> "Iterator[list[ForecastItem]]":
        """The items, so many at a time. Customers whose history is none are failures."""
        items = self._items()
        while some := list(islice(items, _AT_ONCE)):
            yield some

    def _items(self) -> "Iterator[ForecastItem]":
        from forecast_grpc.fit import SeriesError
        from forecast_grpc.v1.forecast_pb2 import ForecastItem, ForecastRequest

        for customer_id in self.table:
            self.done += 1
            try:
                values = self.table.series(customer_id).values[-self.last :]
            except SeriesError as exc:
                self.failures[customer_id] = f"{exc}."
                continue
            request = ForecastRequest(sequence_data=values.tolist(), **self.fields)
            yield ForecastItem(customer_id=customer_id, request=request)


class _Csv:
    """Writes a row for each step."""

    def __init__(self, stream: TextIO, levels: list[float]) -> None:
        self._rows = csv.writer(stream, lineterminator="\n")
        self._rows.writerow(["customer", "step", "forecast", *(f"quantile_{level:g}" for level in levels)])

    def write(self, response: "ForecastResponse") -> None:
        columns = [response.forecast, *(each.values for each in response.quantiles)]
        for step, cells in enumerate(zip(*columns, strict=True), start=1):
            self._rows.writerow([response.customer_id, step, *cells])


class _JsonLines:
    """Writes an object for each customer."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, response: "ForecastResponse") -> None:
        self._stream.write(json.dumps(response_to_json(response), ensure_ascii=False) + "\n")


@contextmanager
def _opened(file: Path | None) -> Iterator[TextIO]:
    if file is None:
        yield sys.stdout
        return
    try:
        stream = file.open("w", encoding="utf-8", newline="")
    except OSError as exc:
        raise CommandFailed(f"{file} cannot be written: {exc.strerror}.") from exc
    with stream:
        yield stream


def _asked(connection: "Connection", items: "list[ForecastItem]") -> "list[ForecastResult]":
    from forecast_grpc.v1.forecast_pb2 import BatchForecastRequest
    from forecast_grpc.v1.forecast_pb2_grpc import ForecastServiceStub

    method = ForecastServiceStub(connection.channel).BatchForecast
    return list(connection.ask(method, BatchForecastRequest(items=items)).response.results)


def _finish(work: Work) -> None:
    """Says what went wrong, if anything did, and ends the command with what that means."""
    for customer_id, message in list(work.failures.items())[:_SHOWN]:
        notes().print(f"{customer_id}: {message}", markup=False)
    if work.failures:
        raise CommandFailed(f"{len(work.failures)} of {len(work.table)} customers could not be forecast.")
