"""Who asks, how often and how far apart, what that costs, and what there is to spend: values for whoever plans."""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from heapq import nlargest

Curve = tuple[tuple[int, float], ...]
"""Sizes of a cache, ascending, each with the requests that an LRU cache of this size would have answered."""


def answered(curve: Curve, size: float) -> float:
    """The requests that a cache of this size would have answered; between two sizes in proportion."""
    place = bisect_right(curve, size, key=lambda point: point[0])
    if place == len(curve):
        return curve[-1][1] if curve else 0.0
    size_below, below = curve[place - 1] if place else (0, 0.0)
    size_above, above = curve[place]
    return below + (above - below) * (size - size_below) / (size_above - size_below)


def size_for(curve: Curve, requests: float) -> float | None:
    """The size of the cache that would have answered so many requests; None where none would."""
    size_below, below = 0, 0.0
    for size, hits in curve:
        if hits >= requests:
            return size_below + (size - size_below) * (requests - below) / (hits - below or 1.0)
        size_below, below = size, hits
    return None


def added(curves: Iterable[Curve]) -> Curve:
    """What caches of this size would have answered, one for each of the curves."""
    steps: defaultdict[int, float] = defaultdict(float)
    for curve in curves:
        before = 0.0
        for size, hits in curve:
            steps[size] += hits - before
            before = hits
    total = 0.0
    points = []
    for size in sorted(steps):
        total += steps[size]
        points.append((size, total))
    return tuple(points)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReuseDistances:
    """How far apart the customers' requests are. Counts of requests in weight: one of an hour ago counts half."""

    requests: float
    """Requests of which it is known whether their customer had asked before."""

    first_requests: float
    """Those among them whose customer had not: no cache has the model."""

    by_models: Curve
    """The others, by the room for models that a cache needs to answer them."""

    by_bytes: Curve
    """The same, by the room in bytes."""

    customers: float
    """Customers who have asked within a day, estimated."""

    customer_bytes: float
    """Bytes of all their models, estimated."""

    sampled: int
    """Customers in the sample."""

    sampling_rate: float
    """The share of the customers who are sampled: 1 while all of them are."""

    measured: float
    """Distances that were measured, in weight."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What a replica has had to do."""

    seconds: float
    """How long it was watched, in weight: 1.44 hours at most."""

    requests: float
    """Requests whose model was found, in weight."""

    misses: float
    """Those among them that had to wait for the store, in weight."""

    cpu_s: float
    """Seconds of a core that the process took, in weight."""

    busiest_requests_per_s: float
    """Requests a second in the minute of the last day that took most of a core."""

    busiest_cores: float
    """Cores that it took in that minute; both 0 before the first minute is over."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """What a replica holds, and may hold."""

    hot_models: int
    """Models that Ray's multiplexer holds."""

    hot_bytes: int
    """Their bytes."""

    warm_bytes: int
    """Bytes of the warm models, without the pinned."""

    pinned_bytes: int
    """Bytes of the pinned models that are not hot."""

    max_hot_models: int
    """The setting."""

    max_warm_bytes: int
    """The setting."""

    process_bytes: int
    """Resident bytes of the process."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """Where a replica runs."""

    node: str
    """Its name within the cluster."""

    cores: float
    """Cores that it, or the container, has."""

    memory_bytes: int
    """Bytes of memory that it, or the container, has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicaUsage:
    """All that one replica knows of it."""

    replica: str
    """The replica."""

    load: Load
    """What it has had to do."""

    memory: Memory
    """What it holds."""

    machine: Machine
    """Where it runs."""

    reuse: ReuseDistances
    """How far apart its requests are."""

    top: tuple[tuple[str, float], ...]
    """Who asks most, with the requests, in weight."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What all replicas know."""

    replicas: tuple[ReplicaUsage, ...]
    """Those that answered."""

    unanswered: int
    """How many did not."""

    max_top: int
    """Customers to name at most."""

    @property
    def requests(self) -> float:
        """Requests of all replicas, in weight."""
        return sum(each.load.requests for each in self.replicas)

    @property
    def top(self) -> list[tuple[str, float]]:
        """Who asks most of all replicas together."""
        counts: defaultdict[str, float] = defaultdict(float)
        for replica in self.replicas:
            for customer_id, count in replica.top:
                counts[customer_id] += count
        return nlargest(self.max_top, sorted(counts.items()), key=lambda item: item[1])
