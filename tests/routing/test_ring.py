"""The router's ring: equal customers on equal replicas, different ones spread, and few moved by a change."""

import asyncio
from collections import Counter
from types import SimpleNamespace
from typing import Any

import pytest
from ray.serve._private.common import DeploymentID, ReplicaID

from forecast_grpc.routing.router import CustomerRouter

CUSTOMERS = [f"customer-{number}" for number in range(3_000)]


def router(*names: str) -> Any:
    """Ray's own ring over these replicas, without the queues and probes that a cluster feeds."""
    made: Any = CustomerRouter.__new__(CustomerRouter)
    made._deployment_id = DeploymentID(name="ForecastingService")
    made._num_virtual_nodes, made._num_fallback_replicas = 100, 2
    replicas = frozenset(ReplicaID(unique_id=name, deployment_id=made._deployment_id) for name in names)
    made._replicas = {replica: SimpleNamespace(replica_id=replica) for replica in replicas}
    made._rebuild_ring(replicas)
    return made


def home(ring: Any, customer: str, request: str = "r") -> str:
    """The replica that a request of this customer goes to first."""
    metadata = SimpleNamespace(multiplexed_model_id=customer, session_id="", internal_request_id=request)
    pending = SimpleNamespace(metadata=metadata, routing_context=SimpleNamespace())
    ranks = asyncio.run(ring.choose_replicas(list(ring._replicas.values()), pending))
    name: str = ranks[0][0].replica_id.unique_id
    return name


@pytest.fixture(scope="module")
def homes() -> dict[str, str]:
    """Where each customer lives among three replicas."""
    ring = router("a", "b", "c")
    return {customer: home(ring, customer) for customer in CUSTOMERS}


def test_equal_customers_go_to_equal_replicas(homes: dict[str, str]) -> None:
    """Another request, and another router of the same fleet, finds the same replica."""
    other = router("c", "a", "b")
    assert {customer: home(other, customer, "another") for customer in CUSTOMERS} == homes


def test_customers_are_spread_evenly(homes: dict[str, str]) -> None:
    """Each of three replicas has between a quarter and nearly a half of the customers."""
    shares = Counter(homes.values())
    assert set(shares) == {"a", "b", "c"}
    assert all(0.25 < share / len(CUSTOMERS) < 0.42 for share in shares.values())


def test_a_lost_replica_moves_its_own_customers_alone(homes: dict[str, str]) -> None:
    """Who lived elsewhere stays."""
    ring = router("a", "b")
    moved = {customer for customer in CUSTOMERS if home(ring, customer) != homes[customer]}
    assert moved == {customer for customer in CUSTOMERS if homes[customer] == "c"}
