"""A replica is killed: the service answers for all customers again, in both ingress modes."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests import stores
from tests.conftest import FINDING, INGRESS_MODES
from tests.service import RunningService, eventually, serving
from tests.stores import MANY

REPLICAS = 3


@pytest.fixture(scope="module", params=INGRESS_MODES)
def fleet(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningService]:
    """Three replicas of their own: the service that other tests share is left alone."""
    store: Path = tmp_path_factory.mktemp("fleet") / "store"
    stores.build(store)
    tuning = ("--set", "num_cpus_per_replica=0.1", "--set", "handover_interval_s=0.5")
    with serving(store, request.param, "--num-replicas", str(REPLICAS), *tuning) as running:
        yield running


def test_a_killed_replica_is_survived(
    fleet: RunningService, record_property: Callable[[str, object], None]
) -> None:
    """All customers are answered again, each by one replica over both protocols, by three replicas in all."""
    before = eventually(lambda: settled(fleet))
    victim = fleet.replica_processes()[0]
    victim.kill()
    victim.wait(30)
    after = eventually(lambda: settled(fleet), timeout_s=150)
    survivors = [customer for customer, replica in before.items() if replica in after.values()]
    moved = [customer for customer in survivors if before[customer] != after[customer]]
    # How many moved is what an operator wants to know of an upgrade.
    record_property(
        FINDING,
        f"{fleet.ingress}: a killed replica moved {len(moved)} of the {len(survivors)} customers of the surviving "
        f"replicas, and all {len(before) - len(survivors)} of its own",
    )


def test_a_new_replica_has_the_busiest_customers(fleet: RunningService) -> None:
    """A replica in the place of a killed one loads those who asked most, before any request comes to it."""
    before = eventually(lambda: settled(fleet))
    names = set(before.values())
    # Each replica notes twice a second who asks, where what it notes outlives it.
    time.sleep(2.0)
    victim = fleet.replica_processes()[0]
    victim.kill()
    victim.wait(30)
    line = eventually(lambda: taken_over(fleet, names), timeout_s=150)
    assert line["customers"] >= len(MANY)
    started = [
        each
        for each in fleet.log_lines(replica=line["replica"])
        if each["event"] in {"model_loaded", "request"}
    ]
    loaded = [each["customer_id"] for each in started[: line["customers"]] if each["event"] == "model_loaded"]
    assert set(MANY) <= set(loaded)


def taken_over(service: RunningService, old: set[str]) -> dict[str, Any]:
    """The line of a replica that is not one of the old ones; empty as long as there is none."""
    return next(
        (each for each in service.log_lines() if each["event"] == "took_over" and each["replica"] not in old),
        {},
    )


def settled(service: RunningService) -> dict[str, str]:
    """Each customer's replica, once it is one and the same twice over both protocols; empty until then."""
    where: dict[str, str] = {}
    for _ in range(2):
        for customer in MANY:
            for ask in (service.grpc, service.http):
                try:
                    outcome = ask(None, customer)
                except httpx.HTTPError:
                    return {}
                replica = outcome.metadata.get("forecast-replica", "")
                if outcome.code != "OK" or where.setdefault(customer, replica) != replica:
                    return {}
    return where if len(set(where.values())) == REPLICAS else {}
