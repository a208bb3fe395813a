"""How often an event loop may look at a disk that is nearly always quick, and now and then is not."""

import itertools
import resource
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

QUICK_S = 0.000_2
"""A glance that takes no longer costs the loop about what it would to hand the question to a thread."""

SHARE = 0.02
"""Of the loop's time, at most, is spent on glances that waited for the disk."""


def disk_reads() -> int:
    """What the kernel has read from a disk for this thread so far, in blocks."""
    return resource.getrusage(resource.RUSAGE_THREAD).ru_inblock


if not hasattr(resource, "RUSAGE_THREAD"):  # Only Linux tells threads apart. Elsewhere each may have read.
    disk_reads = itertools.count().__next__


class Glances:
    """Allows the next glance at once as long as they are quick; one that was not has the next ones wait for it.

    The kernel keeps what was asked for lately, so glances are quick or slow in spells. In a slow spell each costs
    a wait for the disk, in which nobody is answered; a thread can wait as well.

    One that waited for a core, and read nothing, says nothing of the disk. With threads in place of the next ones
    there would be even more to wait for: a service without a core to spare would not come out of that again.
    """

    def __init__(
        self,
        clock: Callable[[], float] = time.perf_counter,
        reads: Callable[[], int] = disk_reads,
    ) -> None:
        """`clock`: seconds that never go back. `reads`: as `disk_reads`."""
        self._clock, self._reads = clock, reads
        self._next_at = float("-inf")

    def allowed(self) -> bool:
        """Whether the loop may look."""
        return self._clock() >= self._next_at

    @contextmanager
    def timed(self) -> Iterator[None]:
        """A glance, of which the time is taken, whatever it finds."""
        before, started = self._reads(), self._clock()
        try:
            yield
        finally:
            ended = self._clock()
            if (took := ended - started) > QUICK_S and self._reads() > before:
                self._next_at = ended + took * (1 - SHARE) / SHARE
