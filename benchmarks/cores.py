"""Cores without what disturbs a measurement: the load generator, and the machine's own housekeeping."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import psutil

from forecast_grpc.own_core import leave_to_replicas

_HOUSEKEEPING = ("kdamond", "kcompactd", "khugepaged", "ksmd")
"""Threads of the kernel that tend the memory, by the beginnings of their names."""


@contextmanager
def one_aside() -> Iterator[int]:
    """The number of a core on which nothing runs that is started in the body, unless it moves there itself.

    The load generator keeps off it too: callers are elsewhere otherwise. Raises ValueError where there is only one
    core.
    """
    cores = os.sched_getaffinity(0)
    aside = min(cores)
    leave_to_replicas({aside})
    try:
        yield aside
    finally:
        os.sched_setaffinity(0, cores)


@contextmanager
def housekeeping_aside() -> Iterator[int]:
    """Has the machine's housekeeping run only while a core has nothing else to do. Yields of how many threads.

    That is the kernel's care of its memory, and the first process: in a virtual machine the provider's. They take
    a few milliseconds once or twice a second, which is what a hundredth of all requests meets. Without the
    privilege to undo it nothing is done.
    """
    threads = [each for each in _housekeeping() if _step_back(each)] if _privileged() else []
    try:
        yield len(threads)
    finally:
        for thread in threads:
            with suppress(OSError):
                os.sched_setscheduler(thread, os.SCHED_OTHER, os.sched_param(0))


def _privileged() -> bool:
    """Whether we may give a thread more of a core, too."""
    niceness = os.getpriority(os.PRIO_PROCESS, 0)
    try:
        os.setpriority(os.PRIO_PROCESS, 0, niceness - 1)
    except PermissionError:
        return False
    os.setpriority(os.PRIO_PROCESS, 0, niceness)
    return True


def _housekeeping() -> Iterator[int]:
    for process in psutil.process_iter(["name"]):
        if process.pid == 1 or process.info["name"].startswith(_HOUSEKEEPING):
            # It may have ended, or not be for us to look at.
            with suppress(psutil.Error):
                yield from [thread.id for thread in process.threads()]


def _step_back(thread: int) -> bool:
    """Whether it had the usual policy, and has the lowest one now."""
    with suppress(OSError):
        if os.sched_getscheduler(thread) == os.SCHED_OTHER:
            os.sched_setscheduler(thread, os.SCHED_IDLE, os.sched_param(0))
            return True
    return False
