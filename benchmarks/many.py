"""Stores of many customers, made in minutes: models of the built-in families, published together."""

from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import cache, partial
from pathlib import Path

import numpy as np

from forecast_grpc.fit import FittedModel, Series, fit_series
from forecast_grpc.store import FolderStore, publish_all

FAMILIES = ("ets", "seasonal_naive", "theta", "trend")
"""Families of the models, in turn."""

_HISTORY, _SEASON, _HORIZON = 60, 7, 7
_KINDS = 8  # Different models of each family: every customer has one of them.
_PART = 10_000  # Customers that a process publishes at a time.


def publish(folder: Path, pattern: str, count: int, *, processes: int = 2) -> None:
    """Publishes the next version of so many customers, named by numbers from 0, into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    parts = [range(start, min(start + _PART, count)) for start in range(0, count, _PART)]
    if len(parts) == 1:
        return _publish(folder, pattern, parts[0])
    with ProcessPoolExecutor(processes) as pool:
        for done in [pool.submit(_publish, folder, pattern, part) for part in parts]:
            done.result()
    return None


def size_on_disk(folder: Path, pattern: str, count: int, *, sample: int = 1_000) -> int:
    """Bytes that the store takes on its disk, folders included, from an even sample of its customers."""
    step = max(1, count // sample)
    numbers = range(0, count, step)
    taken = sum(_blocks(folder / (pattern % number)) for number in numbers)
    return folder.stat().st_blocks * 512 + taken * count // len(numbers)


def _blocks(folder: Path) -> int:
    return sum(path.lstat().st_blocks * 512 for path in (folder, *folder.rglob("*")))


def _publish(folder: Path, pattern: str, numbers: range) -> None:
    models = ((pattern % number, _models()[number % len(_models())]) for number in numbers)
    for _ in publish_all(FolderStore(folder), models):
        pass


@cache
def _models() -> tuple[Callable[[int], bytes], ...]:
    """The models, each as what a store is given: its artefact under a version."""
    kinds = [_fitted(family, kind) for kind in range(_KINDS) for family in FAMILIES]
    return tuple(cache(partial(FittedModel.encode, each)) for each in kinds)


def _fitted(family: str, kind: int) -> FittedModel:
    rng, days = np.random.default_rng(kind), np.arange(_HISTORY)
    values = 100.0 + 10.0 * np.sin(2 * np.pi * (days / _SEASON + rng.random())) + rng.normal(size=_HISTORY)
    return fit_series(Series(values=values, frequency="P1D"), family=family, horizon=_HORIZON)
