"""How many cores and how much memory there are here, and how much of it this process has."""

import os
import resource
import sys
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

_CGROUP = Path("/sys/fs/cgroup")


def cores(cgroup: Path = _CGROUP, *, aside: Collection[int] = ()) -> float:
    """Cores that this process may use: those of the machine, or what its container is given of them.

    `aside`: cores that single threads have to themselves, which count too.
    """
    count = float(os.cpu_count() or 1)
    if hasattr(os, "sched_getaffinity"):
        # The main thread's, which has none to itself.
        count = float(len(os.sched_getaffinity(os.getpid()) | set(aside)))
    with suppress(OSError, ValueError):
        quota, period = (cgroup / "cpu.max").read_text().split()
        return min(count, int(quota) / int(period))
    return count


def memory_bytes(cgroup: Path = _CGROUP) -> int:
    """Bytes of memory that this process may use: those of the machine, or what its container is given of them."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    with suppress(OSError, ValueError):
        return min(total, int((cgroup / "memory.max").read_text()))
    return total


def resident_bytes() -> int:
    """Bytes of memory that this process has now; where the system does not say, the most that it ever had."""
    with suppress(OSError):
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    # In kilobytes, but on macOS.
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
