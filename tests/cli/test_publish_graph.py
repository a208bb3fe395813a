"""`forecast-grpc publish` of an ONNX graph."""

from pathlib import Path

import numpy as np
import pytest

from forecast_grpc.artefact import decode
from forecast_grpc.domain import ForecastQuery
from forecast_grpc.forecasting import answer
from forecast_grpc.store import FolderStore
from tests.cli.conftest import RunCommand
from tests.models.examples import graph, informed, linear, series

LAGS = 24


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A graph of 24 values in and 7 out."""
    path = tmp_path / "model.onnx"
    path.write_bytes(graph())
    return path


@pytest.fixture
def history(tmp_path: Path) -> Path:
    """A hundred days of two customers."""
    days = np.datetime64("2026-01-01") + np.arange(100)
    rows = [
        f"{name},{day},{value}"
        for name in ("new", "other")
        for day, value in zip(days, series(100), strict=True)
    ]
    path = tmp_path / "sales.csv"
    path.write_text("\n".join(["customer,date,value", *rows]))
    return path


def test_a_graph_becomes_the_next_version(run: RunCommand, store: Path, file: Path, history: Path) -> None:
    """It reads window and steps from its own shapes, time and frequency from the history, and forecasts."""
    done = run("publish", "new", file, "--history", history, "--store", store)
    assert (done.code, done.out) == (0, "new is served by version 1, onnx.\n")
    model = decode(FolderStore(store).read("new").data, "new")
    metadata = model.metadata
    assert (metadata.min_length, metadata.horizon, metadata.season_length) == (LAGS, 7, 7)
    assert (metadata.frequency, metadata.state_time) == ("P1D", "2026-04-10T00:00:00Z")
    forecast = answer(model, ForecastQuery(sequence=np.empty(0)), max_horizon=10).forecast
    parameters = linear().arrays()
    expected = parameters["weights"] @ series(100)[-LAGS:] + parameters["intercept"]
    assert forecast == pytest.approx(expected, rel=1e-9)


def test_covariates_come_from_columns(run: RunCommand, store: Path, tmp_path: Path) -> None:
    """The columns that are named, in their order, are the covariates that requests have to name."""
    made, _ = informed(7, 3)
    file, history = tmp_path / "informed.onnx", tmp_path / "promoted.csv"
    file.write_bytes(made.graph.tobytes())
    rows = [f"new,{step},{value},{step % 5},{step % 3}" for step, value in enumerate(series(60))]
    history.write_text("\n".join(["customer,step,value,price,promotion", *rows]))
    columns = ("--covariate-column", "promotion", "--covariate-column", "price")
    done = run("publish", "new", file, "--history", history, *columns, "--store", store)
    assert (done.code, done.out) == (0, "new is served by version 1, onnx.\n")
    model = decode(FolderStore(store).read("new").data, "new")
    assert model.metadata.covariates == ("promotion", "price")
    assert model.forecaster.covariate_tail is not None
    assert model.forecaster.covariate_tail.tolist() == [[0, 1, 2], [2, 3, 4]]
    missing = run("publish", "new", file, "--history", history, "--store", store)
    assert (missing.code, "takes 2 covariates, not 0" in missing.err) == (1, True)


def test_options_are_taken(run: RunCommand, store: Path, file: Path, history: Path) -> None:
    """What is said comes before what is read."""
    options = ("--horizon", 5, "--season-length", 3, "--window", 24, "--frequency", "P1D", "--json")
    done = run("publish", "new", file, "--history", history, *options, "--store", store)
    assert done.objects == [{"customer_id": "new", "model_version": 1, "family": "onnx"}]
    metadata = decode(FolderStore(store).read("new").data, "new").metadata
    assert (metadata.horizon, metadata.season_length) == (5, 3)


@pytest.fixture
def inputs(file: Path, history: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder with both, which is the working directory."""
    monkeypatch.chdir(history.parent)
    return file.parent


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        (("new",), "A graph needs --history"),
        (("new", "--history", "nowhere.csv"), "nowhere.csv cannot be read"),
        (("nobody", "--history", "sales.csv"), "the file has no such customer"),
        (("new", "--history", "sales.csv", "--horizon", "8"), "7 steps, not 8"),
    ],
)
def test_what_is_wrong_is_one_sentence(
    run: RunCommand, store: Path, inputs: Path, asked: tuple[str, ...], sentence: str
) -> None:
    """Nothing is published, and the sentence says what to change."""
    customer, *options = asked
    done = run("publish", customer, inputs / "model.onnx", *options, "--store", store)
    assert done.code in {1, 2}
    assert sentence in done.err
    assert not (store / customer).exists()


@pytest.mark.parametrize("content", [b"", b"hello", b"\xff" * 50])
def test_a_damaged_graph_is_refused(
    run: RunCommand, store: Path, tmp_path: Path, history: Path, content: bytes
) -> None:
    """What is no graph is not published."""
    path = tmp_path / "damaged.onnx"
    path.write_bytes(content)
    done = run("publish", "new", path, "--history", history, "--store", store)
    assert done.code == 1
    assert "graph" in done.err
    assert not (store / "new").exists()


def test_an_artefact_takes_no_options_of_graphs(run: RunCommand, store: Path, history: Path) -> None:
    """An artefact has its own horizon and history."""
    path = store / "beta" / "model.safetensors"
    done = run("publish", "new", path, "--history", history, "--store", store)
    assert (done.code, "go with an .onnx graph" in done.err) == (2, True)


def test_a_refused_pickle_says_how(run: RunCommand, store: Path, tmp_path: Path) -> None:
    """The object itself can be published from Python."""
    path = tmp_path / "model.joblib"
    path.write_bytes(b"\x80\x04K\x01.")
    done = run("publish", "new", path, "--store", store)
    assert done.code == 1
    assert "forecast_grpc.publish" in done.err
