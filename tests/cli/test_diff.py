"""`forecast-grpc models diff`, on a real store."""

from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from forecast_grpc import artefact
from forecast_grpc.domain import ModelMetadata
from forecast_grpc.models.covariates import Regression
from forecast_grpc.store import FolderStore
from tests.cli.conftest import RunCommand, trend
from tests.models.examples import linear


def test_two_versions(run: RunCommand, store: Path) -> None:
    """What differs is listed, with each version's forecast from the end of the second's training series."""
    done = run("models", "diff", "alpha", "1", "3", "--store", store)
    assert done.code == 0
    rows = [line.split() for line in done.out.splitlines()]
    assert rows[0] == ["version", "1", "version", "3", "change"]
    assert ["accuracy.mase", "0.5", "0.5", "+0.0", "%"] in rows
    assert "by 2 at most" in done.out
    assert rows[-3:] == [["1", "101", "103", "+2"], ["2", "102", "106", "+4"], ["3", "103", "109", "+6"]]


def test_json(run: RunCommand, store: Path) -> None:
    """For programs it is one object with the same contents."""
    (found,) = run("models", "diff", "alpha", "1", "2", "--json", "--store", store).objects
    assert found["customer_id"] == "alpha"
    assert found["versions"] == [1, 2]
    assert found["facts"] == {}
    assert found["accuracy"] == {"mase": [0.5, 0.5], "smape": [4.0, 4.0]}
    assert found["window"] == [100.0]
    assert found["forecasts"] == [[101.0, 102.0, 103.0], [102.0, 104.0, 106.0]]


def test_last_two_by_default(run: RunCommand, store: Path) -> None:
    """Without versions the last two are compared; with one, it and the highest."""
    assert run("models", "diff", "alpha", "--json", "--store", store).objects[0]["versions"] == [2, 3]
    assert run("models", "diff", "alpha", "1", "--json", "--store", store).objects[0]["versions"] == [1, 3]


def test_accuracy_that_changed(run: RunCommand, store: Path) -> None:
    """A change of an error is given in percent, and one that was measured once only has none."""
    opened = FolderStore(store)
    opened.publish("gamma", partial(trend, 1.0, accuracy={"mase": 0.5}))
    opened.publish("gamma", partial(trend, 1.0, accuracy={"mase": 0.4, "mae": 7.0}))
    rows = [line.split() for line in run("models", "diff", "gamma", "--store", store).out.splitlines()]
    assert ["accuracy.mase", "0.5", "0.4", "-20.0", "%"] in rows
    assert ["accuracy.mae", "-", "7"] in rows


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (("beta",), 3, "beta has one version, and none to compare it with."),
        (("alpha", "1", "9"), 3, "alpha has no model version 9"),
        (("nobody",), 3, "no model of the customer nobody"),
        (("corrupt", "1", "1"), 1, "damaged"),
    ],
)
def test_what_cannot_be_compared(
    run: RunCommand, store: Path, arguments: tuple[str, ...], code: int, text: str
) -> None:
    """A version that is missing or damaged ends the command with one sentence."""
    done = run("models", "diff", *arguments, "--store", store)
    assert done.code == code
    assert text in done.err


def test_models_with_covariates(run: RunCommand, store: Path, tmp_path: Path) -> None:
    """Nobody knows the covariates ahead: such models are compared without a forecast, and nothing is drawn."""
    opened, file = FolderStore(store), tmp_path / "diff.svg"
    for effect in (1.0, 2.0):
        opened.publish("promoted", partial(_with_covariates, effect))
    done = run("models", "diff", "promoted", "--plot-file", file, "--store", store)
    assert done.code == 0
    assert "by 1 at most" in done.out
    assert "No forecasts" in done.out
    assert not file.exists()


def _with_covariates(effect: float, version: int) -> bytes:
    regression = Regression(effects=np.array([[effect]]), tail=np.empty((1, 0)))
    model = replace(linear(24), regression=regression)
    metadata = ModelMetadata(
        family="linear", model_version=version, horizon=2, min_length=24, covariates=("promotion",)
    )
    return artefact.encode(model, metadata)


def test_pictures(run: RunCommand, store: Path, tmp_path: Path) -> None:
    """Both forecasts are drawn, in the terminal and into a file; with --json the drawing is a note."""
    file = tmp_path / "diff.svg"
    done = run("models", "diff", "alpha", "--plot", "--plot-file", file, "--store", store)
    assert "version 2" in done.out.splitlines()[-1]
    assert "version 2" in file.read_text()
    piped = run("models", "diff", "alpha", "--plot", "--json", "--store", store)
    assert len(piped.objects) == 1
    assert "version 2" in piped.err
