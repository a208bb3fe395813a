"""How far apart a customer's requests are: what tells the hit rate of a cache of any size.

The reuse distance of a request is what has been asked for since its customer last asked, counted in models or in
their bytes: an LRU cache has the model exactly if it has room for so much. It is measured for a sample of the
customers, picked by a hash of the name, so that every request of a customer in the sample is seen; each stands for
as many as are left out for it. The sample has a fixed size: where more customers come, the bound of the hash is
lowered. That is SHARDS (Waldspurger, Park, Garthwaite, Ahmad: Efficient MRC Construction with SHARDS, FAST 2015).

A sample of customers may hit or miss the few who ask most, and is far off then. The paper corrects for that
afterwards; here those few, whom the replica counts anyway, are always in it and stand for themselves.
"""

import math
import random
from collections import defaultdict
from dataclasses import dataclass, field
from functools import partial

from forecast_grpc.loading.recency import RecencyStack
from forecast_grpc.usage import Curve, ReuseDistances

MAX_SAMPLED = 4_096
"""Customers in the sample: some two megabytes at most."""

ALWAYS_SAMPLED = 128
"""Customers who ask most, and are in it whatever their hash."""

FORGOTTEN_AFTER_S = 24 * 3_600.0
"""Time after which a customer who comes back is taken for a new one, in seconds."""

MEASURED_AT_FIRST = 20_000
"""Distances that are measured one by one. When there are so many, one in eight requests will do."""

_ALL = 2**32
_MASK = _ALL - 1
_LOWER = 0.9
_SPARSE = 0.25
_PER_OCTAVE = 8
_THINNED = 8.0

Weights = defaultdict[int, float]
"""What falls into each bucket."""


@dataclass(slots=True)
class _Stratum:
    """What is known of one kind of customers. Those of an hour ago count half, and so on."""

    requests: float = 0.0
    """All requests of theirs, sampled or not."""

    first: float = 0.0
    """Sampled requests of customers who had not asked before, by what they stand for, as what follows."""

    models: Weights = field(default_factory=partial(defaultdict, float))
    """The others, by the bucket of their distance in models."""

    nbytes: Weights = field(default_factory=partial(defaultdict, float))
    """The same by bytes."""

    measured: float = 0.0
    """Distances that were measured."""

    def age(self, factor: float) -> None:
        """Lets all of it count so much less."""
        self.requests *= factor
        self.first *= factor
        self.measured *= factor
        for counts in (self.models, self.nbytes):
            for bucket in counts:
                counts[bucket] *= factor

    @property
    def scale(self) -> float:
        """How many requests each of the sampled ones stands for, beyond what was expected of it."""
        sampled = self.first + sum(self.models.values())
        return max(self.requests, 0.0) / sampled if sampled else 0.0


