"""`forecast-grpc fit`, from real files into a real store."""

import gzip
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import csv as pa_csv
from pyarrow import parquet

from forecast_grpc.fit import AUTO, FAMILY_CHOICES
from forecast_grpc.store import FolderStore
from tests.cli.conftest import Done, RunCommand
from tests.cli.fake_service import serving

WEEK = (10.0, 12.0, 11.0, 15.0, 20.0, 30.0, 5.0)
DAYS = 70


def history(shops: tuple[str, ...] = ("north", "south"), *, days: int = DAYS) -> pa.Table:
    """The same week again and again, in each shop, by the day."""
    rows = [(shop, day) for shop in shops for day in range(days)]
    return pa.table(
        {
            "shop": [shop for shop, _ in rows],
            "day": [date(2026, 1, 1) + timedelta(days=day) for _, day in rows],
            "sold": [WEEK[day % 7] for _, day in rows],
        }
    )


def write_csv(table: pa.Table, path: Path) -> None:
    """As CSV, compressed where the name says so."""
    pa_csv.write_csv(table, path)
    if path.suffix == ".gz":
        path.write_bytes(gzip.compress(path.read_bytes()))


@pytest.fixture
def file(in_folder: Path) -> Path:
    """Two shops as CSV."""
    path = in_folder / "history.csv"
    write_csv(history(), path)
    return path


@pytest.fixture
def fit(run: RunCommand, tmp_path: Path) -> Callable[..., Done]:
    """The command, which publishes into `tmp_path / "fitted"`."""
    return lambda *arguments: run("fit", *arguments, "--store", tmp_path / "fitted")


def published(tmp_path: Path) -> list[str]:
    """The customers there."""
    return list(FolderStore(tmp_path / "fitted").customers())


@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("history.csv", write_csv),
        ("history.csv.gz", write_csv),
        ("history.parquet", parquet.write_table),
    ],
)
def test_formats(
    fit: Callable[..., Done],
    in_folder: Path,
    tmp_path: Path,
    name: str,
    write: Callable[[pa.Table, Path], None],
) -> None:
    """CSV, compressed CSV and Parquet are read alike; how they were understood is said, and what was guessed."""
    write(history(), in_folder / name)
    done = fit(in_folder / name)
    assert done.code == 0
    assert published(tmp_path) == ["north", "south"]
    assert done.err.splitlines() == [
        f"Created the store {tmp_path / 'fitted'}.",
        (
            f"{name}: 2 customers, customer column shop (guessed), time column day (guessed), "
            "value column sold (guessed), step P1D (guessed)."
        ),
        "Assumed a horizon of 14 and a season of 7 steps.",
    ]
    head, *_, total = (line.split() for line in done.out.splitlines())
    assert head[:4] == ["family", "customers", "horizon", "season"]
    assert total[:4] == ["all", "2", "14", "7"]


def test_a_fitted_model_is_served(run: RunCommand, fit: Callable[..., Done], file: Path) -> None:
    """What was fitted can be asked for: a repeated week goes on as it was."""
    assert fit(file, "--family", "seasonal_naive", "--horizon", "7").code == 0
    with serving(file.parents[1] / "fitted") as service:
        asked = run("forecast", "north", "--json", "--address", service.address)
    assert asked.objects[0]["forecast"] == list(WEEK)


def test_columns_by_name(fit: Callable[..., Done], in_folder: Path) -> None:
    """Where the columns cannot be guessed the sentence says what to name; named, they are read."""
    path = in_folder / "wide.csv"
    write_csv(history().append_column("bought", pa.array([1.0] * (2 * DAYS))), path)
    done = fit(path)
    assert (done.code, done.out) == (1, "")
    assert done.err == (
        "Error: The value column cannot be guessed among shop, day, sold, bought: give --value-column.\n"
    )
    named = ("--customer-column", "shop", "--time-column", "day", "--value-column", "bought")
    done = fit(path, *named, "--frequency", "P1D", "--horizon", "3", "--season-length", "1")
    assert done.code == 0
    assert "guessed" not in done.err
    assert "Assumed" not in done.err
    assert done.out.splitlines()[-1].split()[:4] == ["all", "2", "3", "1"]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (
            ("history.csv", "--value-column", "x"),
            "There is no column x (or it is named twice): the file has shop, day, sold.",
        ),
        (("nowhere.csv",), "nowhere.csv cannot be read: No such file or directory."),
        ((".",), ". cannot be read: Is a directory."),
        (("empty.csv",), "empty.csv cannot be parsed"),
        (("text.parquet",), "text.parquet cannot be parsed"),
        (("history.csv", "--frequency", "daily"), "The frequency "),
    ],
)
def test_a_file_that_cannot_be_fitted(
    fit: Callable[..., Done], file: Path, tmp_path: Path, arguments: tuple[str, ...], sentence: str
) -> None:
    """What is wrong with the file as a whole is one sentence, and no store is begun."""
    (file.parent / "empty.csv").touch()
    (file.parent / "text.parquet").write_text("shop,day,sold\n")
    done = fit(*arguments)
    assert (done.code, done.out) == (1, "")
    assert done.err.startswith(f"Error: {sentence}")
    assert len(done.err.splitlines()) == 1
    assert not (tmp_path / "fitted").exists()


