"""From files to series."""

import gzip
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from forecast_grpc.fit import SeriesError, TableError, read_table

DAYS = (
    "customer,date,sales\nb,2026-01-02,2\na,2026-01-01,10\nb,2026-01-01,1\na,2026-01-02,20\nb,2026-01-03,3\n"
)

Writer = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Writer:
    """Writes a text to a file and gives its path."""

    def write(text: str, name: str = "history.csv") -> Path:
        path = tmp_path / name
        data = text.encode()
        path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
        return path

    return write


def write_parquet(path: Path, **columns: Any) -> Path:
    """Writes columns to a Parquet file."""
    parquet.write_table(pa.table(columns), path)
    return path


def test_a_csv_file_is_read_without_options(write: Writer) -> None:
    """Columns and frequency are guessed, customers come in the order of the file, rows are sorted by time."""
    table = read_table(write(DAYS))
    assert (table.customer_column, table.time_column, table.value_column) == ("customer", "date", "sales")
    assert table.customers == ("b", "a")
    assert len(table) == 2
    assert list(table) == ["b", "a"]
    series = table.series("b")
    assert series.values.tolist() == [1, 2, 3]
    assert series.frequency == table.frequency == "P1D"
    assert series.state_time == "2026-01-03T00:00:00Z"
    assert series.customer_id == "b"


@pytest.mark.parametrize("name", ["history.csv.gz", "history.tsv", "history.csv"])
def test_compression_and_delimiters_are_recognised(write: Writer, name: str) -> None:
    """Gzip by the file's ending; tabs and semicolons by the header."""
    mark = {"history.tsv": "\t", "history.csv": ";"}.get(name, ",")
    assert read_table(write(DAYS.replace(",", mark), name)).series("a").values.tolist() == [10, 20]


@pytest.mark.parametrize("compressed", [False, True])
def test_parquet_gives_the_same_series(tmp_path: Path, compressed: bool) -> None:
    """Also with dictionary-encoded customers, dates, integers and gzip around the file."""
    path = write_parquet(
        tmp_path / "history.parquet",
        shop=pa.array(["x", "x", "y"]).dictionary_encode(),
        day=[date(2026, 1, 2), date(2026, 1, 1), date(2026, 1, 5)],
        sold=[5, 4, 9],
    )
    if compressed:
        path.with_suffix(".parquet.gz").write_bytes(gzip.compress(path.read_bytes()))
        path = path.with_suffix(".parquet.gz")
    table = read_table(path)
    assert table.series("x").values.tolist() == [4, 5]
    assert table.series("y").values.tolist() == [9]


def test_a_files_own_dictionary_of_customers(tmp_path: Path) -> None:
    """Whatever its order, in however many groups of rows, and though it names some who have no row."""
    names = pa.DictionaryArray.from_arrays(pa.array([2, 2, 1, 1, 2, 1]), pa.array(["nobody", "a", "z"]))
    rows = pa.table({"shop": names, "step": [0, 1, 0, 1, 2, 2], "sold": [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]})
    parquet.write_table(rows, tmp_path / "history.parquet", row_group_size=2)
    table = read_table(tmp_path / "history.parquet")
    assert table.customers == ("z", "a")
    assert table.series("z").values.tolist() == [1.0, 2.0, 5.0]
    assert table.series("a").values.tolist() == [3.0, 4.0, 6.0]


def test_columns_are_taken_by_option(write: Writer) -> None:
    """Named columns are not guessed, and the rest is guessed among the others."""
    path = write("a,b,c,d\nx,1,5,50\nx,2,6,60\ny,1,7,70\n")
    table = read_table(path, customer_column="a", time_column="b", value_column="d")
    assert table.series("x").values.tolist() == [50, 60]
    with pytest.raises(TableError, match="--time-column"):
        read_table(path, customer_column="a", value_column="d")


def test_integer_steps_need_no_frequency(write: Writer) -> None:
    """A step is 1; a step that is left out is missing; the last one is the state's time."""
    series = read_table(write("series_id,step,value\nH1,3,1.5\nH1,4,2.5\nH1,6,3.5\n")).series("H1")
    assert series.values[[0, 1, 3]].tolist() == [1.5, 2.5, 3.5]
    assert np.isnan(series.values[2])
    assert (series.frequency, series.state_time) == (None, "6")


