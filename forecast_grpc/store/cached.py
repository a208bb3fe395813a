"""Files that the kernel has in memory, read in microseconds on an event loop: never waits for the disk.

Linux alone tells a read that would have to wait from one that would not (openat2 since 5.12, preadv2 since 4.14).
On other systems, and wherever a kernel or a sandbox refuses, nothing is at hand.
"""

import ctypes
import os
import stat
import sys
from pathlib import Path

from forecast_grpc.store.base import Fetched
from forecast_grpc.store.files import etag_of

MAX_BYTES = 64 * 2**10
"""The largest file that is read so: more would hold up the loop for longer than a thread costs."""

_OPENAT2 = 437
"""The number of the system call, which has no wrapper in glibc. The same on all machines that Ray runs on."""

_NO_SYMLINKS, _BENEATH, _CACHED = 0x04, 0x08, 0x20
"""RESOLVE_NO_SYMLINKS, RESOLVE_BENEATH and RESOLVE_CACHED of linux/openat2.h."""


class _OpenHow(ctypes.Structure):
    """`struct open_how` of linux/openat2.h."""

    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


# O_NONBLOCK: a FIFO under an artefact's name must not hold up whoever opens it.
_READ = os.O_RDONLY | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NONBLOCK", 0)
_HOW = _OpenHow(flags=_READ, mode=0, resolve=_NO_SYMLINKS | _BENEATH | _CACHED)
_syscall = ctypes.CDLL(None, use_errno=True).syscall if sys.platform == "linux" else None


def read(folder: Path, name: str) -> Fetched | None:
    """The regular file `name` beneath `folder`, reached by no symbolic link; None where it has to be waited for.

    None as well where there is no such file, it has more than MAX_BYTES, or the kernel has no way to tell.
    """
    if sys.platform != "linux":
        return None
    try:
        root = os.open(folder, os.O_PATH | os.O_DIRECTORY)
        try:
            descriptor = _open(root, name)
        finally:
            os.close(root)
        try:
            return _take(descriptor)
        finally:
            os.close(descriptor)
    except OSError:
        return None


def _open(root: int, name: str) -> int:
    assert _syscall is not None  # noqa: S101 - this is Linux
    descriptor: int = _syscall(_OPENAT2, root, name.encode(), ctypes.byref(_HOW), ctypes.sizeof(_HOW))
    if descriptor < 0:
        raise OSError(ctypes.get_errno(), "not at hand", name)
    return descriptor


def _take(descriptor: int) -> Fetched | None:
    # The etag first: where the file is written to meanwhile, the next comparison shows it.
    etag = etag_of(descriptor)
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode) or status.st_size > MAX_BYTES:
        return None
    data = bytearray(status.st_size)
    if os.preadv(descriptor, [data], 0, os.RWF_NOWAIT) != status.st_size:
        return None
    return Fetched(data=bytes(data), etag=etag)
