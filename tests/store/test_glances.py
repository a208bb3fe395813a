"""How often the event loop may look at the disk."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from forecast_grpc.store.glances import QUICK_S, SHARE, Glances, disk_reads


class Clock:
    """Stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 100.0
        self.read = 0
        """Blocks of the disk so far."""

    def reads(self) -> int:
        """As `disk_reads`."""
        return self.read

    def __call__(self) -> float:
        """The time, in seconds."""
        return self.now


def glance(glances: Glances, clock: Clock, seconds: float, blocks: int = 1) -> None:
    """Looks at a disk that takes so long."""
    with glances.timed():
        clock.now += seconds
        clock.read += blocks


def fail(glances: Glances, clock: Clock) -> None:
    """Takes a second to find that there is nothing."""
    with glances.timed():
        clock.now += 1.0
        clock.read += 1
        raise FileNotFoundError


def waits(glances: Glances, clock: Clock, step: float) -> Iterator[float]:
    """How long the glances are refused, after each of three that take a millisecond."""
    for _ in range(3):
        glance(glances, clock, 0.001)
        since = clock.now
        while not glances.allowed():
            clock.now += step
        yield clock.now - since


def test_quick_glances_follow_each_other() -> None:
    """As many as anybody wants."""
    clock = Clock()
    glances = Glances(clock, clock.reads)
    for _ in range(1_000):
        assert glances.allowed()
        glance(glances, clock, QUICK_S / 2)


def test_slow_ones_take_their_share_at_most() -> None:
    """One that took a millisecond is paid for by the time in which there is none."""
    clock = Clock()
    seen = list(waits(Glances(clock, clock.reads), clock, 0.000_1))
    assert seen == pytest.approx([0.001 * (1 - SHARE) / SHARE] * 3, abs=0.000_2)


def test_a_glance_that_fails_counts() -> None:
    """What is not there is found out by the disk as well."""
    clock = Clock()
    glances = Glances(clock, clock.reads)
    with pytest.raises(FileNotFoundError):
        fail(glances, clock)
    assert not glances.allowed()
    clock.now += 1.0 / SHARE
    assert glances.allowed()


def test_what_waits_for_a_core_does_not_count() -> None:
    """Nothing was read: the disk had no part in it."""
    clock = Clock()
    glances = Glances(clock, clock.reads)
    glance(glances, clock, 1.0, blocks=0)
    assert glances.allowed()


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the kernel does not count for each thread")
def test_the_kernel_counts_what_a_thread_reads(tmp_path: Path) -> None:
    """Past its memory of files; not what comes from there."""
    file = tmp_path / "file"
    file.write_bytes(bytes(2**20))
    descriptor = os.open(file, os.O_RDONLY)
    try:
        os.fsync(descriptor)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        before = disk_reads()
        assert os.pread(descriptor, 4096, 0)
        after = disk_reads()
        if after == before:
            pytest.skip("the temporary folder is in memory")
        assert os.pread(descriptor, 4096, 0)
        assert disk_reads() == after
    finally:
        os.close(descriptor)
