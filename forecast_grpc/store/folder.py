"""The store in a folder, laid out as `layout` says.

Publishers need no lock to agree. A version's number is claimed by linking its complete file to its name, which one
of them alone can do. Having made its version active, each looks whether a higher one is there and makes that one
active in turn: the last to look sees them all, so the highest ends active. Replacing what was seen and nothing
else does need one: whoever replaces the active artefact holds a lock for that moment (`files.replace`).
"""

import asyncio
import errno
import os
import stat
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import cached_property
from pathlib import Path

from forecast_grpc.customer import require_customer_id
from forecast_grpc.domain import CUSTOMER_ID_PATTERN
from forecast_grpc.errors import ForecastError
from forecast_grpc.own_core import beside
from forecast_grpc.store import cached, files
from forecast_grpc.store.base import (
    Fetched,
    model_not_found,
    require_removable,
    store_unavailable,
    version_changed,
    version_not_found,
)
from forecast_grpc.store.glances import Glances, disk_reads
from forecast_grpc.store.layout import ACTIVE, PICKLE, VERSIONS, may_exist, version_name, versions_among
from forecast_grpc.trust import pickle_forbidden


@contextmanager
def translated() -> Iterator[None]:
    """What the file system raises, as our errors; its own words, which hold paths, stay in the cause."""
    try:
        yield
    except PermissionError as exc:
        raise store_unavailable("The store of models does not permit this.") from exc
    except NotADirectoryError as exc:
        raise store_unavailable("The store of models holds something else where a folder should be.") from exc
    except OSError as exc:
        raise store_unavailable("The store of models does not answer.") from exc


