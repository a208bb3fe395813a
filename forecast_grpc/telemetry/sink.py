"""Where metrics go, and how they are tagged."""

from collections.abc import Iterable
from typing import Protocol

TagValues = tuple[tuple[str, str], ...]
"""The tags of a metric, sorted by name."""


class MetricSink(Protocol):
    """Where metrics go: Ray's registry in a replica."""

    def add(self, name: str, tags: TagValues, amount: float) -> None:
        """Raises a counter."""
        ...

    def observe(self, name: str, tags: TagValues, values: Iterable[float]) -> None:
        """Adds values to a histogram."""
        ...

    def set(self, name: str, tags: TagValues, value: float) -> None:
        """Sets a gauge."""
        ...
