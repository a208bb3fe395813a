"""A CSV or Parquet file -> three columns: customer, time, value. The one place that knows pyarrow."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyarrow import csv, parquet, types

from forecast_grpc.domain import MAX_COVARIATE_NAME, MAX_COVARIATES, FloatArray, is_covariate_name
from forecast_grpc.fit.problems import TableError


@dataclass(frozen=True, slots=True)
class Names:
    """The names of the columns."""

    customer: str
    time: str
    value: str
    covariates: tuple[str, ...] = ()

    @property
    def all(self) -> list[str]:
        """Every column that is read."""
        return [self.customer, self.time, self.value, *self.covariates]


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """The rows of a file, in its order."""

    names: Names
    """The columns that were read."""

    customers: tuple[str, ...]
    """Each customer once, in the order of their first rows."""

    codes: NDArray[np.int32]
    """Each row's customer as an index into `customers`, shape (n,)."""

    times: NDArray[np.int64]
    """Each row's time: microseconds since 1970 in UTC, or an integer step; shape (n,)."""

    timestamps: bool
    """Whether `times` are microseconds."""

    values: FloatArray
    """Each row's observation, NaN where missing, shape (n,)."""

    covariates: dict[str, FloatArray]
    """Each row's covariates by column, NaN where missing, shape (n,) each."""


_CUSTOMER_NAMES = (
    "customer_id",
    "customer",
    "series_id",
    "unique_id",
    "series",
    "item_id",
    "id",
    "key",
    "store_id",
)
_TIME_NAMES = (
    "timestamp",
    "time",
    "datetime",
    "date",
    "ds",
    "ts",
    "step",
    "t",
    "month",
    "week",
    "day",
    "hour",
    "year",
)
_VALUE_NAMES = ("value", "y", "target", "demand", "sales", "quantity", "count", "amount")
_COVARIATE_KINDS = ("integer", "number", "truth", "empty")
_DELIMITERS = ",;\t"
_TIME_FORMATS = ("%Y-%m", "%Y/%m/%d", "%Y/%m/%d %H:%M", "%Y/%m/%d %H:%M:%S")


def read_columns(
    path: Path, customer: str | None, time: str | None, value: str | None, covariates: Sequence[str] = ()
) -> Columns:
    """The columns of these names, each guessed where None. Raises TableError."""
    read = _read_parquet if ".parquet" in path.suffixes or ".pq" in path.suffixes else _read_csv
    try:
        columns = _columns(*read(path, lambda kinds: choose(kinds, customer, time, value, covariates)))
    except OSError as exc:
        raise TableError(f"{path.name} cannot be read: {exc.strerror or exc}") from exc
    except pa.ArrowException as exc:
        raise TableError(f"{path.name} cannot be parsed: {exc}") from exc
    # Half of the memory at this point is what reading has left behind.
    pa.default_memory_pool().release_unused()
    return columns


def choose(
    kinds: Mapping[str, str],
    customer: str | None,
    time: str | None,
    value: str | None,
    covariates: Sequence[str] = (),
) -> Names:
    """The columns among those of a file, by name as far as given, else guessed.

    `kinds` says of each column whether it holds "text", "time", "integer", "number", "truth", nothing ("empty")
    or something "other". A column is taken by its type where one alone has it, else by its name. Covariates are
    never guessed. Raises TableError.
    """
    free = list(kinds)
    for name in (customer, time, value, *covariates):
        if name is not None and name not in free:
            raise TableError(
                f"there is no column {name} (or it is named twice): the file has {', '.join(kinds)}"
            )
        if name is not None:
            free.remove(name)
    time = time or _take(free, kinds, ("time",), _TIME_NAMES, "time")
    customer = customer or _take(free, kinds, ("text",), _CUSTOMER_NAMES, "customer")
    value = value or _take(free, kinds, ("integer", "number"), _VALUE_NAMES, "value")
    _check_covariates(kinds, covariates)
    return Names(customer, time, value, tuple(covariates))


def _check_covariates(kinds: Mapping[str, str], covariates: Sequence[str]) -> None:
    for name in covariates:
        if kinds[name] not in _COVARIATE_KINDS:
            raise TableError(
                f"the covariate {name} holds no numbers: encode it as one, or as several of 0 and 1"
            )
        if not is_covariate_name(name):
            raise TableError(
                f"a covariate is named by 1 to {MAX_COVARIATE_NAME} printable characters, not {name}"
            )
    if len(covariates) > MAX_COVARIATES:
        raise TableError(f"there may be {MAX_COVARIATES} covariates at most, not {len(covariates)}")


