"""Which models to keep: hit rates of our cache, of other policies and of the optimum, on synthetic traffic.

Customers by Zipf's law; the same with sweeps over all customers, as a batch job makes them; the same with
customers whose popularity moves on. The optimum knows the future (Belady, IBM Systems Journal 5(2), 1966).
The last column is what `forecast-grpc plan` would say: the hit rate of LRU, from a sample of the requests.
"""

import argparse
import heapq
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable, Mapping
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from forecast_grpc import artefact
from forecast_grpc.domain import ModelMetadata, ServedModel
from forecast_grpc.loading import FrequentCustomers, ModelCache, ModelSlot
from forecast_grpc.loading.reuse import ALWAYS_SAMPLED, ReuseSketch
from forecast_grpc.loading.rings import SLOT_BYTES
from forecast_grpc.models.residuals import LEVELS, ResidualQuantiles
from forecast_grpc.models.trend import Trend
from forecast_grpc.usage import answered

SHARES = (0.01, 0.05, 0.2)
"""Sizes of the cache, as shares of the customers."""

EXPONENT = 1.1
"""Of Zipf's law."""

Trace = NDArray[np.int64]
"""The customers in the order of their requests."""


class Cache(Protocol):
    """What is measured."""

    def hit(self, customer: int) -> bool:
        """Whether the customer's model is there; it is from then on, if the policy will."""
        ...


def zipf(customers: int, requests: int, rng: np.random.Generator) -> Trace:
    """Independent requests: the k-th customer's share is proportional to 1 / k**1.1."""
    weights = np.arange(1, customers + 1) ** -EXPONENT
    order: Trace = rng.permutation(customers)
    return order[rng.choice(customers, size=requests, p=weights / weights.sum())]


def with_sweeps(customers: int, requests: int, rng: np.random.Generator) -> Trace:
    """The same, with four sweeps over all customers in between, one request each."""
    parts = np.array_split(zipf(customers, requests, rng), 5)
    sweeps = [np.arange(customers) for _ in parts]
    swept: Trace = np.concatenate([each for pair in zip(parts, sweeps, strict=True) for each in pair][:-1])
    return swept


