"""Keeping Python's garbage collector away from models: it would go through all of them again and again.

A model is half a dozen objects that live for long and are freed by their reference counts. A full collection looks
at each of them all the same: 270 ms at 100,000 models, in which no request is answered (measured).
"""

import gc

YOUNG, ROUNDS = 5_000, 5
"""Objects that come and stay before the young ones are looked through, and how often before the others.

Python's 700 are fewer than the requests under way come to, so that it looked all the time: a fortieth of a
replica's work. With these a look takes 0.1 ms, and each fifth one while models are loaded 1.7."""

EVERY = 5_000
"""Loads after which the models that have come since are taken out of the collector's sight."""


def put_aside() -> None:
    """Frees what is garbage now, and has no later collection look at what is left.

    Reference counts go on working. Only a cycle of objects that all were alive at this moment is never freed; the
    cache links none of what it has dropped.
    """
    gc.collect()
    gc.freeze()


def look_seldom() -> None:
    """Has the collector of this process look as seldom as `YOUNG` and `ROUNDS` say."""
    gc.set_threshold(YOUNG, ROUNDS)


class Collector:
    """Puts models aside a few thousand at a time, so that each pause is some milliseconds."""

    def __init__(self, every: int = EVERY) -> None:
        self._every = every
        self._loads = 0

    def loaded(self) -> None:
        """Counts a load."""
        self._loads += 1
        if self._loads % self._every == 0:
            put_aside()
