"""What a service knows of who asks for forecasts, added up over its replicas."""

from collections import defaultdict
from dataclasses import dataclass
from typing import Self

from forecast_grpc.usage import Curve, answered
from forecast_grpc.v1.model_pb2 import GetAccessStatisticsResponse, ReplicaAccess


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """A machine with replicas."""

    cores: float
    """Its cores."""

    memory_bytes: int
    """Its memory, in bytes."""

    replicas: int
    """Replicas there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """The answer of GetAccessStatistics, for whoever plans."""

    by_bytes: Curve
    """Room for models in each replica, in bytes, and the share of the requests that an LRU cache would answer."""

    by_models: Curve
    """The same by the number of models."""

    first_share: float
    """The share of the requests that were the first of their customer within a day."""

    replicas: tuple[ReplicaAccess, ...]
    """What each replica says."""

    @classmethod
    def of(cls, response: GetAccessStatisticsResponse) -> Self:
        """From the answer."""
        return cls(
            by_bytes=tuple((point.size, point.hit_rate) for point in response.hit_rates_by_bytes),
            by_models=tuple((point.size, point.hit_rate) for point in response.hit_rates_by_models),
            first_share=response.first_request_share,
            replicas=tuple(response.replicas),
        )

    @property
    def reachable(self) -> float:
        """The share of the requests that caches with room for everybody would answer."""
        return self.by_bytes[-1][1] if self.by_bytes else 0.0

    @property
    def watched_s(self) -> float:
        """For how long the replica that has lived longest has watched, in weight."""
        return max((each.watched_seconds for each in self.replicas), default=0.0)

    @property
    def requests(self) -> float:
        """Requests, in weight."""
        return sum(each.request_count for each in self.replicas)

    @property
    def measured(self) -> float:
        """Requests that the curves rest on, in weight."""
        return sum(each.measured_count for each in self.replicas)

    @property
    def found(self) -> float:
        """The share of the requests whose model was in memory."""
        misses = sum(each.miss_count for each in self.replicas)
        return 1.0 - misses / self.requests if self.requests else 0.0

    @property
    def customers(self) -> float:
        """Customers who have asked within a day, estimated."""
        return sum(each.customer_count for each in self.replicas)

    @property
    def model_bytes(self) -> float:
        """Bytes of a model, in the mean."""
        return sum(each.customer_bytes for each in self.replicas) / self.customers if self.customers else 0.0

    @property
    def room(self) -> float:
        """Bytes of models that a replica has room for now, in the mean, those that are hot included."""
        return _mean([each.hot_bytes + each.max_warm_bytes for each in self.replicas])

    @property
    def request_rate(self) -> float:
        """Requests a second: in the busiest minutes of the last day, or as long as it was watched."""
        return sum(
            each.busiest_request_rate or each.request_count / (each.watched_seconds or 1.0)
            for each in self.replicas
        )

    @property
    def cores(self) -> float:
        """Cores that all replicas took then."""
        return sum(
            each.busiest_cores or each.core_seconds / (each.watched_seconds or 1.0) for each in self.replicas
        )

    @property
    def base_bytes(self) -> int:
        """What a process takes beside its models, the pinned ones not counted, in bytes: the largest."""
        return max(each.process_bytes - each.hot_bytes - each.warm_bytes for each in self.replicas)

    @property
    def nodes(self) -> tuple[Node, ...]:
        """The machines with replicas."""
        there: defaultdict[str, list[ReplicaAccess]] = defaultdict(list)
        for each in self.replicas:
            there[each.node].append(each)
        return tuple(
            Node(cores=each[0].node_cores, memory_bytes=each[0].node_memory_bytes, replicas=len(each))
            for each in there.values()
        )

    def hit_rate(self, nbytes: float, num_replicas: int | None = None) -> float:
        """The share of the requests that replicas with so much room would answer, an LRU cache in each.

        Of twice as many replicas each has half of the customers, and needs half the room.
        """
        return answered(self.by_bytes, nbytes * (num_replicas or len(self.replicas)) / len(self.replicas))


def _mean(values: list[int]) -> float:
    return sum(values) / len(values) if values else 0.0
