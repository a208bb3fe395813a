"""The hit rates that the sketch tells, against caches that were really run on the same requests."""

from collections import OrderedDict
from collections.abc import Iterable
from hashlib import blake2b

import numpy as np
import pytest

from benchmarks.eviction import Ours
from forecast_grpc.loading.frequent import FrequentCustomers
from forecast_grpc.loading.reuse import ALWAYS_SAMPLED, FORGOTTEN_AFTER_S, ReuseSketch
from forecast_grpc.usage import answered

TRACE = 150_000
CUSTOMERS = 20_000
SAMPLED = 1_500
"""A sample of one customer in thirteen, in proportion to a replica of half a million."""


class Customer(str):
    """A name whose hash is the same in each process: the sketch picks its sample by it, and some pick worse."""

    __slots__ = ("_hash",)

    def __init__(self, name: str) -> None:
        self._hash = int.from_bytes(blake2b(name.encode(), digest_size=7).digest())

    def __hash__(self) -> int:
        return self._hash


def zipf(customers: int, requests: int, exponent: float, seed: int) -> list[str]:
    """Requests for customers whose shares fall with their rank."""
    shares = np.cumsum(1.0 / np.arange(1, customers + 1) ** exponent)
    rng = np.random.default_rng(seed)
    ranks = np.searchsorted(shares, rng.random(requests) * shares[-1])
    names = [Customer(f"customer-{number}") for number in rng.permutation(customers)]
    return [names[rank] for rank in ranks]


def nbytes(customer: str) -> int:
    """The size of a customer's model: from 1 to 8 kB."""
    return 1_000 * (1 + int(customer.rpartition("-")[2]) % 8)


def lru(trace: Iterable[str], room: int, *, by_bytes: bool) -> float:
    """The hit rate of a cache with so much room that drops what was used longest ago."""
    kept: OrderedDict[str, int] = OrderedDict()
    used = hits = count = 0
    for customer in trace:
        count += 1
        size = nbytes(customer) if by_bytes else 1
        if customer in kept:
            hits += 1
            kept.move_to_end(customer)
            continue
        kept[customer] = size
        used += size
        while used > room:
            used -= kept.popitem(last=False)[1]
    return hits / count


def seen(trace: list[str], sketch: ReuseSketch, *, every: int = 5_000) -> ReuseSketch:
    """The sketch after these requests, told now and then who asks most."""
    frequent = FrequentCustomers()
    for start in range(0, len(trace), every):
        for customer in trace[start : start + every]:
            frequent.record(customer)
            sketch.record(customer, nbytes(customer))
        top = frozenset(name for name, _ in frequent.top(ALWAYS_SAMPLED))
        sketch.age(0.0, 1.0, top)
    return sketch


@pytest.mark.parametrize("exponent", [0.8, 1.1])
@pytest.mark.parametrize("seed", [1, 2])
def test_hit_rates_are_those_of_an_lru_cache(exponent: float, seed: int) -> None:
    """Within two points at every size, from a thousandth of the customers to half, by number and by bytes."""
    trace = zipf(CUSTOMERS, TRACE, exponent, seed)
    found = seen(trace, ReuseSketch(SAMPLED, seed)).distances()
    assert found.sampling_rate < 0.15
    assert found.sampled <= SAMPLED + ALWAYS_SAMPLED
    for share in (0.001, 0.01, 0.05, 0.2, 0.5):
        room = int(share * CUSTOMERS)
        told = answered(found.by_models, room) / found.requests
        assert told == pytest.approx(lru(trace, room, by_bytes=False), abs=0.02), share
        told = answered(found.by_bytes, 4_500 * room) / found.requests
        assert told == pytest.approx(lru(trace, 4_500 * room, by_bytes=True), abs=0.02), share
    everybody = set(trace)
    assert found.customers == pytest.approx(len(everybody), rel=0.1)
    assert found.customer_bytes == pytest.approx(sum(map(nbytes, everybody)), rel=0.1)
    assert found.first_requests / found.requests == pytest.approx(len(everybody) / TRACE, abs=0.02)


