"""A store with known models, and the command line to run on it."""

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from forecast_grpc import artefact
from forecast_grpc.cli import app
from forecast_grpc.domain import ModelMetadata
from forecast_grpc.models.residuals import LEVELS, ResidualQuantiles
from forecast_grpc.models.trend import Trend
from forecast_grpc.store import FolderStore
from tests.cli.fake_service import FakeService, serving

RunCommand = Callable[..., "Done"]
"""Runs `forecast-grpc` with these arguments."""


class Done:
    """A command that has ended."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code = code
        """Its exit code."""
        self.out = out
        """What it wrote to standard output."""
        self.err = err
        """What it wrote to standard error."""

    @property
    def objects(self) -> list[dict[str, Any]]:
        """Standard output as one JSON object a line."""
        return [json.loads(line) for line in self.out.splitlines()]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Nothing of the user's: neither their demo store nor their settings."""
    for name in ("FORECAST_GRPC_STORE", "FORECAST_GRPC_ADDRESS", "FORECAST_GRPC_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("HOME", str(tmp_path))
    # Wide, so that help and messages are not folded where a test looks for a sentence.
    monkeypatch.setenv("COLUMNS", "200")
    return tmp_path


@pytest.fixture
def in_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, empty."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def run() -> RunCommand:
    """The command line in this process; an exception that no command expected comes out of it."""

    def run_command(*arguments: object, stdin: str | None = None) -> Done:
        result = CliRunner().invoke(app, [str(each) for each in arguments], input=stdin)
        if result.exception and not isinstance(result.exception, SystemExit):
            raise result.exception
        return Done(result.exit_code, result.stdout, result.stderr)

    return run_command


def trend(slope: float, version: int = 1, *, accuracy: dict[str, float] | None = None) -> bytes:
    """The artefact of a trend model with errors of -1 to 1 at every step."""
    offsets = np.repeat(np.linspace(-1, 1, len(LEVELS), dtype=np.float32)[:, np.newaxis], 3, axis=1)
    model = Trend(slope=slope, base_level=100.0, residuals=ResidualQuantiles(offsets))
    metadata = ModelMetadata(
        family="trend",
        model_version=version,
        horizon=3,
        min_length=1,
        frequency="P1D",
        trained_time=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
        state_time="2026-01-01T00:00:00Z",
        accuracy=accuracy or {},
    )
    return artefact.encode(model, metadata)


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """A store's folder: `alpha` in three versions of slopes 1, 2, 3, `beta` in one, and a damaged `corrupt`."""
    folder = tmp_path / "store"
    folder.mkdir()
    opened = FolderStore(folder)
    for slope in (1.0, 2.0, 3.0):
        opened.publish("alpha", partial(trend, slope, accuracy={"mase": 0.5, "smape": 4.0}))
    opened.publish("beta", partial(trend, -1.0))
    opened.publish("corrupt", lambda version: trend(1.0, version)[:-10])
    return folder


@pytest.fixture
def service(store: Path) -> Iterator[FakeService]:
    """The service on that store."""
    with serving(store) as running:
        yield running
