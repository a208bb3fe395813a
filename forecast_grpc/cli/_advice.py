"""What to set, from what a service knows of who asks, and why."""

import math
from dataclasses import dataclass

from forecast_grpc.cli._access import Access
from forecast_grpc.usage import size_for

ENOUGH_REQUESTS = 1_000
"""Measured requests from which on a hit rate is known to a point or two."""

ENOUGH_SECONDS = 60.0
"""For how long a service is to be watched at least."""

SHORT_OF_ALL = 0.005
"""What may be missing from the best hit rate that any size has: more memory would not be worth it."""

HEADROOM = 1.25
"""Room beyond what has been seen: replicas get unequal numbers of customers, and customers become more."""

MEMORY_SHARE = 0.75
"""The share of a machine's memory that replicas may take."""

CORE_SHARE = 0.6
"""The share of a core that a replica is to take at most: above it requests begin to wait for each other."""

MAX_HOT, HOT_SHARE = 2_000, 0.9
"""Hot models that are recommended at most, and the share of the hits that they are for: warm ones answer alike."""

_MIB = 2**20


@dataclass(frozen=True, slots=True, kw_only=True)
class Advice:
    """What to set."""

    num_replicas: int
    """The setting."""

    max_warm_bytes: int
    """The setting."""

    max_hot_models: int
    """The setting."""

    hit_rate: float
    """What an LRU cache would have with that, of the requests that were seen."""

    reasons: tuple[str, ...]
    """Why: a sentence or two for each setting."""


def too_little(access: Access) -> str:
    """Why nothing can be said yet; empty where it can."""
    if access.measured >= ENOUGH_REQUESTS and access.watched_s >= ENOUGH_SECONDS:
        return ""
    return (
        f"Too little has been seen to recommend anything: {access.measured:,.0f} requests of customers who had "
        f"asked before, within {duration(access.watched_s)}. With {ENOUGH_REQUESTS:,} of them, after a minute, "
        "the figures begin to mean something; those of the busiest hour are the ones to plan by."
    )


def advise(access: Access, wanted: float | None) -> Advice:
    """What to set so that the share `wanted` of the requests finds its model; None: as much as is worth it."""
    replicas, why_replicas = _replicas(access)
    target = access.reachable - SHORT_OF_ALL if wanted is None else min(wanted, access.reachable)
    limit = _limit(access, replicas)
    hot, why_hot = _hot(access, replicas, target, limit)
    hot_bytes = hot * access.model_bytes
    needed = (size_for(access.by_bytes, target) or 0.0) * len(access.replicas) / replicas * HEADROOM
    warm, why_warm = _warm(access, max(needed - hot_bytes, 0.0), int(limit - hot_bytes))
    return Advice(
        num_replicas=replicas,
        max_warm_bytes=warm,
        max_hot_models=hot,
        hit_rate=access.hit_rate(warm + hot_bytes, replicas),
        reasons=(why_replicas, why_warm, _why_target(access, target, wanted), why_hot),
    )


def _replicas(access: Access) -> tuple[int, str]:
    wanted = max(math.ceil(access.cores / CORE_SHARE), 1)
    cores = sum(node.cores for node in access.nodes)
    each = 1_000 * access.cores / access.request_rate if access.request_rate else 0.0
    reason = (
        f"num_replicas={wanted}: at its busiest the service took {access.cores:.2f} cores for "
        f"{access.request_rate:,.0f} requests a second, {each:.2g} ms of a core each, and a replica is well with "
        f"{CORE_SHARE:.0%} of one core."
    )
    if wanted > cores:
        reason += f" Here are {cores:g} cores: that takes more machines."
    if wanted == 1:
        reason += " A second one keeps the service answering while the first is replaced."
    return wanted, reason


def _limit(access: Access, replicas: int) -> int:
    """Bytes of models that a replica can have where so many share the machines."""
    on_each = math.ceil(replicas / len(access.nodes))
    smallest = min(node.memory_bytes for node in access.nodes)
    return max(int(smallest * MEMORY_SHARE / on_each) - access.base_bytes, 0)


def _warm(access: Access, needed: float, limit: int) -> tuple[int, str]:
    now = min(each.max_warm_bytes for each in access.replicas)
    if needed > limit:
        warm = limit // _MIB * _MIB
        machines = math.ceil(len(access.nodes) * needed / max(limit, 1))
        return warm, (
            f"max_warm_bytes={warm}: {size(needed)} a replica would be needed, but {MEMORY_SHARE:.0%} of the "
            f"machine's memory, less what the processes take themselves, leaves {size(warm)}. About {machines} "
            "machines would do."
        )
    if needed <= now <= limit:
        return (
            now,
            f"max_warm_bytes={now}, as it is: {size(needed)} would do, and room that nobody needs costs nothing.",
        )
    warm = max(math.ceil(needed / _MIB), 1) * _MIB
    return warm, (
        f"max_warm_bytes={warm}: {size(warm)} for each replica, a quarter more than was needed, for unequal "
        f"shares and growth. Now it is {size(now)}."
    )


def _why_target(access: Access, target: float, wanted: float | None) -> str:
    first = (
        f"{access.first_share:.1%} of the requests were the first of their customer, which no cache answers"
    )
    if wanted is not None and wanted > access.reachable:
        return f"A hit rate of {wanted:.1%} is out of reach of any size: {first}."
    reason = f"That is meant to find the models of {target:.1%} of the requests."
    if wanted is None:
        reason += f" Room for everybody would find those of {access.reachable:.1%}: {first}."
    return reason


def _hot(access: Access, replicas: int, target: float, limit: int) -> tuple[int, str]:
    now = min(each.max_hot_models for each in access.replicas)
    models = (size_for(access.by_models, HOT_SHARE * target) or 0.0) * len(access.replicas) / replicas
    # Hot ones are held by number: they are not to take the room of all the others where models are large.
    most = max(min(MAX_HOT, int(limit / 2 / access.model_bytes)), 1)
    wanted = min(max(math.ceil(models), 1), most)
    if wanted <= now <= most:
        return (
            now,
            f"max_hot_models={now}, as it is: {wanted} would answer {HOT_SHARE:.0%} of what memory answers.",
        )
    return wanted, (
        f"max_hot_models={wanted}: so many answer {HOT_SHARE:.0%} of what memory answers, or as much of that as "
        f"Ray and the memory bear; warm ones are a few microseconds slower. Now it is {now}."
    )


def size(nbytes: float) -> str:
    """Bytes for people."""
    for unit in ("B", "KiB", "MiB"):
        if nbytes < 1024:  # noqa: PLR2004
            return f"{nbytes:.3g} {unit}" if nbytes < 100 else f"{nbytes:.0f} {unit}"  # noqa: PLR2004
        nbytes /= 1024
    return f"{nbytes:.3g} GiB"


def duration(seconds: float) -> str:
    """A time for people."""
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} minutes"  # noqa: PLR2004