def test_integer_steps_may_have_a_frequency(write: Writer) -> None:
    """Told what a step is, the series knows it too."""
    table = read_table(write("series_id,step,value\nH1,0,1\nH1,1,2\n"), frequency="PT1H")
    assert table.series("H1").frequency == "PT1H"


def test_a_customer_of_digits_stays_text(write: Writer) -> None:
    """Shop 007 is not shop 7."""
    table = read_table(write("customer_id,step,value\n007,0,1\n007,1,2\n"))
    assert table.customers == ("007",)


def test_gaps_and_empty_values_are_missing(write: Writer) -> None:
    """Times left out and rows without a value are NaN; a series ends with its last value."""
    text = "id,time,value\na,2026-01-01,1\na,2026-01-02,\na,2026-01-04,4\na,2026-01-05,5\na,2026-01-06,\n"
    series = read_table(write(text)).series("a")
    assert np.isnan(series.values).tolist() == [False, True, True, False, False]
    assert series.state_time == "2026-01-05T00:00:00Z"


def stamps(step: timedelta, count: int = 12) -> list[datetime]:
    """Equally spaced times."""
    return [datetime(2026, 1, 1, tzinfo=UTC) + step * index for index in range(count)]


@pytest.mark.parametrize(
    ("times", "frequency"),
    [
        (stamps(timedelta(seconds=1)), "PT1S"),
        (stamps(timedelta(minutes=15)), "PT15M"),
        (stamps(timedelta(hours=1)), "PT1H"),
        (stamps(timedelta(days=1)), "P1D"),
        (stamps(timedelta(days=7)), "P1W"),
        ([datetime(2025, month, 1, tzinfo=UTC) for month in range(1, 13)], "P1M"),
        ([datetime(2025, month, 28, tzinfo=UTC) for month in range(1, 13)], "P1M"),
        ([datetime(2024 + month // 4, 3 * (month % 4) + 1, 1, tzinfo=UTC) for month in range(9)], "P3M"),
        ([datetime(2000 + year, 6, 30, tzinfo=UTC) for year in range(9)], "P1Y"),
        ([time for time in stamps(timedelta(hours=1), 50) if time.hour % 7], "PT1H"),
        (
            [
                time + timedelta(seconds=(37 * index**2) % 113)
                for index, time in enumerate(stamps(timedelta(minutes=30)))
            ],
            "PT30M",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_the_frequency_is_guessed(tmp_path: Path, times: list[datetime], frequency: str) -> None:
    """From seconds to years, across gaps, months of any length and clocks that jitter."""
    path = write_parquet(tmp_path / "t.parquet", id=["a"] * len(times), time=times, y=[1.0] * len(times))
    table = read_table(path)
    assert table.frequency == frequency
    values = table.series("a").values
    assert np.count_nonzero(values == 1.0) == len(times)


def test_months_are_steps_whatever_their_days(write: Writer) -> None:
    """From January 31 to February 28 is one step, and a month left out is missing."""
    text = "id,time,value\na,2026-01-31,1\na,2026-02-28,2\na,2026-04-30,4\na,2026-05-31,5\n"
    values = read_table(write(text)).series("a").values
    assert np.isnan(values).tolist() == [False, False, True, False, False]


def test_times_with_a_zone_are_moments(write: Writer) -> None:
    """The same moments in another zone are the same series."""
    text = "id,time,value\na,2026-01-01T02:00:00+02:00,1\na,2026-01-01T03:00:00+02:00,2\n"
    series = read_table(write(text)).series("a")
    assert series.state_time == "2026-01-01T01:00:00Z"


def test_readings_that_share_a_step_are_averaged(write: Writer) -> None:
    """Told a longer step, a file of shorter ones is averaged onto it where its times allow."""
    times = ["00:00", "00:01", "01:00", "02:00", "03:00"]
    rows = "".join(f"a,2026-01-01T{time}:00Z,{value}\n" for value, time in enumerate(times))
    series = read_table(write("id,time,value\n" + rows), frequency="PT1H").series("a")
    assert series.values.tolist() == [0.5, 2, 3, 4]


@pytest.mark.parametrize(
    ("text", "options", "told"),
    [
        ("id,time,value\n", {}, "no rows"),
        ("", {}, "cannot be parsed"),
        ("id,time,value\na,2026-01-01,x\n", {}, "cannot be parsed"),
        ("id,time,value\na,01.02.2026,1\n", {}, "cannot be parsed"),
        ("id,time,value\na,,1\na,2026-01-02,1\n", {}, "time is empty in 1 rows"),
        ("id,time,value\na,2026-01-01,1\n", {}, "--frequency"),
        ("id,time,value\na,2026-01-01,1\n", {"frequency": "hourly"}, "ISO-8601"),
        ("id,time,value\na,2026-01-01,1\n", {"frequency": "P0D"}, "ISO-8601"),
        ("id,time,value\na,2026-01-01,1\n", {"value_column": "sales"}, "no column sales"),
        ("id,time,value\na,2026-01-01,1\n", {"value_column": "v", "time_column": "id"}, "no column v"),
        ("p,q,time\n1,2,2026-01-01\n", {}, "--customer-column"),
    ],
)
def test_a_file_that_cannot_be_read_is_explained(
    write: Writer, text: str, options: dict[str, str], told: str
) -> None:
    """One sentence says what is wrong with the file, or which option is needed."""
    with pytest.raises(TableError, match=told) as caught:
        read_table(write(text), **options)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_there_is_explained(tmp_path: Path) -> None:
    """By its name."""
    with pytest.raises(TableError, match=r"nowhere\.csv cannot be read"):
        read_table(tmp_path / "nowhere.csv")


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        ([("2026-01-01", 1), ("2026-01-01", 2)], "two rows for 2026-01-01T00:00:00Z"),
        ([("2026-01-01", None)], "no observation"),
        ([("2026-01-01", "inf"), ("2026-01-02", 1)], "beyond 1e"),
        ([("2026-01-01", 1), ("2026-01-02T12:00:00", 2), ("2026-01-03", 2)], "do not lie on steps of P1D"),
        ([("2026-01-01", 1), ("2026-01-02", 2), ("2036-01-03", 2)], "frequency"),
    ],
)
def test_a_bad_customer_is_explained_and_the_others_are_read(
    write: Writer, rows: list[tuple[str, object]], told: str
) -> None:
    """What is wrong with one customer is said of that one alone."""
    good = "".join(f"good,2026-01-{day:02},{day}\n" for day in range(1, 20))
    bad = "".join(f"bad,{time},{'' if value is None else value}\n" for time, value in rows)
    table = read_table(write("id,time,value\n" + good + bad))
    with pytest.raises(SeriesError, match=told):
        table.series("bad")
    assert table.series("good").values.size == 19


@pytest.mark.parametrize("name", ["Bull Ring", "../etc", "x" * 129])
def test_a_name_that_the_service_would_refuse_is_explained(tmp_path: Path, name: str) -> None:
    """A model under such a name could be published but never asked for."""
    table = read_table(write_parquet(tmp_path / "t.parquet", id=[name], step=[1], value=[1.0]))
    with pytest.raises(SeriesError, match="customer is named"):
        table.series(name)


def test_a_customer_that_is_not_there_is_explained(write: Writer) -> None:
    """Asking for one that the file does not hold."""
    with pytest.raises(SeriesError, match="no such customer"):
        read_table(write(DAYS)).series("c")


def test_without_pyarrow_the_extra_is_named(write: Writer) -> None:
    """Where the extra is not installed, the error says how to install it."""
    path = write(DAYS)
    code = (
        "import sys; sys.modules['pyarrow'] = None\n"
        "from pathlib import Path\nfrom forecast_grpc.fit import TableError, read_table\n"
        f"try: read_table(Path({str(path)!r}))\nexcept TableError as exc: print(exc)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "pip install 'forecast-grpc[fit]'" in done.stdout
