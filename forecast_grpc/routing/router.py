"""Affinity behind Ray's Python proxy, and for deployment handles."""

from ray.serve._private.request_router.common import PendingRequest
from ray.serve.experimental.consistent_hash_router import ConsistentHashRouter

CUSTOMER_ROUTER = "forecast_grpc.routing.router:CustomerRouter"
"""Import path of the router class, for `RequestRouterConfig`."""


class CustomerRouter(ConsistentHashRouter):
    """Routes a request by its customer on a consistent-hash ring; requests without one are spread evenly."""

    def _routing_key(self, pending_request: PendingRequest | None) -> str | None:
        if pending_request is not None and pending_request.metadata.multiplexed_model_id:
            return str(pending_request.metadata.multiplexed_model_id)
        key: str | None = super()._routing_key(pending_request)
        return key