def test_the_real_cache_does_no_worse() -> None:
    """By Zipf's law a replica's own cache, which is no LRU, has at least the hit rate that a plan goes by."""
    trace = zipf(4_000, 40_000, 1.1, 1)
    found = seen(trace, ReuseSketch(SAMPLED)).distances()
    for room in (100, 400, 1_500):
        cache = Ours(room)
        real = sum(cache.hit(int(customer.rpartition("-")[2])) for customer in trace) / len(trace)
        told = answered(found.by_models, room) / found.requests
        assert told - 0.01 <= real <= told + 0.12, room


def test_few_customers_are_told_exactly() -> None:
    """As long as the sample holds everybody and each distance is measured, the hit rates are exact."""
    trace = zipf(200, 15_000, 0.9, 3)
    found = seen(trace, ReuseSketch(SAMPLED)).distances()
    assert (found.sampling_rate, found.customers) == (1.0, len(set(trace)))
    for room in (1, 2, 7, 30, 200):
        # The largest distance of a bucket is the one size of which its requests are known.
        size = next(size for size, _ in found.by_models if size >= room)
        told = answered(found.by_models, size) / found.requests
        assert told == pytest.approx(lru(trace, size, by_bytes=False), abs=1e-9)
    assert found.first_requests == pytest.approx(len(set(trace)))


def test_it_follows_the_traffic() -> None:
    """When other customers come and time passes, the hit rates become those of the new traffic."""
    sketch = seen(zipf(200, 20_000, 1.1, 1), ReuseSketch(SAMPLED))
    later = [Customer(f"new-{name}") for name in zipf(CUSTOMERS, 40_000, 0.5, 2)]
    for hour in range(4):
        sketch.age(3_600.0 * hour, 0.5, frozenset())
        for customer in later[10_000 * hour : 10_000 * (hour + 1)]:
            sketch.record(customer, 2_000)
    found = sketch.distances()
    # Of the old traffic, of which 200 models answer everything, a sixteenth of the weight is left.
    assert answered(found.by_models, 200) / found.requests == pytest.approx(0.1, abs=0.05)


def test_after_a_sweep_the_sample_fills_up_again() -> None:
    """A sweep over all customers thins the sample out; a day later it holds everybody again, and is right."""
    sketch = ReuseSketch(SAMPLED)
    for number in range(60_000):
        sketch.record(Customer(f"swept-{number}"), 2_000)
    assert sketch.distances().sampling_rate < 0.03
    trace = zipf(300, 60_000, 0.8, 1)
    for hour in range(120):
        sketch.age(3_600.0 * hour, 0.5, frozenset())
        for customer in trace[500 * hour : 500 * (hour + 1)]:
            sketch.record(customer, 2_000)
    found = sketch.distances()
    assert found.sampling_rate == 1.0
    assert found.customers == pytest.approx(300, rel=0.05)
    assert found.first_requests / found.requests < 0.01
    for room in (10, 50, 150):
        told = answered(found.by_models, room) / found.requests
        assert told == pytest.approx(lru(trace[30_000:], room, by_bytes=False), abs=0.06)


def test_whoever_comes_back_after_a_day_is_new() -> None:
    """A customer is forgotten a day after the last request, and so is the room that its model took."""
    sketch = ReuseSketch(SAMPLED)
    sketch.record("a", 1_000)
    sketch.age(FORGOTTEN_AFTER_S + 1.0, 1.0, frozenset())
    assert sketch.distances().customers == 0.0
    sketch.record("a", 1_000)
    assert sketch.distances().first_requests == 2.0


def test_nothing_seen() -> None:
    """No requests, no hit rates."""
    found = ReuseSketch().distances()
    assert (found.requests, found.by_models, found.by_bytes) == (0.0, (), ())
