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

    tier: CacheTier | None = None
    """Where the model was; None as long as none was reached."""
