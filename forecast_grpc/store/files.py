"""Files that a reader sees whole or not at all, in a folder that links cannot lead out of."""

import ctypes
import errno
import os
import secrets
import stat
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

STALE_AFTER_S = 3600.0
"""Age at which a temporary file is taken for a crashed publisher's, in seconds."""

NO_DISK = 0
"""In place of the number of a block device."""

_PARTIAL = ".partial-"
_NOFOLLOW = getattr(os, "O_NOFOLLOW", 0)
_BINARY = getattr(os, "O_BINARY", 0)
_FOLDER = os.O_RDONLY | getattr(os, "O_DIRECTORY", 0)
# O_NONBLOCK: a FIFO under an artefact's name must not hold up the thread that opens it.
_READ = os.O_RDONLY | _NOFOLLOW | _BINARY | getattr(os, "O_NONBLOCK", 0)
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | _BINARY

_LINK_ERRORS = (errno.ELOOP, errno.EMLINK)
"""What refusing a link is called: ELOOP on Linux and macOS, EMLINK on FreeBSD."""


def local_disk(found: os.stat_result) -> int:
    """The block device of this machine that a folder lies on; NO_DISK where it lies on none, or is no folder.

    Told on Linux alone, where what lies on a server, in memory or in layers has a device of major number 0.
    """
    on_a_disk = sys.platform == "linux" and os.major(found.st_dev) != 0
    return found.st_dev if on_a_disk and stat.S_ISDIR(found.st_mode) else NO_DISK


@contextmanager
def opened(folder: Path, *names: str) -> Iterator[int]:
    """A descriptor to read the regular file below `folder` that `names` lead to.

    Raises FileNotFoundError where it does not exist, is not a regular file, or where it, a folder on the way or
    `folder` itself is a symbolic link; and other kinds of OSError.
    """
    descriptor = _open_at(folder, *names) if os.open in os.supports_dir_fd else _open_checked(folder, *names)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise FileNotFoundError(errno.ENOENT, "not a regular file", names[-1])
        yield descriptor
    finally:
        os.close(descriptor)


def _open_at(folder: Path, *names: str) -> int:
    """Opens each name within the folder that was opened before it: no link can be slipped in between."""
    try:
        parent = os.open(folder, _FOLDER | _NOFOLLOW)
        for depth, name in enumerate(names, start=1):
            flags = _READ if depth == len(names) else _FOLDER | _NOFOLLOW
            try:
                child = os.open(name, flags, dir_fd=parent)
            finally:
                os.close(parent)
            parent = child
    except OSError as exc:
        if exc.errno in _LINK_ERRORS or isinstance(exc, NotADirectoryError):
            raise FileNotFoundError(*exc.args) from exc
        raise
    return parent


def _open_checked(folder: Path, *names: str) -> int:
    """The same for systems that open by path alone (Windows)."""
    path = folder
    for name in ("", *names):
        path = path / name
        if path.is_symlink():
            raise FileNotFoundError(errno.ENOENT, "a link", str(path))
    return os.open(path, _READ)


def read_all(descriptor: int) -> bytes:
    """Everything in an open file."""
    with os.fdopen(descriptor, "rb", buffering=0, closefd=False) as file:
        return file.read()


def etag_of(descriptor: int) -> str:
    """Another one whenever the bytes may be others.

    A replaced file has another inode than the one it replaced; a file written in place has other times.
    """
    status = os.fstat(descriptor)
    return f"{status.st_ino:x}-{status.st_size:x}-{status.st_mtime_ns:x}-{status.st_ctime_ns:x}"


@contextmanager
def partial(folder: Path, data: bytes, *, durable: bool = True) -> Iterator[Path]:
    """A temporary file in `folder` that holds `data`, safe on the disk unless not `durable`, gone at the end."""
    path = folder / f"{_PARTIAL}{secrets.token_hex(8)}"
    try:
        # Not tempfile: its files are for one user, and a store is read by others than its publishers.
        with os.fdopen(os.open(path, _CREATE, 0o666), "wb") as file:
            file.write(data)
            file.flush()
            if durable:
                os.fsync(file.fileno())
        yield path
    finally:
        with suppress(FileNotFoundError):
            path.unlink()