class ReuseSketch:
    """The reuse distances of a replica's requests, in bounded memory. Belongs to the replica's event loop."""

    def __init__(self, max_sampled: int = MAX_SAMPLED, seed: int = 0) -> None:
        self._max_sampled = max_sampled
        self._stack = RecencyStack(max_sampled + ALWAYS_SAMPLED + 1)
        self._bound = _ALL
        self._frequent, self._others = _Stratum(), _Stratum()
        self._always: frozenset[str] = frozenset()
        # Of hashes from here on nobody knows who had asked before that time.
        self._known_bound, self._known_from = _ALL, -math.inf
        self._now = 0.0
        self._random = random.Random(seed).random  # noqa: S311 - it thins out a sample

    @property
    def sampled(self) -> int:
        """Customers in the sample."""
        return len(self._stack)

    def record(self, customer_id: str, nbytes: int) -> None:
        """Notes a request for a model of so many bytes."""
        if customer_id in self._always:
            self._frequent.requests += 1.0
            self._sample(self._frequent, customer_id, nbytes, 1.0)
            return
        self._others.requests += 1.0
        if hash(customer_id) & _MASK < self._bound:
            self._sample(self._others, customer_id, nbytes, _ALL / self._bound)

    def age(self, now: float, factor: float, frequent: frozenset[str]) -> None:
        """Lets what was seen count so much less, and forgets who has not come for long.

        `now` in seconds; `frequent` are those who ask most, `ALWAYS_SAMPLED` at most.
        """
        self._now = now
        self._frequent.age(factor)
        self._others.age(factor)
        self._stack.drop_before(now - FORGOTTEN_AFTER_S)
        if self._bound < _ALL and self.sampled < _SPARSE * self._max_sampled:
            self._known_bound, self._known_from = self._bound, now + FORGOTTEN_AFTER_S
            self._bound = min(2 * self._bound, _ALL)
        before, self._always = self._always, frequent
        for customer_id in before ^ frequent:
            self._weigh(customer_id)

    def distances(self) -> ReuseDistances:
        """What has been found."""
        strata = (self._frequent, self._others)
        scaled = [(each, each.scale) for each in strata]
        by_models = _curve([(each.models, scale) for each, scale in scaled])
        first = sum(each.first * scale for each, scale in scaled)
        return ReuseDistances(
            requests=first + (by_models[-1][1] if by_models else 0.0),
            first_requests=first,
            by_models=by_models,
            by_bytes=_curve([(each.nbytes, scale) for each, scale in scaled]),
            customers=self._stack.models,
            customer_bytes=self._stack.nbytes,
            sampled=self.sampled,
            sampling_rate=self._bound / _ALL,
            measured=sum(each.measured for each in strata),
        )

    def _sample(self, stratum: _Stratum, customer_id: str, nbytes: int, weight: float) -> None:
        if customer_id in self._stack:
            thinned = 1.0 if stratum.measured < MEASURED_AT_FIRST else max(_THINNED / weight, 1.0)
            if thinned == 1.0 or self._random() * thinned < 1.0:
                self._measure(stratum, customer_id, nbytes, weight * thinned)
            self._stack.push(customer_id, weight, nbytes, self._now)
            return
        if self._is_new(customer_id):
            stratum.first += weight
        else:
            stratum.requests -= weight
        self._stack.push(customer_id, weight, nbytes, self._now)
        if len(self._stack) > self._max_sampled + len(self._always):
            self._lower_bound()

    def _measure(self, stratum: _Stratum, customer_id: str, nbytes: int, weight: float) -> None:
        models, others = self._stack.since(customer_id)
        stratum.models[_bucket(models + 1.0)] += weight
        stratum.nbytes[_bucket(others + nbytes)] += weight
        stratum.measured += 1.0

    def _is_new(self, customer_id: str) -> bool:
        """Whether one who is not in the sample asks for the first time, as far as all like it were watched."""
        if customer_id in self._always:
            return False
        return hash(customer_id) & _MASK < self._known_bound or self._now > self._known_from

    def _lower_bound(self) -> None:
        self._bound = int(self._bound * _LOWER)
        for customer_id in self._stack.customers():
            self._weigh(customer_id)

    def _weigh(self, customer_id: str) -> None:
        """Has a customer stand for as many as it does now, or for nobody."""
        if customer_id in self._always:
            self._stack.weigh(customer_id, 1.0)
        elif hash(customer_id) & _MASK < self._bound:
            self._stack.weigh(customer_id, _ALL / self._bound)
        else:
            self._stack.drop(customer_id)


def _curve(strata: list[tuple[Weights, float]]) -> Curve:
    """Sizes of a cache, and the requests that each would have answered."""
    hits = 0.0
    points = []
    for bucket in sorted(set().union(*(counts for counts, _ in strata))):
        hits += sum(scale * counts.get(bucket, 0.0) for counts, scale in strata)
        points.append((_size(bucket), hits))
    return tuple(points)


def _bucket(distance: float) -> int:
    """The bucket of a distance of 1 or more: eight for each doubling."""
    mantissa, exponent = math.frexp(distance)
    return exponent * _PER_OCTAVE + int(mantissa * 2 * _PER_OCTAVE)


def _size(bucket: int) -> int:
    """The largest whole distance of a bucket."""
    exponent, step = divmod(bucket - _PER_OCTAVE, _PER_OCTAVE)
    return math.ceil(math.ldexp((_PER_OCTAVE + step + 1) / (2 * _PER_OCTAVE), exponent)) - 1
