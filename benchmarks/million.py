"""A million customers on one small machine: the store, the traffic, what hits take, what a model takes in memory.

Customers by Zipf's law, in rounds; between them the same load on a hundred customers, so that a busy spell of the
machine meets both.
"""

import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Annotated

import typer

from benchmarks import many
from benchmarks.findings import Finding, report
from benchmarks.fleet import METRICS_AGE_S, Fleet, Result, serving
from benchmarks.processes import TargetFailedError
from forecast_grpc.cli._common import CommandFailed, progress

NAMES = "customer-%07d"
"""The customers, the one who asks most first."""

FEW = 100
"""Customers of the traffic that the other is held against."""

_FEW_SHARE = 0.25  # Of the time of a round.
_SETTLING_S = 90.0  # In which a replica that answers comes to its size, whoever asks: by some megabytes.
_HITS = ("hot", "warm")


@contextmanager
def _store(kept: Path | None, customers: int) -> Iterator[tuple[Path, list[Finding]]]:
    """A store of so many customers, and what it took to make it; where it is to be kept, perhaps long ago."""
    if kept is not None:
        yield kept, [] if kept.exists() else _published(kept, customers)
        return
    with tempfile.TemporaryDirectory(prefix="forecast-grpc-bench-") as temporary:
        store = Path(temporary) / "store"
        yield store, _published(store, customers)
        # Minutes for a million folders, of which Python would make many.
        subprocess.run(["rm", "-rf", str(store)], check=True)


def _published(store: Path, customers: int) -> list[Finding]:
    started = time.perf_counter()
    many.publish(store, NAMES, customers)
    seconds = time.perf_counter() - started
    size = many.size_on_disk(store, NAMES, customers)
    return [
        Finding(what="customers in the store", measured=customers),
        Finding(what="time to publish them", measured=seconds, unit="s"),
        Finding(what="size on disk", measured=size / 2**30, unit="GiB"),
        Finding(what="size on disk of a customer", measured=size / customers / 1024, unit="KiB"),
    ]


def traffic(fleet: Fleet, customers: int, rate: float, seconds: float) -> Result:
    """Callers who come at random, and for customers by Zipf's law."""
    return fleet.load(
        customers=NAMES,
        count=customers,
        order="zipf",
        rate=rate,
        poisson="true",
        tiers="true",
        duration=f"{seconds}s",
        seed=time.time_ns() % 2**32,
    )


def measure(fleet: Fleet, customers: int, rate: float, minutes: float, rounds: int) -> list[Finding]:
    """The traffic in rounds, and the memory before and after."""
    everyone, few = [], []
    seconds = minutes * 60.0 / rounds
    traffic(fleet, FEW, rate, _SETTLING_S)
    before, models = _in_memory(fleet)
    with progress() as bar:
        task = bar.add_task("traffic", total=rounds)
        for _ in range(rounds):
            everyone.append(traffic(fleet, customers, rate, seconds))
            few.append(traffic(fleet, FEW, rate, _FEW_SHARE * seconds))
            bar.advance(task)
    after, models_after = _in_memory(fleet)
    return [
        *_answers(everyone),
        *_latencies(everyone, few),
        Finding(what="models in memory", measured=models_after),
        Finding(
            what="resident memory of a model",
            measured=(after - before) / (models_after - models),
            unit="bytes",
            at_most=2_048,
        ),
        Finding(what="memory of all processes", measured=fleet.all_bytes() / 2**30, unit="GiB", at_most=8.0),
    ]


def _in_memory(fleet: Fleet) -> tuple[float, float]:
    """Bytes that the replicas take, and models that they hold."""
    time.sleep(METRICS_AGE_S)
    return fleet.replica_bytes(), fleet.metric("models")


def _answers(results: Sequence[Result]) -> list[Finding]:
    outcomes, tiers = Counter[str](), Counter[str]()
    for each in results:
        outcomes.update(each["outcomes"])
        tiers.update({tier: of["count"] for tier, of in each["latency_by_tier_ms"].items()})
    hits = sum(tiers[tier] for tier in _HITS) / tiers.total()
    return [
        Finding(what="requests", measured=outcomes.total()),
        Finding(what="errors", measured=outcomes.total() - outcomes["OK"], at_most=0),
        Finding(what="hits", measured=100.0 * hits, unit="%"),
    ]


def _latencies(everyone: Sequence[Result], few: Sequence[Result]) -> Iterator[Finding]:
    for tier in (*_HITS, "cold"):
        for figure in ("p50", "p99"):
            found = median(each["latency_by_tier_ms"][tier][figure] for each in everyone)
            yield Finding(what=f"{figure} of {tier} models", measured=found, unit="ms")
    yield Finding(what=f"p99 with {FEW} customers", measured=median(map(_p99_of_hits, few)), unit="ms")
    ratios = [_p99_of_hits(one) / _p99_of_hits(other) for one, other in zip(everyone, few, strict=True)]
    yield Finding(what=f"p99 of hits, to that with {FEW} customers", measured=median(ratios), at_most=1.5)


def _p99_of_hits(result: Result) -> float:
    """Of the tiers that are hits, the worse one: that of both together is no higher."""
    tiers = result["latency_by_tier_ms"]
    return max(float(tiers[tier]["p99"]) for tier in _HITS if tier in tiers)


def main(
    *,
    customers: Annotated[int, typer.Option(min=1_000, help="Customers in the store.")] = 1_000_000,
    minutes: Annotated[float, typer.Option(help="Of traffic over all of them.")] = 10.0,
    rounds: Annotated[int, typer.Option(min=1, help="In which that comes.")] = 10,
    rate: Annotated[float, typer.Option(help="Requests a second.")] = 300.0,
    store: Annotated[Path | None, typer.Option(help="The store, made where there is none, and kept.")] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the results here too.")] = None,
) -> None:
    """Publishes a million customers and asks for them, by two replicas."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with _store(store, customers) as (used, built):
            with serving(used, replicas=2, max_warm_bytes=2**30) as fleet:
                asked = measure(fleet, customers, rate, minutes, rounds)
            report(f"{customers:,} customers, {rate:g} requests a second", [*built, *asked], json_file)
    except (TargetFailedError, CommandFailed) as exc:
        sys.exit(str(exc))


if __name__ == "__main__":
    typer.run(main)
