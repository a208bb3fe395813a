"""How many replicas there ought to be: by the processor time that they take, and by the requests under way.

Ray Serve's own rule counts the requests alone. A warm forecast takes a tenth of a millisecond and waits for
nothing: whoever counts between two of them finds none, however busy the replica is. So each replica tells how busy
it is, and the count decides only where requests wait: for models to be loaded, or for somebody else's code.
"""

import time
from collections.abc import Mapping
from typing import Any, Protocol

BUSY = "busy_cores"
"""The name under which replicas tell it."""


class Context(Protocol):
    """What Ray hands to an autoscaling policy, as far as ours reads it: `ray.serve.config.AutoscalingContext`."""

    target_num_replicas: int
    config: Any

    @property
    def total_num_requests(self) -> float:
        """Requests under way in all replicas, averaged over the look-back period."""
        ...

    @property
    def aggregated_metrics(self) -> Mapping[str, Mapping[Any, float]] | None:
        """What each replica told, averaged likewise, by name and replica."""
        ...


class Policy:
    """An autoscaling policy of Ray Serve, which applies bounds and delays to what this one wants."""

    def __init__(self, *, target_busy_cores: float) -> None:
        """`target_busy_cores`: cores that a replica is to be busy with; it cannot use much more than one."""
        self._target = target_busy_cores

    def __call__(self, context: Context) -> tuple[float, dict[str, Any]]:
        """Replicas wanted, not rounded; and no state."""
        busy = (context.aggregated_metrics or {}).get(BUSY, {})
        by_cores = sum(busy.values()) / self._target
        by_requests = context.total_num_requests / context.config.get_target_ongoing_requests()
        return max(by_cores, by_requests), {}


class Busyness:
    """How many cores this process has been busy with since it was last asked."""

    def __init__(self) -> None:
        self._at, self._used = time.monotonic(), time.process_time()

    def cores(self) -> float:
        """Between 0 and the number of cores."""
        at, used = time.monotonic(), time.process_time()
        (before, self._at), (had, self._used) = (self._at, at), (self._used, used)
        return (used - had) / max(at - before, 1e-3)
