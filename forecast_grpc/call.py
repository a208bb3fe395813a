"""One request on its way through a replica."""

from dataclasses import dataclass

from forecast_grpc.domain import CacheTier


@dataclass(slots=True, kw_only=True)
class Call:
    """One request on its way through a replica."""

    protocol: str
    """`grpc`, `http` or `handle`."""

    request_id: str
    """What the caller gets as `request_id`."""

    remaining_s: float | None = None
    """Seconds after which the caller has gone, from the start of the call; None where nobody told us."""

    tier: CacheTier | None = None
    """Where the model was; of several, the one that was furthest away; None as long as none was reached."""

    def reached(self, tier: CacheTier) -> None:
        """Notes where a model was."""
        if self.tier is None or _DISTANCE[tier] > _DISTANCE[self.tier]:
            self.tier = tier


_DISTANCE = {tier: distance for distance, tier in enumerate(CacheTier)}