def create(folder: Path, name: str, data: bytes) -> bool:
    """Writes `folder/name`, complete from the moment it is visible; False where that name is taken."""
    with partial(folder, data) as path:
        try:
            os.link(path, folder / name)
        except FileExistsError:
            return False
    sync_folder(folder)
    return True


def replace(folder: Path, name: str, data: bytes, *, over: str | None = None) -> bool:
    """Writes `folder/name`; a reader sees the old file or the new one.

    With `over`, only where the file has that etag; False where it has another, or is not there. Raises OSError
    where the file system has no locks, which this needs.
    """
    # What takes time, the writing, is done before the lock is taken.
    with partial(folder, data) as path, locked(folder, needed=over is not None):
        if over is not None and _etag_at(folder, name) != over:
            return False
        path.replace(folder / name)
    sync_folder(folder)
    return True


@contextmanager
def locked(folder: Path, *, needed: bool) -> Iterator[None]:
    """Keeps out everyone else who locks this folder. Its end, that of the process too, unlocks it.

    The folder itself is locked, so that nothing is left over. Where that cannot be done, raises OSError if the
    lock is needed, and does without if not.
    """
    descriptor = None
    try:
        descriptor = _lock(folder)
    except (OSError, ImportError) as exc:
        if needed:
            raise OSError(errno.ENOLCK, "folders cannot be locked here", str(folder)) from exc
    try:
        yield
    finally:
        if descriptor is not None:
            os.close(descriptor)


def _lock(folder: Path) -> int:
    import fcntl  # noqa: PLC0415 - Windows has none

    descriptor = os.open(folder, _FOLDER | _NOFOLLOW)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def _etag_at(folder: Path, name: str) -> str | None:
    try:
        with opened(folder, name) as descriptor:
            return etag_of(descriptor)
    except FileNotFoundError:
        return None


def make_folder(folder: Path) -> None:
    """Creates a folder, so that it survives a power cut; does nothing where it is there.

    Raises NotADirectoryError where something else has its name, such as a link to a folder.
    """
    if ensure_folder(folder):
        sync_folder(folder.parent)


def ensure_folder(folder: Path) -> bool:
    """As `make_folder`, without waiting for the disk; True if the folder was not there."""
    try:
        folder.mkdir()
    except FileExistsError:
        if is_folder(folder):
            return False
        raise NotADirectoryError(errno.ENOTDIR, "not a folder", str(folder)) from None
    return True


def is_folder(path: Path) -> bool:
    """Whether this is a folder itself, not a link to one."""
    return path.is_dir() and not path.is_symlink()


def sync_folder(folder: Path) -> None:
    """Makes the folder's entries survive a power cut, where the system can do that."""
    if not hasattr(os, "O_DIRECTORY"):
        return
    descriptor = os.open(folder, _FOLDER)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_all(folder: Path) -> None:
    """Makes all that was written to the folder's file system by now survive a power cut. Raises OSError."""
    # sync() does not say whether it failed; Linux's syncfs() does, and leaves other disks alone.
    syncfs = getattr(ctypes.CDLL(None, use_errno=True), "syncfs", None) if os.name == "posix" else None
    if syncfs is None:
        getattr(os, "sync", lambda: None)()
        return
    descriptor = os.open(folder, _FOLDER)
    try:
        if syncfs(descriptor):
            raise OSError(ctypes.get_errno(), "syncfs failed", str(folder))
    finally:
        os.close(descriptor)


def remove_stale(folder: Path) -> None:
    """Removes temporary files that a publisher must have left behind when it crashed."""
    limit = time.time() - STALE_AFTER_S
    for path in folder.glob(f"{_PARTIAL}*"):
        with suppress(FileNotFoundError):
            if path.lstat().st_mtime < limit:
                path.unlink()
