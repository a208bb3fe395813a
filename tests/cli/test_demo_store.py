"""`forecast-grpc demo-store`: the whole one once, and builds that are repeated, interrupted or not alone."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from forecast_grpc import artefact, demo
from forecast_grpc.demo import series
from forecast_grpc.domain import ForecastQuery
from forecast_grpc.forecasting import answer
from forecast_grpc.store import FolderStore
from tests.cli.conftest import Done, RunCommand

DEMO_STORE = [sys.executable, "-c", "from forecast_grpc.cli import main; main()", "demo-store", "--store"]

SMALL = 8
"""Customers of a demo store with the yearly series alone."""


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Done, Path]:
    """The whole demo store, built by the command."""
    folder = tmp_path_factory.mktemp("demo") / "store"
    # In a process of its own it is as quick as for its users: here numpy is loaded, with its threads.
    done = subprocess.run([*DEMO_STORE, str(folder), "--json"], capture_output=True, text=True, check=False)
    return Done(done.returncode, done.stdout, done.stderr), folder


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Where to build; the demo has two real series and the six invented customers, which takes no time."""
    monkeypatch.setattr(series, "FILES", series.FILES[2:])
    return tmp_path / "demos" / "store"


def names(folder: Path) -> list[str]:
    """All that lies in a folder, what is hidden too."""
    return [each.name for each in folder.iterdir()]


def test_build(built: tuple[Done, Path], run: RunCommand) -> None:
    """It holds 38 customers, each with a model that can be served, and nothing is left beside it."""
    done, folder = built
    assert done.code == 0
    assert done.objects == [{"store": str(folder), "customers": demo.SIZE}]
    listed = run("models", "list", "--json", "--store", folder).objects
    assert len(listed) == demo.SIZE == 38
    assert [each for each in listed if "error" in each] == []
    assert names(folder.parent) == ["store"]


def test_the_tutorials_numbers(built: tuple[Done, Path]) -> None:
    """customer_123 answers the tutorial's sequence with the tutorial's numbers."""
    model = artefact.decode(FolderStore(built[1]).read("customer_123").data, "customer_123")
    query = ForecastQuery(sequence=np.array([100.0, 102, 98, 105, 110, 108, 112, 115, 118, 120]))
    result = answer(model, query, max_horizon=100)
    assert list(result.forecast) == [121.45, 122.9, 124.35, 125.8, 127.25, 128.7, 130.15]


def test_real_series_are_forecast_well(built: tuple[Done, Path], run: RunCommand) -> None:
    """Four in five models of the real series beat the naive forecast on what they had not seen."""
    listed = run("models", "list", "--json", "--store", built[1]).objects
    errors = [each["accuracy"]["mase"] for each in listed if each["accuracy"]]
    assert len(errors) == 32
    assert sum(error < 1 for error in errors) >= 26


def test_it_is_there_already(built: tuple[Done, Path], run: RunCommand) -> None:
    """A store that is there stays as it is, and the command says so."""
    done = run("demo-store", "--store", built[1])
    assert (done.code, done.out) == (0, f"38 customers in {built[1]}\n")
    assert done.err == "It is there already: --rebuild publishes its models again.\n"
    assert FolderStore(built[1]).versions("customer_123") == (1,)


def test_default_place(small: Path, run: RunCommand) -> None:
    """Without --store it is built where every command looks for it."""
    assert run("demo-store").code == 0
    assert len(run("models", "list", "--json").objects) == SMALL


def test_rebuild(small: Path, run: RunCommand) -> None:
    """--rebuild publishes everything as the next version, and deletes nothing."""
    run("demo-store", "--store", small)
    assert run("demo-store", "--rebuild", "--store", small).code == 0
    store = FolderStore(small)
    assert [store.versions(each) for each in store.customers()] == [(1, 2)] * SMALL


def test_an_empty_folder_is_as_good_as_none(small: Path, run: RunCommand) -> None:
    """Whoever made the folder beforehand gets the store all the same."""
    small.mkdir(parents=True)
    assert run("demo-store", "--store", small, "--json").objects[0]["customers"] == SMALL


def test_a_build_that_fails_leaves_nothing(small: Path) -> None:
    """While it is built there is no store, and an end half-way leaves none, nor any rest."""
    building = demo.build(small)
    assert next(building) == "customer_123"
    assert not small.exists()
    del building
    assert names(small.parent) == []


def test_a_killed_build_is_no_store(small: Path, run: RunCommand) -> None:
    """After SIGKILL there is no store; the next build makes one, and clears away what has lain there for hours."""
    with subprocess.Popen([*DEMO_STORE, str(small)]) as process:
        while not (left := list(small.parent.glob(".store.partial-*/customer_123/model.safetensors"))):
            assert process.poll() is None
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    assert run("models", "list", "--store", small).code == 4
    partial = left[0].parents[1]
    os.utime(partial, (0, 0))
    assert run("demo-store", "--store", small).code == 0
    assert names(small.parent) == ["store"]


def test_two_builds_at_a_time(small: Path, run: RunCommand) -> None:
    """The build that ends first is the store; the other changes nothing and leaves nothing."""
    slower = demo.build(small)
    next(slower)
    assert run("demo-store", "--store", small).code == 0
    before = FolderStore(small).read("customer_123").etag
    with pytest.raises(OSError, match=r"not empty|exists"):
        list(slower)
    assert FolderStore(small).read("customer_123").etag == before
    assert names(small.parent) == ["store"]


def test_a_place_that_cannot_be_written(run: RunCommand, tmp_path: Path) -> None:
    """Where nothing can be built, the sentence says why."""
    (tmp_path / "file").touch()
    done = run("demo-store", "--store", tmp_path / "file" / "store")
    assert done.code == 1
    assert done.err.startswith("Error: The demo store ")
    assert len(done.err.splitlines()) == 1
