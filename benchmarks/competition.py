"""A forecasting competition: its series, its measures and its reference methods, as M4 defined them.

Makridakis, Spiliotis & Assimakopoulos 2020, The M4 Competition: 100,000 time series and 61 forecasting methods.
"""

import csv
import gzip
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from forecast_grpc.domain import FloatArray
from forecast_grpc.fit.seasonality import is_seasonal, seasonal_pattern

_COLUMNS = ("series_id", "step", "value")
_ALPHA = 0.05  # Of the interval that the MSIS is for.


class DataError(Exception):
    """The folder does not hold what a competition needs; the text is one sentence for a person."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One series to forecast."""

    name: str
    """As the competition calls it."""

    history: FloatArray
    """What was known, shape (n,)."""

    future: FloatArray
    """What came, shape (horizon,)."""

    season_length: int
    """Steps in a season; 1 where there is none."""

    @property
    def horizon(self) -> int:
        """Steps to forecast."""
        return self.future.size

    @property
    def scale(self) -> float:
        """Mean absolute error of the seasonal naive method in the history."""
        return float(np.abs(self.history[self.season_length :] - self.history[: -self.season_length]).mean())


def read_tasks(folder: Path, season_length: int) -> list[Task]:
    """The series of the two files in `folder` whose names hold `train` and `test`, in the first one's order.

    They are CSV, compressed or not, either with the columns series_id, step, value, or, as M4 published its
    own, a series a row with its name first. Raises DataError.
    """
    histories, futures = (_read(_only(folder, part)) for part in ("train", "test"))
    missing = [name for name in histories if name not in futures]
    if missing or not histories:
        raise DataError(f"{folder}: {missing[0] if missing else 'no series'} is not in both files")
    return [
        Task(name=name, history=history, future=futures[name], season_length=season_length)
        for name, history in histories.items()
    ]


def _only(folder: Path, part: str) -> Path:
    found = sorted(path for path in folder.glob("*.csv*") if part in path.name.lower())
    if len(found) != 1:
        raise DataError(f"{folder} holds {len(found)} files named *{part}*.csv or *{part}*.csv.gz, not one")
    return found[0]


def _read(path: Path) -> dict[str, FloatArray]:
    opened = gzip.open if path.suffix == ".gz" else open
    values: dict[str, list[float]] = {}
    try:
        with opened(path, "rt", newline="") as file:
            for name, numbers in _rows(csv.reader(file)):
                values.setdefault(name, []).extend(map(float, numbers))
    except (OSError, ValueError) as exc:
        raise DataError(f"{path} cannot be read: {exc}") from exc
    return {name: np.array(series) for name, series in values.items()}


def _rows(reader: Iterator[list[str]]) -> Iterator[tuple[str, list[str]]]:
    header = next(reader, [])
    if tuple(header) == _COLUMNS:
        yield from ((name, [value]) for name, _, value in reader)
    else:
        yield from ((name, [number for number in numbers if number]) for name, *numbers in reader)


def naive2(task: Task) -> FloatArray:
    """The naive method on the seasonally adjusted series, where the series passes the test of seasonality."""
    history, season_length = task.history, task.season_length
    if not is_seasonal(history, season_length):
        return np.full(task.horizon, history[-1])
    pattern, multiplicative = seasonal_pattern(history, season_length)
    ahead = pattern[np.arange(history.size, history.size + task.horizon) % season_length]
    last = pattern[(history.size - 1) % season_length]
    if multiplicative:
        return np.asarray(history[-1] / (1.0 + last) * (1.0 + ahead))
    return np.asarray(history[-1] - last + ahead)


def seasonal_naive(task: Task) -> FloatArray:
    """The last season again and again."""
    return np.resize(task.history[-task.season_length :], task.horizon)


def smape(task: Task, forecast: FloatArray) -> float:
    """In percent; 0 where both are 0."""
    sizes = np.abs(forecast) + np.abs(task.future)
    errors = 200.0 * np.abs(forecast - task.future)
    return float(np.divide(errors, sizes, out=np.zeros_like(sizes), where=sizes > 0.0).mean())


def mase(task: Task, forecast: FloatArray) -> float:
    """Relative to the seasonal naive method in the history."""
    return float(np.abs(forecast - task.future).mean()) / task.scale


def covered(task: Task, low: FloatArray, high: FloatArray) -> float:
    """The share of what came that lies in the interval."""
    return float(((task.future >= low) & (task.future <= high)).mean())


def msis(task: Task, low: FloatArray, high: FloatArray) -> float:
    """The mean scaled interval score of a 95 % interval (Gneiting & Raftery 2007)."""
    below, above = np.maximum(low - task.future, 0.0), np.maximum(task.future - high, 0.0)
    return float((high - low + 2.0 / _ALPHA * (below + above)).mean()) / task.scale


def owa(measured: Mapping[str, float], reference: Mapping[str, float]) -> float:
    """The overall weighted average of `smape` and `mase`, relative to the means of the reference method."""
    return sum(measured[name] / reference[name] for name in ("smape", "mase")) / 2.0
