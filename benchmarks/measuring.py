"""One measurement of a service: what it can do, how quick it is at half of that, and what it costs."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter
from statistics import median
from typing import Any

from benchmarks.generator import load
from benchmarks.hops import memory_mib, processor_s
from benchmarks.processes import only
from benchmarks.processor import Meter
from benchmarks.targets import Target
from forecast_grpc.cli._common import progress

IN_FLIGHT = 16
"""Requests under way in a closed loop."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """One repetition of one service."""

    requests_per_s: float
    """Right answers, 16 requests under way."""

    loaded_ms: Mapping[str, float]
    """Latency of those, by `p50`, `p90`, `p99`, `p99_9`."""

    half_rate_ms: Mapping[str, float]
    """Latency at half of that rate, each request at its time, answered or not."""

    alone_p50_ms: float
    """The median latency of one request after the other."""

    cpu_us: Mapping[str, float]
    """Processor time a request under load, in microseconds, by `hops.kind`, and of the `client`."""

    memory_mib: float
    """Memory of all the service's processes under load."""

    busy_elsewhere: float
    """Cores that others than the service and the load generator had, the waiting services among them."""

    lateness_p99_ms: float
    """How late the load generator was at most, of 99 % of the requests at half of the rate."""


Results = Mapping[str, Sequence[Measurement]]
"""The repetitions of each service, by its name; the n-th of all ran one after the other."""


def measure(target: Target, seconds: float) -> Measurement:
    """One repetition: as much as it takes, half of that, one after the other."""
    full = {"connections": target.lanes, "in_flight": IN_FLIGHT // target.lanes}
    load(target.options, **full, duration="300ms")
    spent, meter = processor_s(target.process), Meter(target.process)
    loaded = load(target.options, **full, duration=f"{seconds}s")
    _, busy_elsewhere = meter.read()
    cpu = {
        kind: 1e6 * (now - spent.get(kind, 0.0)) / loaded["requests"]
        for kind, now in processor_s(target.process).items()
    }
    rate = max(1.0, loaded["requests_per_s"] / 2)
    half = load(target.options, connections=target.lanes, rate=rate, duration=f"{seconds}s")
    alone = load(target.options, connections=1, in_flight=1, duration="700ms")
    return Measurement(
        requests_per_s=loaded["requests_per_s"],
        loaded_ms=_quantiles(loaded),
        half_rate_ms=_quantiles(half),
        alone_p50_ms=alone["latency_ms"]["p50"],
        cpu_us=cpu | {"client": 1e6 * loaded["client_cpu_s"] / loaded["requests"]},
        memory_mib=memory_mib(target.process),
        busy_elsewhere=busy_elsewhere,
        lateness_p99_ms=half["lateness_ms"]["p99"],
    )


def _quantiles(found: Mapping[str, Any]) -> dict[str, float]:
    return {name: found["latency_ms"][name] for name in ("p50", "p90", "p99", "p99_9")}


def alternate(
    services: Sequence[Target], repetitions: int, measure_one: Callable[[Target], Measurement]
) -> Results:
    """Measures each service so often, in turn, so that a busy spell of the machine meets all of them.

    The others are stopped meanwhile: several clusters of Ray that only wait take a third of a core.
    """
    results: dict[str, list[Measurement]] = {service.name: [] for service in services}
    with progress() as bar:
        task = bar.add_task("measuring", total=repetitions * len(services))
        for repetition in range(repetitions):
            # Each goes first in turn too.
            first = repetition % len(services)
            for service in (*services[first:], *services[:first]):
                with only(service.process, [each.process for each in services]):
                    results[service.name].append(measure_one(service))
                bar.advance(task)
    return results


def ratio(
    results: Results, name: str, to: str, of: Callable[[Measurement], float] = attrgetter("requests_per_s")
) -> float:
    """How many times the throughput of `to`, or whatever is measured, a service has: the median of repetitions."""
    pairs = zip(results[name], results[to], strict=True)
    return median(of(one) / of(other) for one, other in pairs)


def middle(repetitions: Sequence[Measurement]) -> dict[str, Any]:
    """The medians over the repetitions, by the names of the fields."""
    return {
        "requests_per_s": median(each.requests_per_s for each in repetitions),
        "alone_p50_ms": median(each.alone_p50_ms for each in repetitions),
        "memory_mib": median(each.memory_mib for each in repetitions),
        "busy_elsewhere": median(each.busy_elsewhere for each in repetitions),
        "lateness_p99_ms": median(each.lateness_p99_ms for each in repetitions),
        "loaded_ms": _medians([each.loaded_ms for each in repetitions]),
        "half_rate_ms": _medians([each.half_rate_ms for each in repetitions]),
        "cpu_us": _medians([each.cpu_us for each in repetitions]),
    }


def _medians(of: Sequence[Mapping[str, float]]) -> dict[str, float]:
    return {key: median(each.get(key, 0.0) for each in of) for key in of[0]}
