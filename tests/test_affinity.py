"""Each customer lives on one replica, in both ingress modes, and a killed replica is survived."""

import time
from collections import defaultdict

import psutil
import pytest

from tests.service import RunningService, eventually
from tests.stores import MANY


def homes(service: RunningService, *, calls: int = 3) -> dict[str, set[str]]:
    """The replicas that answer for each customer, asked in turn over both protocols."""
    seen: dict[str, set[str]] = defaultdict(set)
    for customer in MANY:
        for _ in range(calls):
            for outcome in (service.grpc(None, customer), service.http({}, customer)):
                assert outcome.code == "OK"
                seen[customer].add(outcome.metadata["forecast-replica"])
    return seen


def replica_processes(service: RunningService) -> list[psutil.Process]:
    """The processes of the replicas, by the names that Ray gives them."""
    children = psutil.Process(service.process.pid).children(recursive=True)
    return [child for child in children if " ".join(child.cmdline()).startswith("ray::ServeReplica")]


def test_each_customer_has_one_replica(service: RunningService) -> None:
    """60 customers, three calls each over both protocols: one replica a customer, all three in use."""
    where = homes(service)
    assert {customer: replicas for customer, replicas in where.items() if len(replicas) > 1} == {}
    assert len({replica for replicas in where.values() for replica in replicas}) == 3


def test_a_killed_replica_is_survived(service: RunningService, capsys: pytest.CaptureFixture[str]) -> None:
    """After a replica is killed all customers are answered again, each by one replica."""
    before = {customer: next(iter(replicas)) for customer, replicas in homes(service, calls=1).items()}
    victim = replica_processes(service)[0]
    victim.kill()
    victim.wait(30)
    eventually(lambda: len(_answering(service)) == 3, timeout_s=90)
    after = homes(service, calls=1)
    assert all(len(replicas) == 1 for replicas in after.values())
    survivors = [customer for customer, replica in before.items() if replica in _values(after)]
    moved = [customer for customer in survivors if before[customer] not in after[customer]]
    with capsys.disabled():
        print(  # noqa: T201 - how many moved is what an operator wants to know of an upgrade
            f"\n{service.ingress}: a killed replica moved {len(moved)} of the {len(survivors)} customers of the "
            f"surviving replicas, and all {len(before) - len(survivors)} of its own"
        )
    assert set(after) == set(before)


def _answering(service: RunningService) -> set[str]:
    """The replicas that answer now. Empty while a call fails."""
    seen = set()
    for customer in MANY:
        outcome = service.grpc(None, customer)
        if outcome.code != "OK":
            time.sleep(0.2)
            return set()
        seen.add(outcome.metadata["forecast-replica"])
    return seen


def _values(where: dict[str, set[str]]) -> set[str]:
    return {replica for replicas in where.values() for replica in replicas}
