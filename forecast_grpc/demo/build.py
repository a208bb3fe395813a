"""The demo's models into a store."""

import secrets
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from forecast_grpc.demo import series, tutorial
from forecast_grpc.fit import fit_series
from forecast_grpc.store import FolderStore, ModelStore

STALE_AFTER_S = 3600.0
"""Age at which an unfinished build is taken for a crashed one's, in seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoModel:
    """A customer of the demo."""

    customer_id: str
    """The customer's name."""

    encode: Callable[[int], bytes]
    """The artefact under a version."""


def models() -> Iterator[DemoModel]:
    """Every customer of the demo; the models of the real series are fitted as they come up."""
    for customer in tutorial.CUSTOMERS:
        yield DemoModel(customer_id=customer.customer_id, encode=customer.encode)
    for file in series.FILES:
        for one in file.series():
            fitted = fit_series(one, season_length=file.season_length, horizon=file.horizon)
            yield DemoModel(customer_id=one.customer_id, encode=fitted.encode)


def publish(store: ModelStore) -> Iterator[str]:
    """Publishes every customer of the demo as the next version; yields each once it is done."""
    for model in models():
        store.publish(model.customer_id, model.encode)
        yield model.customer_id


def build(folder: Path) -> Iterator[str]:
    """Builds the demo store at `folder`, which must not exist or be empty; yields each customer once it is done.

    The folder is there when all of it is there: a build that ends early leaves nothing that could be taken for a
    store. Raises OSError: EEXIST or ENOTEMPTY where another store came to be there meanwhile, else of the disk.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    _remove_stale(folder)
    partial = folder.parent / f"{_partial(folder)}{secrets.token_hex(8)}"
    partial.mkdir()
    try:
        yield from publish(FolderStore(partial))
        partial.rename(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _partial(folder: Path) -> str:
    return f".{folder.name}.partial-"


def _remove_stale(folder: Path) -> None:
    for path in folder.parent.glob(f"{_partial(folder)}*"):
        if path.stat().st_mtime < time.time() - STALE_AFTER_S:
            shutil.rmtree(path, ignore_errors=True)