def test_a_bad_customer(fit: Callable[..., Done], in_folder: Path, tmp_path: Path) -> None:
    """A customer who cannot be fitted is reported with the reason; the others are published, and the code is 1."""
    tables = [history(("north",)), history(("no name",), days=9), history(("twice",)), history(("twice",))]
    write_csv(pa.concat_tables(tables), in_folder / "history.csv")
    done = fit(in_folder / "history.csv", "--family", "trend")
    assert done.code == 1
    assert published(tmp_path) == ["north"]
    assert "2 of 3 customers could not be fitted:\nno name: a customer is named by 1 to 128" in done.err
    assert "\ntwice: " in done.err
    assert done.out.splitlines()[-1].split()[:2] == ["all", "1"]


def test_many_bad_customers(fit: Callable[..., Done], in_folder: Path) -> None:
    """Of many failures people see twenty and a count; programs see them all."""
    write_csv(history(tuple(f"shop {number}" for number in range(25)), days=2), in_folder / "bad.csv")
    done = fit(in_folder / "bad.csv")
    assert done.code == 1
    assert "25 of 25 customers" in done.err
    assert done.err.endswith("... and 5 more: see them all with --json.\n")
    assert len(fit(in_folder / "bad.csv", "--json").objects) == 25


def test_json(fit: Callable[..., Done], in_folder: Path) -> None:
    """With --json each customer is one object: the facts of the model, or the error."""
    write_csv(pa.concat_tables([history(("north",)), history(("no name",))]), in_folder / "history.csv")
    good, bad = fit(in_folder / "history.csv", "--family", "trend", "--json").objects
    assert bad.keys() == {"customer_id", "error"}
    assert good.pop("accuracy")["smape"] > 0
    assert good.pop("trained_time").endswith("Z")
    assert good == {
        "customer_id": "north",
        "model_version": 1,
        "family": "trend",
        "horizon": 14,
        "season_length": 7,
        "frequency": "P1D",
        "min_length": 1,
        "state_time": "2026-03-11T00:00:00Z",
    }


def test_dry_run(fit: Callable[..., Done], file: Path, tmp_path: Path) -> None:
    """A dry run measures and publishes nothing: there is not even a store afterwards."""
    done = fit(file, "--dry-run", "--json", "--family", "trend")
    assert [each["model_version"] for each in done.objects] == [None, None]
    assert all(each["accuracy"] for each in done.objects)
    assert not (tmp_path / "fitted").exists()


@pytest.mark.parametrize("family", sorted(set(FAMILY_CHOICES) - {AUTO}))
def test_families(fit: Callable[..., Done], file: Path, family: str) -> None:
    """A family that is named is the one that is fitted."""
    assert {each["family"] for each in fit(file, "--family", family, "--json").objects} == {family}


def test_an_unknown_family(fit: Callable[..., Done], file: Path) -> None:
    """Another family is wrong usage, and the families that there are are named."""
    done = fit(file, "--family", "oracle")
    assert done.code == 2
    assert all(family in done.err for family in FAMILY_CHOICES)


def test_fitting_again(run: RunCommand, fit: Callable[..., Done], file: Path, tmp_path: Path) -> None:
    """Another fit publishes the next version and keeps the one before."""
    for family in ("trend", "theta"):
        fit(file, "--family", family)
    listed = run("models", "versions", "north", "--json", "--store", tmp_path / "fitted").objects
    assert [(each["model_version"], each["family"]) for each in listed] == [(2, "theta"), (1, "trend")]


def test_several_processes(fit: Callable[..., Done], file: Path) -> None:
    """However many customers are fitted at a time, the models are the same and come in the file's order."""
    alone, together = (
        fit(file, "--dry-run", "--json", "--processes", number).objects for number in ("1", "2")
    )
    for each in (*alone, *together):
        del each["trained_time"]
    assert alone == together


def test_no_demo_store(run: RunCommand, file: Path) -> None:
    """The demo store is not begun by fitting into it: it would lack the demo."""
    done = run("fit", file)
    assert done.code == 4
    assert "forecast-grpc demo-store" in done.err
