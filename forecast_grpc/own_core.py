"""A core of its own for a replica, where its requests wait for nobody else's work.

A replica's work is one thread. On a core that it shares, each wake-up of HAProxy, of Ray or of a caller interrupts
it: the slowest requests take twice as long, and fewer are answered (see docs/performance.md).
"""

import asyncio
import os
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from typing import IO

from forecast_grpc.holding import hold

RETRY_S = 1.0
"""Seconds after which a replica for which there was no core looks again: one that is replaced leaves late."""


class OwnCore:
    """A replica's own core, of those set aside on each machine, for as long as it keeps this object."""

    def __init__(self, cores: Sequence[int], taken: Callable[[int], None]) -> None:
        """`cores`: those set aside, by the kernel's numbers. `taken` is told which it is."""
        self._cores = cores
        self._taken = taken
        self._lock: IO[str] | None = None

    async def run(self) -> None:
        """Moves the thread of this event loop to a core that no other replica has, as soon as there is one."""
        while True:
            if (core := self._take()) is not None:
                self._taken(core)
                return
            await asyncio.sleep(RETRY_S)

    def _take(self) -> int | None:
        for core in self._cores:
            if lock := hold("cores", str(core)):
                # A machine of the cluster may have fewer.
                with suppress(OSError):
                    os.sched_setaffinity(0, {core})
                    self._lock = lock
                    return core
                lock.close()
        return None


def leave_to_replicas(cores: Collection[int]) -> None:
    """Keeps what this thread starts from now on off these cores.

    Raises ValueError, with what is wrong, where they cannot be set aside.
    """
    usable = os.sched_getaffinity(0)
    if not (rest := usable - set(cores)):
        raise ValueError("at least one core must be left for Ray and HAProxy")
    try:
        for core in cores:
            # Whoever started us may have kept us off it already, so only this tells.
            os.sched_setaffinity(0, {core})
    except OSError:
        rest = usable
        raise ValueError(f"there is no core {core} that we may use") from None
    finally:
        os.sched_setaffinity(0, rest)


def beside() -> None:
    """Lets the thread that calls this run where the rest of the process does, and not on the loop's own core."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, os.sched_getaffinity(os.getpid()))
