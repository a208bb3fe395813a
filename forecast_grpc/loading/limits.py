"""What loading may spend."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadLimits:
    """What the loader may spend."""

    max_concurrent: int
    """Models loaded at the same time."""

    max_concurrent_refreshes: int
    """Models in memory that are checked against the store at the same time, beside those that are loaded."""

    max_waiting: int
    """Models that may wait for their turn to be loaded."""

    store_timeout_s: float
    """Seconds that the store may take over one model."""

    request_timeout_s: float
    """Seconds that a request may wait for its model."""

    refresh_interval_s: float
    """Seconds after which a model in use is checked against the store."""

    not_found_ttl_s: float
    """Seconds for which the store is not asked again for what it does not have."""

    failed_ttl_s: float
    """Seconds for which the store is not asked again for a model that cannot be used."""

    max_remembered_failures: int
    """Models that are not there or cannot be used and are remembered as such."""
