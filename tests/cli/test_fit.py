"""`forecast-grpc fit`, from real files into a real store."""

import gzip
import json
import re
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path

import numpy as np
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
    assert bad.keys() == {"customer_id", "status", "error"}
    assert bad["status"] == "failed"
    assert good.pop("accuracy")["smape"] > 0
    assert good.pop("trained_time").endswith("Z")
    assert good == {
        "customer_id": "north",
        "status": "published",
        "model_version": 1,
        "family": "trend",
        "horizon": 14,
        "season_length": 7,
        "frequency": "P1D",
        "min_length": 1,
        "state_time": "2026-03-11T00:00:00Z",
        "covariates": [],
    }


def test_dry_run(fit: Callable[..., Done], file: Path, tmp_path: Path) -> None:
    """A dry run measures and publishes nothing: there is not even a store afterwards."""
    done = fit(file, "--dry-run", "--json", "--family", "trend")
    assert [each["model_version"] for each in done.objects] == [None, None]
    assert [each["status"] for each in done.objects] == ["fitted", "fitted"]
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


def test_the_same_fit_again(run: RunCommand, fit: Callable[..., Done], file: Path, tmp_path: Path) -> None:
    """What is done stays, and is in the tables all the same; --again makes new versions of it."""
    first = fit(file, "--family", "trend")
    second = fit(file, "--family", "trend")
    assert second.out == first.out
    assert second.err.splitlines()[1].startswith(
        "2 of 2 customers had a model of this history and these options already, which stays:"
    )
    assert [each["status"] for each in fit(file, "--family", "trend", "--json").objects] == ["unchanged"] * 2
    assert "had a model" not in fit(file, "--family", "trend", "--again").err
    listed = run("models", "versions", "north", "--json", "--store", tmp_path / "fitted").objects
    assert [each["model_version"] for each in listed] == [2, 1]


def noisy(in_folder: Path, shops: int = 8) -> Path:
    """Shops that are the harder to forecast the higher their number is."""
    rows = [(shop, day) for shop in range(shops) for day in range(60)]
    noise = np.random.default_rng(1).normal(size=len(rows))
    table = pa.table(
        {
            "shop": [f"shop-{shop}" for shop, _ in rows],
            "day": [day for _, day in rows],
            "sold": [day + shop * noise[place] for place, (shop, day) in enumerate(rows)],
        }
    )
    write_csv(table, in_folder / "noisy.csv")
    return in_folder / "noisy.csv"


def test_the_worst_customers(fit: Callable[..., Done], in_folder: Path) -> None:
    """Those with the largest errors are named, the largest first, as many as are wanted."""
    options = ("--family", "trend", "--season-length", "1", "--horizon", "3", "--dry-run")
    lines = fit(noisy(in_folder), *options, "--worst", "3").out.splitlines()
    assert lines[-4].split()[:2] == ["the", "worst"]
    errors = [float(line.split()[2]) for line in lines[-3:]]
    assert errors == sorted(errors, reverse=True)
    assert "shop-0" not in "".join(lines[-3:])
    for none in ("0", "8"):
        assert "worst" not in fit(noisy(in_folder), *options, "--worst", none).out


def test_a_report_for_programs(fit: Callable[..., Done], in_folder: Path) -> None:
    """As JSON it has the families, all customers together, the worst, and each one that failed."""
    write_csv(pa.concat_tables([history(("north",)), history(("no name",))]), in_folder / "history.csv")
    done = fit(in_folder / "history.csv", "--family", "theta", "--report", in_folder / "report.json")
    assert f"Wrote {in_folder / 'report.json'}." in done.err
    told = json.loads((in_folder / "report.json").read_text())
    assert (told["customers"], told["unchanged"], told["all"]["customers"]) == (2, 0, 1)
    assert [each["customer_id"] for each in told["failed"]] == ["no name"]
    assert told["families"].keys() == {"theta"}
    # A repeated week leaves the naive method without an error, and nothing can be set against that.
    assert "median_mase" not in told["all"]
    assert fit(noisy(in_folder), "--dry-run", "--report", in_folder / "report.json").code == 0
    told = json.loads((in_folder / "report.json").read_text())
    histograms = told["all"]["histograms"]
    assert sum(histograms["mase"]) == sum(histograms["relative_mae"]) == told["customers"] == 8
    assert len(histograms["from"]) == len(histograms["mase"])
    assert told["worst"][0]["mase"] == max(each["mase"] for each in told["worst"])


@pytest.mark.parametrize(
    ("name", "beginning"), [("r.png", b"\x89PNG"), ("r.svg", b"<?xml"), ("r.html", b"<!doctype")]
)
def test_a_report_for_people(fit: Callable[..., Done], in_folder: Path, name: str, beginning: bytes) -> None:
    """As a picture, or as a page that holds picture and tables and needs nothing from elsewhere."""
    assert fit(noisy(in_folder), "--dry-run", "--report", in_folder / name).code == 0
    written = (in_folder / name).read_bytes()
    assert written.startswith(beginning)
    if name == "r.html":
        assert b"<svg" in written
        assert b"noisy.csv: 8 customers" in written
        assert not re.search(rb"(src|href)=.http", written.replace(b'xmlns:xlink="http', b""))


@pytest.mark.parametrize(
    ("report", "told"),
    [("r.pdf", (2, "A report goes into a file")), ("nowhere/r.json", (1, "there is no folder nowhere"))],
)
def test_a_report_that_cannot_be_written(
    fit: Callable[..., Done], file: Path, tmp_path: Path, report: str, told: tuple[int, str]
) -> None:
    """It is said before anything is fitted."""
    done = fit(file, "--report", report)
    assert (done.code, done.out) == (told[0], "")
    assert told[1] in done.err
    assert not (tmp_path / "fitted").exists()


def test_a_histogram_in_the_terminal(fit: Callable[..., Done], in_folder: Path) -> None:
    """Drawn after the tables; with --json on standard error, so that programs are not disturbed."""
    drawn = fit(noisy(in_folder), "--dry-run", "--plot")
    assert "customers by error against seasonal naive" in drawn.out
    assert "█" in drawn.out
    assert "█" in fit(noisy(in_folder), "--dry-run", "--plot", "--json").err


def test_no_demo_store(run: RunCommand, file: Path) -> None:
    """The demo store is not begun by fitting into it: it would lack the demo."""
    done = run("fit", file)
    assert done.code == 4
    assert "forecast-grpc demo-store" in done.err
