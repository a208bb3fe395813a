"""The measures of the accuracy benchmark are a competition's, and it runs on a small one."""

import gzip
import json
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

from benchmarks.accuracy import Result, mean, measure
from benchmarks.competition import (
    DataError,
    Task,
    covered,
    mase,
    msis,
    naive2,
    owa,
    read_tasks,
    seasonal_naive,
    smape,
)
from tests.models.examples import series

TASK = Task(
    name="a",
    history=np.array([1.0, 2.0, 3.0, 5.0]),
    future=np.array([4.0, 10.0]),
    season_length=2,
)
"""The seasonal naive method errs by 2 and 3 in the history."""


def test_measures_are_those_of_m4() -> None:
    """By hand: errors of 2 and 0 against a scale of 2.5."""
    forecast = np.array([6.0, 10.0])
    assert smape(TASK, forecast) == pytest.approx(200.0 * 2.0 / 10.0 / 2.0)
    assert mase(TASK, forecast) == pytest.approx(1.0 / 2.5)
    low, high = np.array([4.0, 11.0]), np.array([6.0, 12.0])
    assert covered(TASK, low, high) == 0.5
    assert msis(TASK, low, high) == pytest.approx(((2.0 + 1.0) + 40.0 * 1.0) / 2.0 / 2.5)
    assert owa({"smape": 9.0, "mase": 1.0}, {"smape": 18.0, "mase": 4.0}) == pytest.approx(0.375)


def test_seasonal_naive_repeats_the_last_season() -> None:
    """And Naive2 the last value where three seasons are not there to test."""
    assert seasonal_naive(TASK).tolist() == [3.0, 5.0]
    assert naive2(TASK).tolist() == [5.0, 5.0]


@pytest.mark.parametrize("factors", [[0.5, 1.0, 1.0, 1.5], [-3.0, -1.0, 1.0, 3.0]])
def test_naive2_adjusts_for_the_season(factors: list[float]) -> None:
    """An exact season, multiplicative or, around zero, additive, goes on from where the history ends."""
    values = np.resize(factors, 42)
    task = Task(name="b", history=values[:38], future=values[38:], season_length=4)
    assert naive2(task) == pytest.approx(values[38:])


def write(folder: Path, part: str, text: str) -> None:
    """A file of a competition."""
    with gzip.open(folder / f"small-{part}.csv.gz", "wt") as file:
        file.write(text)


def test_both_layouts_are_read(tmp_path: Path) -> None:
    """A value a row, and, as M4 published them, a series a row with empty cells after shorter ones."""
    write(tmp_path, "train", "series_id,step,value\nH1,0,1\nH1,1,2.5\nH2,0,3\n")
    (tmp_path / "small-test.csv").write_text('"V1","V2","V3"\n"H1","7","8"\n"H2","9",""\n')
    tasks = read_tasks(tmp_path, 1)
    found = [(task.name, task.history.tolist(), task.future.tolist()) for task in tasks]
    assert found == [("H1", [1.0, 2.5], [7.0, 8.0]), ("H2", [3.0], [9.0])]


@pytest.mark.parametrize(
    ("train", "test", "told"),
    [
        (None, "series_id,step,value\n", "0 files named"),
        ("series_id,step,value\nH1,0,1\n", "series_id,step,value\nH2,0,1\n", "H1 is not in both"),
        ("series_id,step,value\n", "series_id,step,value\n", "no series"),
        ("series_id,step,value\nH1,0,one\n", "series_id,step,value\n", "one"),
        ("series_id,step,value\nH1\n", "series_id,step,value\n", "cannot be read"),
        ("", "", "no series"),
    ],
)
def test_what_is_wrong_with_a_folder_is_said(tmp_path: Path, train: str | None, test: str, told: str) -> None:
    """Which file is missing, empty or damaged, and where."""
    if train is not None:
        write(tmp_path, "train", train)
    write(tmp_path, "test", test)
    with pytest.raises(DataError, match=told):
        read_tasks(tmp_path, 1)


def test_a_family_is_measured_as_it_is_served() -> None:
    """Through the artefact and back; a series too short for a family has no result."""
    values = series(132)
    task = Task(name="c", history=values[:120], future=values[120:], season_length=12)
    found = measure("auto", task)
    assert found is not None
    assert found.mase < 1.5
    assert None not in asdict(found).values()
    short = Task(name="d", history=values[:9], future=values[9:15], season_length=12)
    assert measure("linear", short) is None


def test_means_of_errors_and_medians_of_costs() -> None:
    """One slow fit does not speak for all; a method without intervals has none on average."""
    found = mean([Result(smape=value, mase=value, fit_ms=value, bytes=value) for value in (1.0, 2.0, 9.0)])
    assert (found.smape, found.fit_ms, found.bytes, found.coverage_80) == (4.0, 2.0, 2.0, None)


def benchmark(*options: str) -> subprocess.CompletedProcess[str]:
    """The benchmark in a process of its own."""
    command = (sys.executable, "-m", "benchmarks.accuracy", *options)
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_without_data_it_says_what_to_give() -> None:
    """In one line, and it is no failure: `make bench` goes on."""
    done = benchmark()
    assert done.returncode == 0
    assert "--data DIR" in done.stdout
    assert len(done.stdout.splitlines()) == 1


def test_it_runs_on_a_small_competition(tmp_path: Path) -> None:
    """Table, JSON and picture; a folder without series is one sentence and an exit code."""
    rows = [f"S{k},{step},{value}\n" for k in range(2) for step, value in enumerate(series(72, k))]
    header = "series_id,step,value\n"
    write(tmp_path, "train", header + "".join(row for row in rows if int(row.split(",")[1]) < 60))
    write(tmp_path, "test", header + "".join(row for row in rows if int(row.split(",")[1]) >= 60))
    results, picture = tmp_path / "results.json", tmp_path / "picture.svg"
    options = ("--season-length", "12", "--family", "theta", "--family", "auto", "--processes", "1")
    done = benchmark("--data", str(tmp_path), *options, "--json", str(results), "--plot", str(picture))
    assert done.returncode == 0, done.stderr
    written = json.loads(results.read_text())
    assert written["results"].keys() == {"Naive2", "seasonal naive", "theta", "auto"}
    assert written["results"]["Naive2"]["owa"] == pytest.approx(1.0)
    assert sum(written["chosen"]["auto"].values()) == 2
    assert all(name in done.stdout for name in written["results"])
    assert picture.read_text().lstrip().startswith("<?xml")
    assert benchmark("--data", str(tmp_path / "nowhere")).returncode == 1
