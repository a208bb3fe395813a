"""Each customer lives on one replica, in both ingress modes."""

from collections import defaultdict

from tests.service import RunningService, eventually
from tests.stores import MANY


def test_each_customer_has_one_replica(service: RunningService) -> None:
    """60 customers, three calls each over both protocols: one replica a customer, all three in use."""
    # An ingress that has just started may not know all three yet.
    eventually(lambda: len({service.grpc(None, each).metadata["forecast-replica"] for each in MANY}) == 3)
    where: dict[str, set[str]] = defaultdict(set)
    for customer in MANY:
        for _ in range(3):
            for outcome in (service.grpc(None, customer), service.http({}, customer)):
                assert outcome.code == "OK"
                where[customer].add(outcome.metadata["forecast-replica"])
    assert {customer: replicas for customer, replicas in where.items() if len(replicas) > 1} == {}
    assert len({replica for replicas in where.values() for replica in replicas}) == 3
