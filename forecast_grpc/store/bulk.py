"""Many models into a folder at once: the disk is waited for twice a batch, not six times a model.

The order is that of a single publication, and so is what a crash can leave: files have no name that a reader looks
for before their bytes are safe, and a version has its name before it is active.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from forecast_grpc.customer import require_customer_id
from forecast_grpc.errors import ModelNotFound
from forecast_grpc.store import files
from forecast_grpc.store.folder import FolderStore, translated
from forecast_grpc.store.layout import ACTIVE, VERSIONS, version_name

BATCH = 1_000
"""Models that are written before the disk is waited for."""

Publication = tuple[str, Callable[[int], bytes]]
"""A customer, and what `FolderStore.publish` takes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Written:
    """A model on the disk that has no name yet."""

    publication: Publication
    version: int
    as_version: Path
    as_active: Path


def publish_all(store: FolderStore, models: Iterable[Publication]) -> Iterator[tuple[str, int]]:
    """Publishes each as `FolderStore.publish` does; yields customer and version once they are safe on the disk.

    Lazily, a thousand at a time. Raises as `FolderStore.publish`: what has been yielded by then is published, of
    the others some may be.
    """
    left = iter(models)
    while batch := list(islice(left, BATCH)):
        yield from _publish(store, batch)


def _publish(store: FolderStore, batch: Sequence[Publication]) -> list[tuple[str, int]]:
    with ExitStack() as partials:
        written = [_write(store, each, partials) for each in batch]
        with translated():
            files.sync_all(store.root)
        versions = [_name(store, each) for each in written]
        with translated():
            files.sync_all(store.root)
    return [(customer_id, version) for (customer_id, _), version in zip(batch, versions, strict=True)]


def _write(store: FolderStore, publication: Publication, partials: ExitStack) -> _Written:
    customer_id, encode = publication
    require_customer_id(customer_id)
    version = _next_version(store, customer_id)
    data = encode(version)
    customer = store.root / customer_id
    with translated():
        for folder in (customer, customer / VERSIONS):
            if not files.ensure_folder(folder):
                files.remove_stale(folder)
        return _Written(
            publication=publication,
            version=version,
            as_version=partials.enter_context(files.partial(customer / VERSIONS, data, durable=False)),
            as_active=partials.enter_context(files.partial(customer, data, durable=False)),
        )


def _next_version(store: FolderStore, customer_id: str) -> int:
    try:
        return max(store.versions(customer_id), default=0) + 1
    except ModelNotFound:
        return 1


def _name(store: FolderStore, written: _Written) -> int:
    """Gives a model its names; returns its version."""
    customer_id, encode = written.publication
    customer = store.root / customer_id
    with translated():
        try:
            (customer / VERSIONS / version_name(written.version)).hardlink_to(written.as_version)
        except FileExistsError:
            # Somebody else published for this customer meanwhile.
            return store.publish(customer_id, encode)
        with files.locked(customer, needed=False):
            written.as_active.replace(customer / ACTIVE)
    # As in a single publication: the last of many publishers to look sees that the highest is active.
    newest = store.versions(customer_id)[-1]
    if newest > written.version:
        store.activate(customer_id, newest)
    return written.version
