"""The JSON body of GetAccessStatistics. See `model_bodies`."""

from forecast_grpc.wire.model_bodies import Body


class CacheHitRateBody(Body):
    """What a cache of one size would have done."""

    size: int
    """In bytes or in models."""
    hit_rate: float
    """The share of the requests that it would have answered."""


class CustomerAccessBody(Body):
    """How much one customer asks."""

    customer_id: str
    """The customer."""
    request_count: float
    """The requests: one of an hour ago counts half."""
    share: float
    """The share of all requests."""


class ReplicaAccessBody(Body):
    """What one replica knows of who asks, and what it has."""

    replica: str
    """The replica's name."""
    watched_seconds: float = 0
    """For how long it has watched; what was an hour ago counts half, here and below."""
    request_count: float = 0
    """Requests whose model was found."""
    miss_count: float = 0
    """Those whose model had to be loaded."""
    core_seconds: float = 0
    """Seconds of a core that its process took."""
    busiest_request_rate: float = 0
    """Requests a second in the busiest minute of the last day."""
    busiest_cores: float = 0
    """Cores in that minute."""
    customer_count: float = 0
    """Customers who have asked within a day, estimated."""
    customer_bytes: float = 0
    """Bytes of all their models, estimated."""
    measured_count: float = 0
    """Requests that the hit rates rest on."""
    sampling_rate: float = 0
    """The share of the customers who are sampled."""
    hot_count: int = 0
    """Models that are hot now."""
    hot_bytes: int = 0
    """Their bytes."""
    warm_bytes: int = 0
    """Bytes of the warm models."""
    pinned_bytes: int = 0
    """Bytes of the pinned models that are not hot."""
    max_hot_models: int = 0
    """The setting."""
    max_warm_bytes: int = 0
    """The setting."""
    process_bytes: int = 0
    """Resident bytes of its process."""
    node: str = ""
    """The machine."""
    node_cores: float = 0
    """Its cores, or the container's."""
    node_memory_bytes: int = 0
    """Its memory, or the container's."""


class GetAccessStatisticsBody(Body):
    """Who asks."""

    hit_rates_by_bytes: tuple[CacheHitRateBody, ...] = ()
    """Of caches in each replica, by their room in bytes, ascending."""
    hit_rates_by_models: tuple[CacheHitRateBody, ...] = ()
    """The same by their room for models."""
    first_request_share: float = 0
    """The share of the requests whose customer had not asked within a day."""
    top_customers: tuple[CustomerAccessBody, ...] = ()
    """The customers who ask most, the first one most of all."""
    replicas: tuple[ReplicaAccessBody, ...] = ()
    """What each replica knows that answered in time."""
    unanswered_replica_count: int = 0
    """How many did not."""