def drifting(customers: int, requests: int, rng: np.random.Generator) -> Trace:
    """The same, with every customer a hundredth of them further at each hundredth of the time."""
    steps = np.arange(requests) * 100 // requests
    weights = np.arange(1, customers + 1) ** -EXPONENT
    ranks = rng.choice(customers, size=requests, p=weights / weights.sum())
    order: Trace = rng.permutation(customers)
    drifted: Trace = order[(ranks + steps * (customers // 100)) % customers]
    return drifted


class Lru:
    """Drops what was used longest ago."""

    def __init__(self, room: int) -> None:
        self.room = room
        self.kept: OrderedDict[int, None] = OrderedDict()

    def hit(self, customer: int) -> bool:
        """See Cache."""
        if customer in self.kept:
            self.kept.move_to_end(customer)
            return True
        self.kept[customer] = None
        if len(self.kept) > self.room:
            self.kept.popitem(last=False)
        return False


class Sieve:
    """SIEVE (Zhang et al., NSDI 2024): a hand goes from old to new and drops what was not used since."""

    def __init__(self, room: int) -> None:
        self.room = room
        self.used: dict[int, bool] = {}
        self.line: list[int] = []
        self.hand = 0

    def hit(self, customer: int) -> bool:
        """See Cache."""
        if customer in self.used:
            self.used[customer] = True
            return True
        if len(self.used) >= self.room:
            self.drop()
        self.used[customer] = False
        self.line.append(customer)
        return False

    def drop(self) -> None:
        """Drops one."""
        while True:
            self.hand %= len(self.line)
            candidate = self.line[self.hand]
            if not self.used[candidate]:
                del self.used[candidate], self.line[self.hand]
                return
            self.used[candidate] = False
            self.hand += 1


class TinyLfu:
    """W-TinyLFU (Einziger et al., ACM ToS 2017), with exact counts: a new one has to beat the old one's."""

    def __init__(self, room: int) -> None:
        self.window, self.main = Lru(max(room // 100, 1)), OrderedDict[int, None]()
        self.room = room - self.window.room
        self.counts: Counter[int] = Counter()
        self.asked = 0

    def hit(self, customer: int) -> bool:
        """See Cache."""
        self.count(customer)
        if customer in self.main:
            self.main.move_to_end(customer)
            return True
        before = next(iter(self.window.kept), None)
        found = self.window.hit(customer)
        if before is not None and before not in self.window.kept:
            self.admit(before)
        return found

    def admit(self, customer: int) -> None:
        """Takes a customer that leaves the window into the main part, if it is worth it."""
        if len(self.main) >= self.room:
            victim = next(iter(self.main))
            if self.counts[customer] <= self.counts[victim]:
                return
            del self.main[victim]
        self.main[customer] = None

    def count(self, customer: int) -> None:
        """Counts a request; after ten for each place all counts are halved."""
        self.counts[customer] += 1
        self.asked += 1
        if self.asked >= 10 * self.room:
            self.asked //= 2
            self.counts = Counter({each: count // 2 for each, count in self.counts.items() if count > 1})


_OFFSETS = np.zeros((len(LEVELS), 1), np.float32)
_TREND = Trend(slope=0.0, base_level=0.0, residuals=ResidualQuantiles(_OFFSETS))
_METADATA = ModelMetadata(family="trend", model_version=1, horizon=1, min_length=1)
_MODEL: ServedModel = artefact.decode(artefact.encode(_TREND, _METADATA), "any")


class Ours:
    """The cache of a replica: warm models alone, or with a tenth of the room for hot ones, as Ray keeps them."""

    def __init__(self, room: int, *, hot: bool = True) -> None:
        self.room = room // 10 if hot else 0
        self.cache = ModelCache((room - self.room) * (_MODEL.nbytes + SLOT_BYTES))
        self.hot: OrderedDict[int, ModelSlot] = OrderedDict()

    def hit(self, customer: int) -> bool:
        """See Cache."""
        slot = self.cache.get((str(customer), None))
        found = slot is not None
        if slot is None:
            slot = self.cache.put(ModelSlot(key=(str(customer), None), model=_MODEL, etag="", checked_at=0.0))
        if self.room:
            self.touch(customer, slot)
        return found

    def touch(self, customer: int, slot: ModelSlot) -> None:
        """What Ray's multiplexer does."""
        if customer not in self.hot and len(self.hot) >= self.room:
            self.cache.demote(self.hot.popitem(last=False)[1])
        if customer not in self.hot:
            self.cache.promote(slot)
        self.hot[customer] = slot
        self.hot.move_to_end(customer)


POLICIES: Mapping[str, Callable[[int], Cache]] = {
    "LRU": Lru,
    "SIEVE": Sieve,
    "W-TinyLFU": TinyLfu,
    "ours, warm alone": lambda room: Ours(room, hot=False),
    "ours": Ours,
}
SAMPLED = 1_000
"""Customers in the sample of the sketch: one in twenty, as in a replica of a hundred thousand."""

TRACES = {"Zipf": zipf, "Zipf and sweeps": with_sweeps, "Zipf, drifting": drifting}


def hit_rate(cache: Cache, trace: Iterable[int]) -> float:
    """The share of requests whose model was there."""
    hits = [cache.hit(customer) for customer in trace]
    return sum(hits) / len(hits)


def sketched(trace: Iterable[int], rooms: Iterable[int]) -> list[float]:
    """The hit rates of LRU caches with so much room, as a replica tells them from a sample of its requests."""
    sketch, frequent = ReuseSketch(SAMPLED), FrequentCustomers()
    for count, customer in enumerate(map(str, trace)):
        if count % 5_000 == 0:
            sketch.age(0.0, 1.0, frozenset(name for name, _ in frequent.top(ALWAYS_SAMPLED)))
        frequent.record(customer)
        sketch.record(customer, _MODEL.nbytes)
    found = sketch.distances()
    return [answered(found.by_models, room) / found.requests for room in rooms]


def optimum(room: int, trace: list[int]) -> float:
    """The hit rate of whoever knows the future: drops what is needed again last."""
    never, following = len(trace), dict[int, int]()
    next_use = [0] * len(trace)
    for index in range(len(trace) - 1, -1, -1):
        next_use[index] = following.get(trace[index], never)
        following[trace[index]] = index
    kept: dict[int, int] = {}
    heap: list[tuple[int, int]] = []
    hits = 0
    for index, customer in enumerate(trace):
        hits += customer in kept
        kept[customer] = next_use[index]
        heapq.heappush(heap, (-next_use[index], customer))
        while len(kept) > room:
            due, candidate = heapq.heappop(heap)
            # What was used again since has another entry.
            if kept.get(candidate) == -due:
                del kept[candidate]
    return hits / len(trace)


def rows(customers: int, requests: int) -> list[list[str]]:
    """The table's rows: a trace, a size of the cache, and the hit rate of each policy in percent."""
    found = []
    for name, make in TRACES.items():
        trace: list[int] = make(customers, requests, np.random.default_rng(0)).tolist()
        rooms = [int(customers * share) for share in SHARES]
        for share, room, told in zip(SHARES, rooms, sketched(trace, rooms), strict=True):
            rates = [hit_rate(policy(room), trace) for policy in POLICIES.values()]
            rates += [optimum(room, trace), told]
            found.append([name, f"{share:.0%}", *(f"{rate:.1%}" for rate in rates)])
    return found


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--customers", type=int, default=20_000)
    parser.add_argument("--requests", type=int, default=200_000)
    options = parser.parse_args()
    table = Table(title=f"Hit rates, {options.customers:,} customers, {options.requests:,} requests")
    for heading in ("traffic", "room", *POLICIES, "optimum", "LRU by the sketch"):
        table.add_column(heading, justify="right" if heading != "traffic" else "left", no_wrap=True)
    for row in rows(options.customers, options.requests):
        table.add_row(*row)
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