class FolderStore:
    """A ModelStore in a folder of a file system that knows hard links. Holds no file open between calls.

    Symbolic links below the folder are not followed (the folder itself may be one): what they stand for is
    treated as not there, so that nothing outside the folder can be served.
    """

    def __init__(
        self,
        root: Path,
        *,
        pickles: bool = False,
        max_concurrent: int = 8,
        clock: Callable[[], float] = time.perf_counter,
        reads: Callable[[], int] = disk_reads,
    ) -> None:
        """`pickles` and `max_concurrent`: as in `open_store`. `clock` and `reads`: of `Glances`."""
        self.root = root
        """The folder, as it was named."""
        self._pickles = pickles
        self._max_concurrent = max_concurrent
        # Where a fetch has found the folder to lie: at first nothing is at hand.
        self._disk = files.NO_DISK
        self._glances = Glances(clock, reads)

    def __repr__(self) -> str:
        return f"FolderStore({str(self.root)!r})"

    async def fetch(
        self, customer_id: str, *, version: int | None = None, if_none_match: str | None = None
    ) -> Fetched | None:
        """See ModelStore. The files are read in a thread, which goes on when the caller is cancelled."""
        require_customer_id(customer_id)
        loop = asyncio.get_running_loop()
        # Threads of its own: the event loop has six on two cores, for whatever else wants one.
        return await loop.run_in_executor(self._threads, self._fetch, customer_id, version, if_none_match)

    def at_hand(self, customer_id: str, *, version: int | None = None) -> Fetched | None:
        """See ModelStore. On a local disk: what the kernel has in memory, and whoever has no folder at all.

        The latter only as long as the disk is quick to say so.
        """
        require_customer_id(customer_id)
        if not self._disk or (version is not None and not may_exist(version)):
            return None
        name = ACTIVE if version is None else f"{VERSIONS}/{version_name(version)}"
        found = cached.read(self.root, f"{customer_id}/{name}")
        if found is None and (absence := self._absence(customer_id)):
            raise model_not_found(customer_id) from absence
        return found

    def read(self, customer_id: str, *, version: int | None = None) -> Fetched:
        """See ModelStore."""
        require_customer_id(customer_id)
        with self._artefact(customer_id, version) as descriptor:
            return _take(descriptor)

    def publish(self, customer_id: str, encode: Callable[[int], bytes]) -> int:
        """See ModelStore. Raises StoreUnavailable where the store's folder does not exist."""
        require_customer_id(customer_id)
        with translated():
            version = max(self._versions(customer_id), default=0) + 1
        data = encode(version)
        while not self._create_version(customer_id, version, data):
            version += 1
            data = encode(version)
        self._settle(customer_id, version, data)
        return version

    def customers(self, *, prefix: str = "", start_after: str = "") -> Iterator[str]:
        """See ModelStore. Names are read at the first step, models looked for one by one as they come up."""
        with translated():
            names = sorted(self._names(prefix, start_after))
        for name in names:
            with translated():
                has_model = self._holds(name, ACTIVE) or self._holds(name, PICKLE)
            if has_model:
                yield name

    def versions(self, customer_id: str) -> tuple[int, ...]:
        """See ModelStore."""
        require_customer_id(customer_id)
        with translated():
            versions = self._versions(customer_id)
            if not versions and not self._has_model(customer_id):
                raise self._missing(customer_id, None)
            return versions

    def activate(self, customer_id: str, version: int, *, over: str | None = None) -> None:
        """See ModelStore. With `over`, raises StoreUnavailable where the file system has no locks."""
        data = self.read(customer_id, version=version).data
        with translated():
            if not files.replace(self.root / customer_id, ACTIVE, data, over=over):
                raise version_changed(customer_id)

    def remove(self, customer_id: str, version: int) -> None:
        """See ModelStore."""
        require_removable(customer_id, version, self.versions(customer_id))
        folder = self.root / customer_id / VERSIONS
        with translated():
            if files.is_folder(folder):
                (folder / version_name(version)).unlink(missing_ok=True)
                files.sync_folder(folder)

    def check(self) -> None:
        """See ModelStore."""
        with translated(), os.scandir(self.root) as entries:
            next(entries, None)

    def create(self) -> bool:
        """See ModelStore. Makes the folders on the way too."""
        with translated():
            if self.root.exists():
                return False
            self.root.mkdir(parents=True)
            return True

    def _absence(self, customer_id: str) -> FileNotFoundError | None:
        """What shows that the customer has certainly no folder: the kernel knows, or reads a block or two."""
        if not self._glances.allowed():
            return None
        with suppress(OSError):
            try:
                with self._glances.timed():
                    os.lstat(f"{self.root}/{customer_id}")
            except FileNotFoundError as absence:
                # Or the store itself is gone, or something else is in its place.
                return absence if files.local_disk(self.root.stat()) == self._disk else None
        return None

    @cached_property
    def _threads(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(self._max_concurrent, thread_name_prefix="store", initializer=beside)

    def _fetch(self, customer_id: str, version: int | None, if_none_match: str | None) -> Fetched | None:
        with suppress(OSError):
            self._disk = files.local_disk(self.root.stat())
        with self._artefact(customer_id, version) as descriptor:
            return None if files.etag_of(descriptor) == if_none_match else _take(descriptor)

    @contextmanager
    def _artefact(self, customer_id: str, version: int | None) -> Iterator[int]:
        """A descriptor of the artefact's open file. Raises what `ModelStore.fetch` raises."""
        with translated():
            if version is not None and not may_exist(version):
                raise self._missing(customer_id, version)
            try:
                with files.opened(self.root / customer_id, *self._place(customer_id, version)) as descriptor:
                    yield descriptor
            except FileNotFoundError as exc:
                raise self._missing(customer_id, version) from exc

    def _place(self, customer_id: str, version: int | None) -> tuple[str, ...]:
        """Where in the customer's folder the artefact is to be."""
        if version is not None:
            return VERSIONS, version_name(version)
        return (PICKLE,) if self._pickles and not self._has(customer_id, ACTIVE) else (ACTIVE,)

    def _missing(self, customer_id: str, version: int | None) -> ForecastError:
        """Why there is no such file. Raises OSError where the store itself is not there."""
        if self._has(customer_id, ACTIVE) and version is not None:
            return version_not_found(customer_id, version)
        if self._has(customer_id, PICKLE) and not self._has(customer_id, ACTIVE):
            if not self._pickles:
                return pickle_forbidden(customer_id)
            if version is not None:
                return version_not_found(customer_id, version)
        self._require_root()
        return model_not_found(customer_id)

    def _create_version(self, customer_id: str, version: int, data: bytes) -> bool:
        customer = self.root / customer_id
        versions = customer / VERSIONS
        with translated():
            for folder in (customer, versions):
                files.make_folder(folder)
                files.remove_stale(folder)
            return files.create(versions, version_name(version), data)

    def _settle(self, customer_id: str, version: int, data: bytes) -> None:
        """Makes `version` the active one, or the highest where others have come after it."""
        with translated():
            files.replace(self.root / customer_id, ACTIVE, data)
            newest = max(self._versions(customer_id), default=version)
        if newest > version:
            self._settle(customer_id, newest, self.read(customer_id, version=newest).data)

    def _versions(self, customer_id: str) -> tuple[int, ...]:
        if not self._has(customer_id, VERSIONS):
            self._require_root()
            return ()
        with os.scandir(self.root / customer_id / VERSIONS) as entries:
            return versions_among(entry.name for entry in entries)

    def _names(self, prefix: str, start_after: str) -> Iterator[str]:
        with os.scandir(self.root) as entries:
            for entry in entries:
                name = entry.name
                wanted = name.startswith(prefix) and name > start_after
                # is_dir comes last: on some file systems it costs a call.
                if wanted and CUSTOMER_ID_PATTERN.fullmatch(name) and entry.is_dir(follow_symlinks=False):
                    yield name

    def _has_model(self, customer_id: str) -> bool:
        return self._has(customer_id, ACTIVE) or self._has(customer_id, PICKLE)

    def _has(self, customer_id: str, name: str) -> bool:
        return self._holds(customer_id, name) and not (self.root / customer_id).is_symlink()

    def _holds(self, customer_id: str, name: str) -> bool:
        # Not os.path.lexists: it takes a folder that we may not look into for an empty one.
        with suppress(FileNotFoundError, NotADirectoryError):
            os.lstat(f"{self.root}/{customer_id}/{name}")
            return True
        return False

    def _require_root(self) -> None:
        if not stat.S_ISDIR(self.root.stat().st_mode):
            raise NotADirectoryError(errno.ENOTDIR, "not a folder", str(self.root))


def _take(descriptor: int) -> Fetched:
    # The etag first: where the file is written to meanwhile, the next comparison shows it.
    etag = files.etag_of(descriptor)
    return Fetched(data=files.read_all(descriptor), etag=etag)
