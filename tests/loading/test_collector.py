"""Models are put aside from garbage collection, and freed all the same."""

import gc
import weakref
from collections.abc import Iterator

import pytest

from forecast_grpc.loading.collector import ROUNDS, YOUNG, Collector, look_seldom


class Thing:
    """Something that the collector looks at."""


@pytest.fixture(autouse=True)
def thawed() -> Iterator[None]:
    """Leaves nothing put aside for other tests."""
    yield
    gc.unfreeze()


def test_what_was_loaded_is_put_aside_now_and_then() -> None:
    """At every third load all that is alive leaves the collector's sight, in between nothing does."""
    collector = Collector(every=3)
    counts = []
    for _ in range(3):
        collector.loaded()
        counts.append(gc.get_freeze_count())
    assert counts[0] == counts[1] == 0 < counts[2]
    assert len(gc.get_objects()) < counts[2]


def test_young_objects_are_looked_through_seldom() -> None:
    """What some hundred requests have under way is no reason to look; the old ones are left to Python."""
    before, looks = gc.get_threshold(), []
    gc.callbacks.append(lambda phase, _info: looks.append(phase))
    try:
        look_seldom()
        gc.collect(0)
        looks.clear()
        under_way: list[list[int]] = [[] for _ in range(YOUNG // 2)]
        assert (looks, len(under_way)) == ([], YOUNG // 2)
        assert gc.get_threshold() == (YOUNG, ROUNDS, before[2])
    finally:
        gc.callbacks.pop()
        gc.set_threshold(*before)


def test_what_was_put_aside_is_freed_when_nobody_holds_it() -> None:
    """Reference counts work as before; garbage in cycles was freed on the way."""
    kept, cycle = Thing(), Thing()
    cycle.itself = cycle  # type: ignore[attr-defined]
    seen = [weakref.ref(kept), weakref.ref(cycle)]
    del cycle
    Collector(every=1).loaded()
    assert seen[0]() is kept
    assert seen[1]() is None
    del kept
    assert seen[0]() is None
