"""A file of many customers' history -> one series a customer."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from forecast_grpc.domain import CUSTOMER_ID_PATTERN, FloatArray
from forecast_grpc.fit.frequency import Frequency, guess_frequency
from forecast_grpc.fit.problems import SeriesError, TableError
from forecast_grpc.fit.series import LARGEST_VALUE, Series, grid_steps, grid_times

if TYPE_CHECKING:
    from forecast_grpc.fit.columns import Columns

_GAPS = 1_000_000  # From which the frequency is guessed, about.


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """The history of many customers, grouped but not yet put on their grids."""

    customer_column: str
    """The column that names the customer, given or guessed."""

    time_column: str
    """The column that orders the observations, given or guessed."""

    value_column: str
    """The column that holds the observations, given or guessed."""

    frequency: str | None
    """The length of a step for the whole file, ISO-8601, given or guessed; None for plain integer steps."""

    timestamps: bool
    """Whether times are microseconds since 1970 rather than integer steps."""

    rows: Mapping[str, NDArray[np.int64]]
    """The rows of each customer, in the file's order; the customers in that of their first rows."""

    times: NDArray[np.int64]
    """Each row's time, shape (n,)."""

    values: FloatArray
    """Each row's observation, shape (n,), NaN where missing."""

    covariates: Mapping[str, FloatArray] = field(default_factory=dict)
    """Each row's covariates by the columns that hold them, shape (n,) each, NaN where missing."""

    @property
    def customers(self) -> tuple[str, ...]:
        """The customers, in the order of their first rows."""
        return tuple(self.rows)

    def __len__(self) -> int:
        """The number of customers."""
        return len(self.rows)

    def __iter__(self) -> Iterator[str]:
        """The customers."""
        return iter(self.rows)

    def series(self, customer_id: str) -> Series:
        """One customer's history, first to last observation, on its grid: sorted, gaps filled with NaN.

        Raises SeriesError where a time occurs twice or lies off the grid, where a value is infinite or beyond
        1e30, where a covariate has no value at all, where the service accepts no such name for a customer, and
        where the file has no such customer.
        """
        rows = self.rows.get(customer_id)
        if rows is None:
            raise SeriesError("the file has no such customer")
        if not CUSTOMER_ID_PATTERN.fullmatch(customer_id):
            raise SeriesError(
                "a customer is named by 1 to 128 characters of A-Z a-z 0-9 . _ -, not like this"
            )
        rows = self._history(rows)
        times, values = self.times[rows], self.values[rows]
        covariates = {name: column[rows] for name, column in self.covariates.items()}
        for name, known in covariates.items():
            _check_covariate(name, known)
        if self.timestamps and self.frequency is not None:
            return grid_times(times, values, customer_id, Frequency.parse(self.frequency), covariates)
        return grid_steps(times, values, customer_id, self.frequency, covariates)

    def _history(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """The rows that say something, from the first observation to the last."""
        observed = rows[~np.isnan(self.values[rows])]
        if not observed.size:
            raise SeriesError("there is no observation")
        _check_size("a value", self.values[observed])
        if not self.covariates:
            # A row without a value says no more than no row.
            return observed
        times, known = self.times[rows], self.times[observed]
        within: NDArray[np.int64] = rows[(times >= known.min()) & (times <= known.max())]
        return within


def _check_covariate(name: str, values: FloatArray) -> None:
    present = values[~np.isnan(values)]
    if not present.size:
        raise SeriesError(f"the covariate {name} has no value")
    _check_size(f"a value of {name}", present)


def _check_size(what: str, values: FloatArray) -> None:
    if np.abs(values).max() > LARGEST_VALUE:
        raise SeriesError(f"{what} is beyond {LARGEST_VALUE:g}: fit the series in a larger unit")


def read_table(
    path: Path,
    *,
    customer_column: str | None = None,
    time_column: str | None = None,
    value_column: str | None = None,
    covariate_columns: Sequence[str] = (),
    frequency: str | None = None,
) -> Table:
    """The history in a CSV or Parquet file, also compressed (`.gz`).

    Columns that are not named are guessed from their names and types. The time column holds ISO-8601
    timestamps (UTC where they name no zone), dates, or integers that count steps. `frequency` is an ISO-8601
    duration of one unit, such as `PT15M`, `P1D` or `P1M`; None: guessed from timestamps, one for the whole
    file. `covariate_columns` hold numbers or truth values that are known beside the observations. Rows without a
    customer or a time are refused; rows without a value are missing observations.

    Raises TableError where the file is missing, cannot be parsed, or a column cannot be found or guessed, and
    where pyarrow is not installed.
    """
    if frequency is not None:
        _checked(frequency)
    columns = _read(path, customer_column, time_column, value_column, covariate_columns)
    rows = _group(columns)
    if columns.timestamps and frequency is None:
        frequency = _guess(columns, rows.values())
    return Table(
        customer_column=columns.names.customer,
        time_column=columns.names.time,
        value_column=columns.names.value,
        frequency=frequency,
        timestamps=columns.timestamps,
        rows=rows,
        times=columns.times,
        values=columns.values,
        covariates=columns.covariates,
    )


def _checked(frequency: str) -> None:
    try:
        Frequency.parse(frequency)
    except ValueError as exc:
        raise TableError(f"the frequency {exc}") from exc


def _read(
    path: Path, customer: str | None, time: str | None, value: str | None, covariates: Sequence[str]
) -> "Columns":
    try:
        # Only reading a file needs pyarrow, and it is heavy.
        from forecast_grpc.fit.columns import read_columns  # noqa: PLC0415
    except ImportError as exc:
        raise TableError("reading a table needs pyarrow: pip install 'forecast-grpc[fit]'") from exc
    return read_columns(path, customer, time, value, covariates)


def _group(columns: "Columns") -> dict[str, NDArray[np.int64]]:
    order = np.argsort(columns.codes, kind="stable")
    ends = np.cumsum(np.bincount(columns.codes, minlength=len(columns.customers)))
    return dict(zip(columns.customers, np.split(order, ends[:-1]), strict=True))


def _guess(columns: "Columns", rows: Iterable[NDArray[np.int64]]) -> str:
    # Some customers say it as well as all of a large file, whose gaps would need more memory than the rest of it.
    chosen = list(rows)[:: max(1, columns.times.size // _GAPS)]
    gaps = np.concatenate([np.diff(np.sort(columns.times[one])) for one in chosen])
    gaps = gaps[gaps > 0]
    found = guess_frequency(gaps) if gaps.size else None
    if found is None:
        name = columns.names.time
        raise TableError(f"the step between the times in {name} cannot be guessed: give --frequency")
    return found.text
