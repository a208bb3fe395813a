"""The answer of GetAccessStatistics: what the replicas know of who asks, merged."""

from collections.abc import Iterator

from forecast_grpc.usage import Curve, ReplicaUsage, Usage, added
from forecast_grpc.v1 import model_pb2 as pb


def usage_response(usage: Usage) -> pb.GetAccessStatisticsResponse:
    """The answer of GetAccessStatistics."""
    reuse = [each.reuse for each in usage.replicas]
    judged = sum(each.requests for each in reuse)
    asked = sum(each.load.requests for each in usage.replicas)
    return pb.GetAccessStatisticsResponse(
        hit_rates_by_bytes=_shares(added(each.by_bytes for each in reuse), judged),
        hit_rates_by_models=_shares(added(each.by_models for each in reuse), judged),
        first_request_share=sum(each.first_requests for each in reuse) / judged if judged else 0.0,
        top_customers=[
            pb.CustomerAccess(customer_id=customer_id, request_count=count, share=count / asked)
            for customer_id, count in usage.top
        ],
        replicas=map(_replica, usage.replicas),
        unanswered_replica_count=usage.unanswered,
    )


def _shares(curve: Curve, requests: float) -> Iterator[pb.CacheHitRate]:
    return (pb.CacheHitRate(size=size, hit_rate=hits / requests) for size, hits in curve if hits > 0)


def _replica(usage: ReplicaUsage) -> pb.ReplicaAccess:
    load, memory, reuse = usage.load, usage.memory, usage.reuse
    return pb.ReplicaAccess(
        replica=usage.replica,
        watched_seconds=load.seconds,
        request_count=load.requests,
        miss_count=load.misses,
        core_seconds=load.cpu_s,
        busiest_request_rate=load.busiest_requests_per_s,
        busiest_cores=load.busiest_cores,
        customer_count=reuse.customers,
        customer_bytes=reuse.customer_bytes,
        measured_count=reuse.measured,
        sampling_rate=reuse.sampling_rate,
        hot_count=memory.hot_models,
        hot_bytes=memory.hot_bytes,
        warm_bytes=memory.warm_bytes,
        pinned_bytes=memory.pinned_bytes,
        max_hot_models=memory.max_hot_models,
        max_warm_bytes=memory.max_warm_bytes,
        process_bytes=memory.process_bytes,
        node=usage.machine.node,
        node_cores=usage.machine.cores,
        node_memory_bytes=usage.machine.memory_bytes,
    )
