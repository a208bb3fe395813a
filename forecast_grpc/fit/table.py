"""A file of many customers' history -> one series a customer."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from forecast_grpc.fit.series import Series


class TableError(ValueError):
    """The file as a whole cannot be read as history. The message is one sentence for a person."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """The history of many customers, grouped but not yet put on their grids."""

    customers: tuple[str, ...]
    """Customers in the order of their first rows."""

    customer_column: str
    """The column that names the customer, given or guessed."""

    time_column: str
    """The column that orders the observations, given or guessed."""

    value_column: str
    """The column that holds the observations, given or guessed."""

    frequency: str | None
    """The length of a step as given, ISO-8601; None: guessed for each customer from its timestamps."""

    def __len__(self) -> int:
        """The number of customers."""
        return len(self.customers)

    def series(self, customer_id: str) -> Series:
        """One customer's history on its grid: sorted, gaps filled with NaN.

        Raises SeriesError where a time occurs twice, lies off the grid, or the values are not finite numbers, and
        where the customer's name is not one that the service accepts.
        """
        raise NotImplementedError

    def __iter__(self) -> Iterator[str]:
        """The customers."""
        return iter(self.customers)


def read_table(
    path: Path,
    *,
    customer_column: str | None = None,
    time_column: str | None = None,
    value_column: str | None = None,
    frequency: str | None = None,
) -> Table:
    """The history in a CSV or Parquet file, also compressed (`.gz`).

    Columns that are not named are guessed from their names and types. The time column holds ISO-8601 timestamps,
    dates, or integers that count steps. `frequency` is an ISO-8601 duration of one unit, such as `PT15M`, `P1D`
    or `P1M`; None: guessed.

    Raises TableError where the file is missing, cannot be parsed, or a column cannot be found or guessed, and
    where pyarrow is not installed.
    """
    raise NotImplementedError
