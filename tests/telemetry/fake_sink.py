"""A metric sink that keeps what it is told."""

from collections import Counter
from collections.abc import Iterable

from forecast_grpc.telemetry import TagValues


class ListSink:
    """Counters by name and tags, observations in order, the last value of each gauge, and lines of the log."""

    def __init__(self) -> None:
        self.counters: Counter[tuple[str, TagValues]] = Counter()
        """Sums."""
        self.observations: dict[tuple[str, TagValues], list[float]] = {}
        """All observed values."""
        self.gauges: dict[tuple[str, TagValues], float] = {}
        """Last values."""
        self.lines: list[str] = []
        """What was logged, a flush each."""

    def add(self, name: str, tags: TagValues, amount: float) -> None:
        """See MetricSink."""
        self.counters[name, tags] += int(amount)

    def observe(self, name: str, tags: TagValues, values: Iterable[float]) -> None:
        """See MetricSink."""
        self.observations.setdefault((name, tags), []).extend(values)

    def set(self, name: str, tags: TagValues, value: float) -> None:
        """See MetricSink."""
        self.gauges[name, tags] = value
