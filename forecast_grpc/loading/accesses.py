"""What a replica remembers of who asks: who asks most, how far apart the requests are, and what they cost."""

import asyncio
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from forecast_grpc.loading.frequent import FrequentCustomers
from forecast_grpc.loading.reuse import ALWAYS_SAMPLED, ReuseSketch
from forecast_grpc.loading.rings import SLOT_BYTES
from forecast_grpc.usage import Load, Machine, Memory, ReplicaUsage

HALF_LIFE_S = 3_600.0
"""Time in which what was seen comes to count half, in seconds."""

AGING_INTERVAL_S = 60.0
"""How often what was seen is made to count less, in seconds."""

REMEMBERED_S = 24 * 3_600.0
"""For how long the busiest minute is remembered, in seconds."""

AT_ONCE = 64
"""Requests that are worked off together: code that is in the processor's caches takes a fraction of the time."""

_WHOLE = 0.5  # Of the interval: what is shorter is no minute to go by.


@dataclass(slots=True)
class _Sums:
    """What has come together."""

    seconds: float = 0.0
    requests: float = 0.0
    misses: float = 0.0
    cpu_s: float = 0.0


class AccessLog:
    """Notes each request, in bounded memory. What was an hour ago counts half, and so on."""

    def __init__(
        self, *, clock: Callable[[], float] = time.monotonic, cpu: Callable[[], float] = time.process_time
    ) -> None:
        """`cpu` tells the seconds of a core that this process has taken."""
        self._frequent, self._reuse = FrequentCustomers(), ReuseSketch()
        self._noted: list[tuple[str, int]] = []
        self._clock, self._cpu = clock, cpu
        self._aged_at, self._cpu_at = clock(), cpu()
        self._requests = self._misses = 0
        self._before = _Sums()
        self._busy: deque[tuple[float, float, float]] = deque()

    def record(self, customer_id: str, nbytes: int, *, hit: bool) -> None:
        """Notes a request: whose model it was for, of so many bytes, and whether it was in memory."""
        self._requests += 1
        if not hit:
            self._misses += 1
        self._noted.append((customer_id, nbytes + SLOT_BYTES))
        if len(self._noted) >= AT_ONCE:
            self._work_off()

    def top(self, number: int) -> list[tuple[str, float]]:
        """So many of those who ask most: see `FrequentCustomers.top`."""
        self._work_off()
        return self._frequent.top(number)

    def _work_off(self) -> None:
        noted, self._noted = self._noted, []
        for customer_id, nbytes in noted:
            self._frequent.record(customer_id)
            self._reuse.record(customer_id, nbytes)

    async def run(self) -> None:
        """Lets what was seen count less and less, until it is cancelled."""
        while True:
            await asyncio.sleep(AGING_INTERVAL_S)
            self.age()

    def age(self) -> None:
        """Lets what was seen count as much less as time has passed."""
        self._work_off()
        now, latest = self._clock(), self._latest()
        if latest.seconds >= _WHOLE * AGING_INTERVAL_S:
            self._note_minute(now, latest)
        factor = 0.5 ** (latest.seconds / HALF_LIFE_S)
        total = self._total()
        self._before = _Sums(
            total.seconds * factor, total.requests * factor, total.misses * factor, total.cpu_s * factor
        )
        self._requests = self._misses = 0
        self._aged_at, self._cpu_at = now, self._cpu()
        self._frequent.age(factor)
        top = self.top(ALWAYS_SAMPLED)
        self._reuse.age(now, factor, frozenset(customer_id for customer_id, _ in top))

    def load(self) -> Load:
        """What has had to be done."""
        total = self._total()
        _, busiest_cores, busiest_requests = self._busy[0] if self._busy else (0.0, 0.0, 0.0)
        return Load(
            seconds=total.seconds,
            requests=total.requests,
            misses=total.misses,
            cpu_s=total.cpu_s,
            busiest_requests_per_s=busiest_requests,
            busiest_cores=busiest_cores,
        )

    def usage(self, replica: str, *, memory: Memory, machine: Machine, max_top: int) -> ReplicaUsage:
        """All that is known, of a replica that has this and runs there; so many customers are named at most."""
        self._work_off()
        return ReplicaUsage(
            replica=replica,
            load=self.load(),
            memory=memory,
            machine=machine,
            reuse=self._reuse.distances(),
            top=tuple(self.top(max_top)),
        )

    def _latest(self) -> _Sums:
        """What has come since it was last made to count less."""
        seconds = self._clock() - self._aged_at
        return _Sums(seconds, self._requests, self._misses, self._cpu() - self._cpu_at)

    def _total(self) -> _Sums:
        before, latest = self._before, self._latest()
        return _Sums(
            before.seconds + latest.seconds,
            before.requests + latest.requests,
            before.misses + latest.misses,
            before.cpu_s + latest.cpu_s,
        )

    def _note_minute(self, now: float, minute: _Sums) -> None:
        """Keeps the minutes that may come to be the busiest one of the last day, that one first."""
        cores = minute.cpu_s / minute.seconds
        while self._busy and self._busy[-1][1] <= cores:
            self._busy.pop()
        self._busy.append((now, cores, minute.requests / minute.seconds))
        while self._busy[0][0] < now - REMEMBERED_S:
            self._busy.popleft()