def _take(
    free: list[str], kinds: Mapping[str, str], wanted: Sequence[str], known: Sequence[str], role: str
) -> str:
    fitting = [name for name in free if kinds[name] in wanted]
    named = [name for word in known for name in free if name.lower() == word]
    if len(fitting) != 1 and not named:
        columns = ", ".join(kinds)
        raise TableError(f"the {role} column cannot be guessed among {columns}: give --{role}-column")
    chosen = fitting[0] if len(fitting) == 1 else named[0]
    free.remove(chosen)
    return chosen


_Chooser = Callable[[Mapping[str, str]], Names]


def _read_csv(path: Path, chooser: _Chooser) -> tuple[pa.Table, Names]:
    options = csv.ParseOptions(delimiter=_delimiter(path))
    parsers = [csv.ISO8601, *_TIME_FORMATS]
    guessing = csv.ConvertOptions(timestamp_parsers=parsers)
    with csv.open_csv(str(path), parse_options=options, convert_options=guessing) as reader:
        kinds = _kinds(reader.schema)
    names = chooser(kinds)
    covariates = {name: pa.bool_() if kinds[name] == "truth" else pa.float64() for name in names.covariates}
    convert = csv.ConvertOptions(
        include_columns=names.all,
        # A customer 007 is not the number 7.
        column_types={names.customer: pa.string(), names.value: pa.float64(), **covariates},
        timestamp_parsers=parsers,
    )
    return csv.read_csv(str(path), parse_options=options, convert_options=convert), names


def _delimiter(path: Path) -> str:
    with pa.input_stream(str(path)) as stream:
        header = stream.read(4_096).split(b"\n")[0]
    return max(_DELIMITERS, key=lambda mark: header.count(mark.encode()))


def _read_parquet(path: Path, chooser: _Chooser) -> tuple[pa.Table, Names]:
    compressed = path.suffix not in (".parquet", ".pq")
    source = pa.input_stream(str(path)).read_buffer() if compressed else str(path)
    with parquet.ParquetFile(source) as file:
        names = chooser(_kinds(file.schema_arrow))
    # Each name once rather than in every row: what is needed at most is a third less for millions of rows.
    with parquet.ParquetFile(source, read_dictionary=[names.customer]) as file:
        return file.read(columns=names.all), names


def _kinds(schema: pa.Schema) -> dict[str, str]:
    return {field.name: _kind(field.type) for field in schema}


def _kind(of: pa.DataType) -> str:
    if types.is_temporal(of):
        return "time"
    if types.is_integer(of):
        return "integer"
    if types.is_floating(of) or types.is_decimal(of):
        return "number"
    if types.is_string(of) or types.is_large_string(of) or types.is_dictionary(of):
        return "text"
    return "truth" if types.is_boolean(of) else "empty" if types.is_null(of) else "other"


def _columns(table: pa.Table, names: Names) -> Columns:
    if not table.num_rows:
        raise TableError("the file holds no rows")
    for name in (names.customer, names.time):
        if table[name].null_count:
            raise TableError(f"the column {name} is empty in {table[name].null_count} rows")
    customers, codes = _encoded(table[names.customer])
    # Text is read as ISO-8601; a whole number kept as a float is a step.
    timestamps = _kind(table[names.time].type) in ("time", "text")
    return Columns(
        names=names,
        customers=customers,
        codes=codes,
        times=_microseconds(table[names.time]) if timestamps else _integers(table[names.time]),
        timestamps=timestamps,
        values=_numbers(table[names.value]),
        covariates={name: _numbers(table[name]) for name in names.covariates},
    )


def _encoded(column: pa.ChunkedArray) -> tuple[tuple[str, ...], NDArray[np.int32]]:
    """Each text of a column once, in the order of their first rows, and each row's as an index into them."""
    if not (types.is_dictionary(column.type) and types.is_string(column.type.value_type)):
        column = column.cast(pa.string()).dictionary_encode()
    whole = pa.concat_arrays(column.unify_dictionaries().chunks)
    # A file's own dictionary may be in any order, and hold texts that no row has.
    used = whole.indices.dictionary_encode()
    return tuple(whole.dictionary.take(used.dictionary).to_pylist()), used.indices.to_numpy()


def _numbers(column: pa.ChunkedArray) -> FloatArray:
    numbers: FloatArray = column.cast(pa.float64()).fill_null(float("nan")).to_numpy()
    return numbers


def _microseconds(column: pa.ChunkedArray) -> NDArray[np.int64]:
    zone = column.type.tz if types.is_timestamp(column.type) else None
    # Unsafe: what is below a microsecond is cut off.
    return _integers(column.cast(pa.timestamp("us", zone), safe=False))


def _integers(column: pa.ChunkedArray) -> NDArray[np.int64]:
    integers: NDArray[np.int64] = column.cast(pa.int64()).to_numpy()
    return integers
