"""The store that the service is tested on: known models, and every way in which one can be bad."""

import json
import pickle
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import numpy as np

from forecast_grpc import artefact
from forecast_grpc.domain import Forecaster, ModelMetadata
from forecast_grpc.models.covariates import Regression
from forecast_grpc.models.linear import Linear
from forecast_grpc.models.residuals import LEVELS, ResidualQuantiles
from forecast_grpc.models.seasonal_naive import SeasonalNaive
from forecast_grpc.models.trend import Trend
from forecast_grpc.store import FolderStore

TRAINED = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
HORIZON = 7
SLOPES = {
    "customer_123": 1.45,
    "customer_456": -0.5,
    "customer_789": 2.25,
    "customer_abc": 0.75,
    "customer_def": 2.9,
    "customer_hij": -0.9,
}
"""The tutorial's customers."""

MANY = tuple(f"shop-{number:02}" for number in range(60))
"""Customers to spread over replicas."""

MEMORY = Path("/dev/shm")  # noqa: S108 - whoever uses it makes a folder of its own there
"""Where it is there, a file system on no disk."""


@contextmanager
def folder_on_no_disk() -> Iterator[Path]:
    """An empty folder. Nothing of a store in it is at hand, as with a server of files, or where it is no Linux."""
    with tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as folder:
        yield Path(folder)


def residuals(spread: float = 1.0) -> ResidualQuantiles:
    """Symmetric errors that grow with the square root of the horizon."""
    offsets = np.outer(np.linspace(-spread, spread, len(LEVELS)), np.sqrt(np.arange(1, HORIZON + 1)))
    return ResidualQuantiles(offsets.astype(np.float32))


def trend(slope: float) -> Trend:
    """A line of this slope."""
    return Trend(slope=slope, base_level=100.0, residuals=residuals())


def encode(
    forecaster: Forecaster,
    version: int,
    frequency: str | None = None,
    time_zone: str = "UTC",
    covariates: tuple[str, ...] = (),
) -> bytes:
    """The artefact of a model; with a frequency, one that was trained up to the end of January 2026."""
    metadata = ModelMetadata(
        family=forecaster.family,
        model_version=version,
        horizon=HORIZON,
        min_length=forecaster.min_length,
        trained_time=TRAINED,
        frequency=frequency,
        time_zone=time_zone,
        state_time=None if frequency is None else "2026-01-31T00:00:00Z",
        covariates=covariates,
    )
    return artefact.encode(forecaster, metadata)


def publisher(forecaster: Forecaster) -> Callable[[int], bytes]:
    """What `store.publish` takes."""
    return partial(encode, forecaster)


def build(folder: Path) -> FolderStore:
    """The store with everything in it."""
    folder.mkdir(parents=True, exist_ok=True)
    store = FolderStore(folder)
    for customer, slope in SLOPES.items():
        store.publish(customer, publisher(trend(slope)))
    for number, customer in enumerate(MANY):
        store.publish(customer, publisher(trend(number / 8)))
    for slope in (1.0, 2.0, 3.0):
        store.publish("versioned", publisher(trend(slope)))
    _add_families(store)
    _add_bad_ones(store, folder)
    return store


def _add_families(store: FolderStore) -> None:
    rng = np.random.default_rng(7)
    weights = rng.normal(size=(HORIZON, 4)).astype(np.float32)
    four_lags = Linear(
        weights=weights, intercept=np.zeros(HORIZON), end=np.arange(4.0), residuals=residuals()
    )
    store.publish("four-lags", publisher(four_lags))
    # The mean of four values; 10 more with a promotion, 2 less for each unit of the price, 5 in training.
    promoted = Linear(
        weights=np.full((HORIZON, 4), 0.25, np.float32),
        intercept=np.zeros(HORIZON),
        end=np.full(4, 90.0),
        residuals=residuals(),
        regression=Regression(
            effects=np.array([[10.0], [-2.0]]), tail=np.array([[0.0, 0.0, 0.0, 0.0], [5.0, 5.0, 5.0, 5.0]])
        ),
    )
    store.publish("promoted", partial(encode, promoted, covariates=("promo", "price")))
    store.publish("monthly", partial(encode, trend(1.0), frequency="P1M"))
    store.publish("daily-in-berlin", partial(encode, trend(1.0), frequency="P1D", time_zone="Europe/Berlin"))
    store.publish("weekly", publisher(SeasonalNaive(end=np.arange(7.0), residuals=residuals())))


def _add_bad_ones(store: FolderStore, folder: Path) -> None:
    good = encode(trend(1.0), 1)
    for customer, data in {
        "truncated": good[:-10],
        "flipped": good[:-1] + bytes([good[-1] ^ 1]),
        "empty": b"",
        "pickle-renamed": pickle.dumps(WritesAFile(folder / "pickle-was-run")),
        "future-family": with_metadata(good, family="oracle"),
        "future-format": with_metadata(good, format_version="99"),
    }.items():
        store.publish(customer, partial(_as_it_is, data))
    (folder / "pickled").mkdir()
    (folder / "pickled" / "model.pkl").write_bytes(pickle.dumps(WritesAFile(folder / "pickle-was-run")))


def _as_it_is(data: bytes, _version: int) -> bytes:
    return data


class WritesAFile:
    """A pickle that shows that it was run."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[[Path], None], tuple[Path]]:
        return Path.touch, (self.path,)


def with_metadata(data: bytes, **changes: str) -> bytes:
    """An artefact with other metadata, as another release would write it: no digest of the header."""
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    header["__metadata__"].update(changes)
    header["__metadata__"].pop("header_sha256")
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + data[8 + length :]
