"""A day of traffic in seconds, on the real loader, cache, folder and multiplexer of Ray."""

import asyncio
import gc
import math
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import psutil

from tests.conftest import FINDING
from tests.loading.day import DAMAGED, MAX_THREADS, REFRESH_INTERVAL_S, Fleet, Replica, World
from tests.loading.test_hot import inside_a_replica

DAY_S, HOUR_S, STEP_S = 86_400.0, 3_600.0, 10.0
REPLICAS, CUSTOMERS, REQUESTS = 3, 1_500, 4.0
"""Requests in ten seconds, on average."""

CHANGES = {World.publish: 0.08, World.roll_back: 0.02, World.delete: 0.02, World.damage: 0.01}
"""How likely each is in ten seconds."""

MORE_MIB = 8.0
"""What the second half of the day may add to the memory of the first: less than a model each ten seconds."""


class Day:
    """The traffic, and what must hold of every answer."""

    def __init__(self, root: Path) -> None:
        self.world = World(root, CUSTOMERS, seed=4)
        self.fleet = Fleet(self.world, REPLICAS)
        self.outcomes: Counter[str] = Counter()
        weights = np.arange(1, CUSTOMERS + 1) ** -1.1
        self.shares = weights / weights.sum()

    async def run(self, until_s: float) -> None:
        """Goes on to this time."""
        while self.world.now < until_s:
            self.world.now += STEP_S
            self.happen()
            if self.world.now % (2 * HOUR_S) == 0:
                await self.fleet.kill()
            await self.traffic()

    def happen(self) -> None:
        """What comes by chance, and five minutes of each third hour without a store."""
        for change, chance in CHANGES.items():
            if self.world.rng.random() < chance:
                change(self.world)
        self.world.down = self.world.now % (3 * HOUR_S) < 300.0
        if self.world.now % 600.0 == 0:
            self.fleet.leave_notes()

    async def traffic(self) -> None:
        """Ten seconds' requests at once: more by day than by night."""
        rate = REQUESTS * (1.0 + 0.8 * math.sin(2 * math.pi * self.world.now / DAY_S))
        async with asyncio.TaskGroup() as asking:
            answered = [asking.create_task(self.request()) for _ in range(self.world.rng.poisson(rate))]
        for replica in self.fleet.replicas:
            await replica.settle()
            replica.check()
            replica.telemetry.flush()
        for customer in filter(None, (each.result() for each in answered)):
            # Behind the back of this request the store was asked again, where that was due.
            asked_at = self.fleet.of(customer).store.asked_at[customer]
            assert self.world.now - asked_at <= REFRESH_INTERVAL_S

    async def request(self) -> str | None:
        """One request: most for a customer by Zipf's law, some for nobody or an old version, some given up.

        Returns the customer whose active version answered.
        """
        kind = self.world.rng.random()
        customer = self.world.customers[int(self.world.rng.choice(CUSTOMERS, p=self.shares))]
        if kind < 0.02:
            customer = f"nobody-{self.world.rng.integers(10**9)}"
        replica = self.fleet.of(customer)
        if kind > 0.98:
            asked = asyncio.create_task(replica.ask(customer))
            await asyncio.sleep(0)
            asked.cancel()
            return None
        if kind > 0.96:
            outcome = await replica.ask(customer, 1)
            assert outcome in {1, "MODEL_NOT_FOUND", "MODEL_VERSION_NOT_FOUND", "STORE_UNAVAILABLE"}
            return None
        before = replica.store.good.get(customer)
        outcome = await replica.ask(customer)
        self.judge(replica, customer, outcome, before)
        return customer if isinstance(outcome, int) else None

    def judge(self, replica: Replica, customer: str, outcome: int | str, before: int | None) -> None:
        """Whether this answer may be, from what the store had told this replica."""
        told = replica.store
        self.outcomes[outcome if isinstance(outcome, str) else "OK"] += 1
        if isinstance(outcome, int):
            assert outcome in {before, told.good.get(customer)}
        elif outcome == "STORE_UNAVAILABLE":
            assert self.world.down
        elif outcome == "MODEL_NOT_FOUND":
            assert told.last[customer] is None
        else:
            assert (outcome, told.last[customer]) == ("MODEL_CORRUPT", DAMAGED)


def taken() -> tuple[float, int, int]:
    """Memory in MiB, tasks, and threads of this process."""
    gc.collect()
    process = psutil.Process()
    return process.memory_info().rss / 2**20, len(asyncio.all_tasks()), process.num_threads()


def held_open(root: Path) -> list[str]:
    """The files and folders below `root` that this process has open. What else it has is other tests' too."""
    found = []
    for descriptor in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):  # the one of this very listing
            found.append(str(descriptor.readlink()))
    return [each for each in found if each.startswith(str(root))]


async def test_a_day(tmp_path: Path, record_property: Callable[[str, object], None]) -> None:
    """Publishes, roll-backs, deletions, damage, outages, kills: the right answers, and what they take is flat."""
    *_, threads = taken()
    with inside_a_replica():
        day = Day(tmp_path)
        await day.run(DAY_S / 2)
        noon_mib, noon, _ = taken()
        await day.run(DAY_S)
        mib, midnight, threads_later = taken()
        for replica in day.fleet.replicas:
            await replica.stop()
    record_property(FINDING, f"a day: {dict(day.outcomes)}, {mib - noon_mib:+.1f} MiB after noon")
    assert midnight == noon
    assert held_open(tmp_path) == []
    assert threads_later <= threads + REPLICAS * MAX_THREADS
    assert mib <= noon_mib + MORE_MIB
    for outcome in ("OK", "MODEL_NOT_FOUND", "MODEL_CORRUPT", "STORE_UNAVAILABLE"):
        assert day.outcomes[outcome], outcome
