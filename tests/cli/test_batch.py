"""`forecast-grpc batch`, against a real gRPC server."""

import csv
import json
from functools import partial
from pathlib import Path

import pytest

from forecast_grpc.store import FolderStore
from tests.cli.conftest import RunCommand, trend
from tests.cli.fake_service import FakeService


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Histories of two customers with models, the second with a gap, the latest observations 4 and 9."""
    rows = ["alpha,1,2", "alpha,2,3", "alpha,3,4", "beta,7,7", "beta,9,9"]
    path = tmp_path / "histories.csv"
    path.write_text("\n".join(["customer,step,value", *rows]))
    return path


def test_csv(run: RunCommand, service: FakeService, file: Path) -> None:
    """A row for each customer and step, on standard output; how the file was understood, on standard error."""
    done = run("batch", file, "--horizon", "2", "--quantiles", "0.5", "--address", service.address)
    assert done.code == 0
    assert list(csv.reader(done.out.splitlines())) == [
        ["customer", "step", "forecast", "quantile_0.5"],
        ["alpha", "1", "7.0", "7.0"],
        ["alpha", "2", "10.0", "10.0"],
        ["beta", "1", "8.0", "8.0"],
        ["beta", "2", "7.0", "7.0"],
    ]
    assert "2 customers, customer column customer (guessed)" in done.err


def test_json_into_a_file(run: RunCommand, service: FakeService, file: Path, tmp_path: Path) -> None:
    """With --json there is an object for each customer; --output names where it goes."""
    written = tmp_path / "forecasts.json"
    done = run("batch", file, "--json", "--output", written, "--address", service.address)
    assert (done.code, done.out) == (0, "")
    first, second = map(json.loads, written.read_text().splitlines())
    assert first["customer_id"] == "alpha"
    assert first["forecast"] == [7.0, 10.0, 13.0]
    assert second["model"]["family"] == "trend"


def test_only_the_latest_observations_are_sent(run: RunCommand, service: FakeService, file: Path) -> None:
    """--last says how many; the sequence ends with the history."""
    done = run("batch", file, "--last", "1", "--horizon", "1", "--address", service.address)
    assert [row.split(",") for row in done.out.splitlines()[1:]] == [
        ["alpha", "1", "7.0"],
        ["beta", "1", "8.0"],
    ]


def test_who_cannot_be_forecast_is_told(run: RunCommand, service: FakeService, file: Path) -> None:
    """The service's errors and the file's: each is a sentence, the others are forecast, and the exit code is 1."""
    with file.open("a") as stream:
        stream.write("\nnobody,1,1\ncorrupt,1,1\n../x,1,1\n")
    done = run("batch", file, "--horizon", "1", "--address", service.address)
    assert done.code == 1
    assert [row.split(",")[0] for row in done.out.splitlines()[1:]] == ["alpha", "beta"]
    assert "nobody: " in done.err
    assert "corrupt: " in done.err
    assert "../x: a customer is named by" in done.err
    assert "3 of 5 customers could not be forecast" in done.err


def test_many_customers_go_in_several_calls(
    run: RunCommand, service: FakeService, store: Path, tmp_path: Path
) -> None:
    """Hundreds in a call, and all of them in the file's order."""
    opened = FolderStore(store)
    names = [f"shop-{number:03}" for number in range(510)]
    for name in names:
        opened.publish(name, partial(trend, 1.0))
    file = tmp_path / "shops.csv"
    file.write_text("customer,step,value\n" + "".join(f"{name},1,5\n" for name in names))
    done = run("batch", file, "--horizon", "1", "--address", service.address)
    assert [row.split(",")[0] for row in done.out.splitlines()[1:]] == names
    assert service.batches == [500, 10]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--quantiles", "much"), "much"),
        (("--output", "/nowhere/at/all.csv"), "cannot be written: No such file"),
        (("--value-column", "price"), "price"),
    ],
)
def test_what_cannot_be_asked(
    run: RunCommand, service: FakeService, file: Path, arguments: tuple[str, ...], sentence: str
) -> None:
    """Bad levels, a file that cannot be written and a column that is not there end it in a sentence."""
    done = run("batch", file, *arguments, "--address", service.address)
    assert done.code != 0
    assert sentence in done.err
    assert not service.batches
