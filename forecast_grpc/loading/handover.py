"""What a replica leaves to those that come after it: the customers who ask most.

Each replica notes them now and then where the notes outlive it. A new one, whether it was added, replaced one that
died, or belongs to an update, reads the notes of all and loads those customers before it takes traffic. Which of
them will be its own it cannot know; models are small, and one too many costs less than a cold one.
"""

import asyncio
import json
import logging
import time
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Protocol

logger = logging.getLogger(__name__)

MAX_NOTED = 1_000
"""Customers that a replica notes at most: some twenty kilobytes."""

STALE_AFTER_S = 24 * 3600.0
"""Age at which a note says nothing any more, in seconds."""


class Notes(Protocol):
    """Where notes lie: something that all replicas reach, and that outlives them. Its methods block."""

    def put(self, name: str, note: bytes) -> None:
        """Writes or replaces a note."""
        ...

    def all(self) -> dict[str, bytes]:
        """Every note by its name."""
        ...

    def remove(self, name: str) -> None:
        """Removes a note, if it is there."""
        ...


class Handover:
    """A replica's part in it."""

    def __init__(
        self,
        *,
        notes: Notes,
        replica: str,
        top: Callable[[int], list[tuple[str, float]]],
        interval_s: float,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self._notes = notes
        self._replica = replica
        self._top = top
        self._interval_s = interval_s
        self._wall_clock = wall_clock

    async def inherited(self, limit: int) -> tuple[str, ...]:
        """The customers to load before traffic comes, so many at most; none where the notes cannot be read."""
        try:
            return tuple(await asyncio.to_thread(take, self._notes, limit, now=self._wall_clock()))
        except Exception:
            # A replica that starts cold serves; one that does not start does not.
            logger.exception("What other replicas have noted cannot be read.")
            return ()

    async def run(self) -> None:
        """Leaves a note now and then, until it is cancelled."""
        while True:
            await asyncio.sleep(self._interval_s)
            # Counted here, where requests are counted too: only the writing is for a thread.
            customers = self._top(MAX_NOTED)
            await asyncio.to_thread(self._write, customers)

    def leave(self) -> None:
        """Leaves a note now. Blocks."""
        self._write(self._top(MAX_NOTED))

    def _write(self, customers: list[tuple[str, float]]) -> None:
        """Leaves a note, unless nobody has asked yet. Raises nothing: the next one may be written again."""
        try:
            if customers:
                leave(self._notes, self._replica, customers, now=self._wall_clock())
        except Exception:
            logger.exception("Who asks most could not be noted.")


def leave(notes: Notes, replica: str, customers: Iterable[tuple[str, float]], *, now: float) -> None:
    """Notes a replica's customers with their counts, the most frequent first. `now` in seconds since 1970."""
    counts = [[customer_id, round(count)] for customer_id, count in customers][:MAX_NOTED]
    notes.put(replica, json.dumps({"time": now, "customers": counts}).encode())


def take(notes: Notes, limit: int, *, now: float) -> list[str]:
    """So many customers at most, those who asked most of any replica first. Removes notes that are stale.

    A note that cannot be read, as another release may leave, is passed over.
    """
    asked: Counter[str] = Counter()
    for name, note in notes.all().items():
        time, customers = _read(note)
        if now - time > STALE_AFTER_S:
            notes.remove(name)
            continue
        asked.update(customers)
    return [customer_id for customer_id, _ in asked.most_common(limit)]


def _read(note: bytes) -> tuple[float, dict[str, int]]:
    try:
        found = json.loads(note)
        return float(found["time"]), {str(name): int(count) for name, count in found["customers"]}
    except (ValueError, KeyError, TypeError):
        return float("inf"), {}
