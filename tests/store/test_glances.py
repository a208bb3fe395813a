"""How often the event loop may look at the disk."""

from collections.abc import Iterator

import pytest

from forecast_grpc.store.glances import QUICK_S, SHARE, Glances


class Clock:
    """Stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        """The time, in seconds."""
        return self.now


def glance(glances: Glances, clock: Clock, seconds: float) -> None:
    """Looks at a disk that takes so long."""
    with glances.timed():
        clock.now += seconds


def fail(glances: Glances, clock: Clock) -> None:
    """Takes a second to find that there is nothing."""
    with glances.timed():
        clock.now += 1.0
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
    glances = Glances(clock)
    for _ in range(1_000):
        assert glances.allowed()
        glance(glances, clock, QUICK_S / 2)


def test_slow_ones_take_their_share_at_most() -> None:
    """One that took a millisecond is paid for by the time in which there is none."""
    clock = Clock()
    seen = list(waits(Glances(clock), clock, 0.000_1))
    assert seen == pytest.approx([0.001 * (1 - SHARE) / SHARE] * 3, abs=0.000_2)


def test_a_glance_that_fails_counts() -> None:
    """What is not there is found out by the disk as well."""
    clock = Clock()
    glances = Glances(clock)
    with pytest.raises(FileNotFoundError):
        fail(glances, clock)
    assert not glances.allowed()
    clock.now += 1.0 / SHARE
    assert glances.allowed()
