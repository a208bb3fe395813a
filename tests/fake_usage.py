"""What a replica that was never started has and holds; what it knows of who asks is real."""

from forecast_grpc.loading import AccessLog
from forecast_grpc.usage import Machine, Memory, ReplicaUsage

MEMORY = Memory(
    hot_models=10,
    hot_bytes=20_000,
    warm_bytes=500_000,
    pinned_bytes=0,
    max_hot_models=10,
    max_warm_bytes=500_000,
    process_bytes=170_000_000,
)
MACHINE = Machine(node="node-1", cores=4.0, memory_bytes=8 * 2**30)


def usage_of(replica: str, accesses: AccessLog, max_top: int) -> ReplicaUsage:
    """As `LocalModels` asks for it."""
    return accesses.usage(replica, memory=MEMORY, machine=MACHINE, max_top=max_top)
