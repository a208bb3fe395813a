"""What must not happen to callers, whatever happens to the service: herds, strangers, new versions, a dead store.

`python -m benchmarks.resilience` measures all of it, `python -m benchmarks.resilience herd` one part. Promises are
ratios of what was measured in one run; a run that is disturbed says nothing, so each part is repeated.
"""

import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path
from statistics import median
from typing import Annotated

import typer

from benchmarks import many, object_server, targets
from benchmarks.callers import Answer, Caller
from benchmarks.cores import one_aside
from benchmarks.findings import Finding, report
from benchmarks.fleet import METRICS_AGE_S, Fleet, Result, beside, load, require, serving
from benchmarks.generator import WrongAnswersError
from benchmarks.processes import TargetFailedError
from forecast_grpc.cli._common import CommandFailed

WARM, RATE = 1_000, 200
"""Customers whose models are in memory, and requests a second for them."""

HERD, CALLERS, DELAY_S = 64, 200, 0.05
"""Cold customers at once, callers of one, and how long the store takes."""


@contextmanager
def _folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="forecast-grpc-bench-") as folder:
        yield Path(folder)


def _p99(result: Result) -> float:
    return float(result["latency_ms"]["p99"])


# --- a hundred thousand models in memory ---


def idle(*, customers: int = 100_000, seconds: float = 5.0, repetitions: int = 5) -> list[Finding]:
    """A replica with many warm models beside one with ten: what it takes when idle, how quick its hits are."""
    with _folder() as folder:
        many.publish(folder / "few", "customer-%07d", 10)
        many.publish(folder / "many", "customer-%07d", customers)
        # Models that are asked for once a minute would all be checked against the store each time.
        settings = {"refresh_interval_s": 3_600, "max_warm_bytes": 2**30}
        with serving(folder / "few", **settings) as few, serving(folder / "many", **settings) as full:
            require(few.load(count=10, requests=1_000))
            require(full.load(count=customers, requests=customers, order="turn", in_flight=8))
            time.sleep(METRICS_AGE_S)
            in_memory = full.metric("models")
            idling = [fleet.busy(10.0) * 100.0 for fleet in (few, full)]
            kinds = {"few": (few, 10), "same": (full, 10), "all": (full, customers)}
            rates = _rates(kinds, seconds, repetitions)
    return [
        Finding(what="models in memory", measured=in_memory, at_least=customers),
        Finding(what="idle, of a core, 10 models", measured=idling[0], unit="%"),
        Finding(what=f"idle, of a core, {customers:,} models", measured=idling[1], unit="%", at_most=3.0),
        _relative("hits/s, the same 10 of many models, to 10", rates["same"], rates["few"]),
        _relative("hits/s, all of many models evenly, to 10", rates["all"], rates["few"]),
    ]


def _rates(
    kinds: Mapping[str, tuple[Fleet, int]], seconds: float, repetitions: int
) -> dict[str, list[float]]:
    rates: dict[str, list[float]] = {name: [] for name in kinds}
    for _ in range(repetitions):
        for name, (fleet, count) in kinds.items():
            rates[name].append(require(fleet.load(count=count, duration=f"{seconds}s"))["requests_per_s"])
    return rates


def _relative(what: str, ours: list[float], theirs: list[float]) -> Finding:
    ratio = median(one / other for one, other in zip(ours, theirs, strict=True))
    return Finding(what=what, measured=ratio, at_least=0.95)


# --- cold customers at once ---


def herd(*, repetitions: int = 5) -> list[Finding]:
    """Cold customers at once, ours and the tutorial's; many callers of one cold customer."""
    with _folder() as folder, object_server.serving(folder, delay_s=DELAY_S) as store:
        for number in range(repetitions):
            many.publish(folder, f"herd-{number}-%07d", HERD)
            many.publish(folder, f"one-{number}-%07d", 1)
        with serving(store.url) as fleet, targets.tutorial("tutorial", load_s=DELAY_S) as tutorial:
            ours = [_herd_ms(fleet.port, number) for number in range(repetitions)]
            theirs = [_herd_ms(tutorial.grpc_port, number) for number in range(repetitions)]
            gets = [_gets(fleet, store, number) for number in range(repetitions)]
    title = f"{HERD} cold customers at once"
    return [
        Finding(what=f"{title}, all answered within", measured=median(ours), unit="ms", at_most=200.0),
        Finding(what=f"{title}, the slowest repetition", measured=max(ours), unit="ms"),
        Finding(what=f"{title}, the tutorial's deployment", measured=median(theirs), unit="ms"),
        Finding(what=f"{CALLERS} callers of one cold customer, GETs", measured=max(gets), at_most=1),
    ]


def _herd_ms(port: int, number: int) -> float:
    options = {"customers": f"herd-{number}-%07d", "count": HERD, "order": "turn", "requests": HERD}
    return float(require(load(port, connections=8, in_flight=HERD // 8, **options))["seconds"] * 1e3)


def _gets(fleet: Fleet, store: object_server.ObjectServer, number: int) -> int:
    customer = f"one-{number}-{0:07d}"
    require(fleet.load(customer=customer, requests=CALLERS, connections=8, in_flight=CALLERS // 8))
    return store.gets[f"{customer}/model.safetensors"]


# --- strangers ---


def isolation(
    *,
    seconds: float = 10.0,
    repetitions: int = 5,
    replicas: int = 2,
    own_core: bool = False,
    lane: str = "off",
) -> list[Finding]:
    """Warm customers while cold ones and unknown ones come: how much slower, and whether any is evicted."""
    cold, unknown = 500, 1_000
    with _folder() as folder, one_aside() if own_core else nullcontext() as core:
        many.publish(folder, "warm-%07d", WARM)
        for number in range(repetitions):
            many.publish(folder, f"cold-{number}-%07d", int(1.1 * cold * seconds))
        # So little room that every cold model drops another one.
        settings = {
            "max_warm_bytes": 4 * 2**20,
            "direct_lane": lane,
            "replica_cores": "" if core is None else core,
        }
        with serving(folder, replicas=replicas, **settings) as fleet:
            everyone = {"customers": "warm-%07d", "count": WARM, "requests": 20 * WARM, "order": "turn"}
            require(fleet.load(**everyone))
            beside_cold = [_beside(fleet, f"cold-{n}-%07d", cold, seconds) for n in range(repetitions)]
            # Some were dropped for cold ones, and would drop others when they come back.
            require(fleet.load(**everyone))
            before = _moves(fleet)
            names = [f"unknown-{number}-%07d" for number in range(repetitions)]
            beside_unknown = [_beside(fleet, each, unknown, seconds) for each in names]
            evicted, loaded = (now - then for now, then in zip(_moves(fleet), before, strict=True))
    return [
        *_slowed(f"{cold} cold customers a second", "OK", beside_cold),
        *_slowed(f"{unknown} unknown customers a second", "NOT_FOUND", beside_unknown),
        # A warm customer whose replica is busy is sent to the other one, which loads its model and drops another.
        Finding(what="warm customers who came to the other replica meanwhile", measured=loaded),
        Finding(what="models that were evicted meanwhile", measured=evicted),
        Finding(what="models that were evicted for nobody", measured=max(0.0, evicted - loaded), at_most=0),
    ]


def _beside(fleet: Fleet, customers: str, rate: int, seconds: float) -> tuple[Result, Result, Result]:
    """The warm customers alone, and while strangers come; and what these got."""
    quiet = require(_warm(fleet, seconds))
    asked = {"customers": customers, "count": 10**6, "order": "turn", "timeout": "5s"}
    with beside(fleet, rate=rate, duration=f"{seconds}s", **asked) as others:
        disturbed = require(_warm(fleet, seconds))
    return quiet, disturbed, others.result()


def _moves(fleet: Fleet) -> tuple[float, float]:
    """Models that the replicas have dropped for lack of room so far, and those that they have loaded."""
    time.sleep(METRICS_AGE_S)
    return fleet.metric("warm_evictions_total"), fleet.metric("loads_total", outcome="ok")


def _warm(fleet: Fleet, seconds: float) -> Result:
    asked = {"customers": "warm-%07d", "count": WARM, "rate": RATE, "poisson": "true", "tiers": "true"}
    return fleet.load(duration=f"{seconds}s", **asked)


def _slowed(title: str, code: str, measured: Sequence[tuple[Result, Result, Result]]) -> list[Finding]:
    quiet, disturbed, strangers = zip(*measured, strict=True)
    otherwise = sum(each["requests"] - each["outcomes"].get(code, 0) for each in strangers)
    return [
        Finding(what=f"{title}: p99 of warm ones, quiet", measured=median(map(_p99, quiet)), unit="ms"),
        Finding(
            what=f"{title}: p99 of warm ones, to quiet", measured=_ratio(disturbed, quiet, "p99"), at_most=2.0
        ),
        # Where the machine is too small for them, some come to their deadline; that is no reason to tell nothing.
        Finding(what=f"{title}: answered otherwise than with {code}", measured=otherwise, at_most=0),
    ]


# --- new versions ---


def freshness(*, interval_s: float = 5.0, repetitions: int = 5) -> list[Finding]:
    """New versions under load: errors, what they do to latency, and who answers from the old one how long."""
    customers, in_time_s = 10, interval_s + 1.0
    asked = {"customers": "warm-%07d", "count": customers, "rate": RATE, "poisson": "true"}
    asked["duration"] = f"{in_time_s + 2.0}s"
    quiet, disturbed, old = [], [], 0
    with _folder() as folder:
        many.publish(folder, "warm-%07d", customers)
        with (
            serving(folder, replicas=2, refresh_interval_s=interval_s) as fleet,
            Caller.connected(fleet.port) as caller,
        ):
            require(fleet.load(**asked))
            for number in range(repetitions):
                quiet.append(require(fleet.load(**asked)))
                with beside(fleet, **asked) as load_beside:
                    time.sleep(1.0)
                    many.publish(folder, "warm-%07d", customers)
                    time.sleep(in_time_s)
                    answers = [caller.ask(f"warm-{each:07d}") for each in range(customers)]
                disturbed.append(require(load_beside.result()))
                old += sum(each.version != number + 2 for each in answers)
    return [
        Finding(what="p99, quiet", measured=median(map(_p99, quiet)), unit="ms"),
        Finding(
            what="p99 while new versions come, to quiet",
            measured=_ratio(disturbed, quiet, "p99"),
            at_most=2.0,
        ),
        Finding(what="slowest request, quiet", measured=median(map(_slowest, quiet)), unit="ms"),
        Finding(what="slowest while new versions come, to quiet", measured=_ratio(disturbed, quiet, "max")),
        Finding(what=f"answers of an old version after {in_time_s:g} s", measured=old, at_most=0),
    ]


def _ratio(ours: Sequence[Result], theirs: Sequence[Result], figure: str) -> float:
    pairs = zip(ours, theirs, strict=True)
    return float(median(one["latency_ms"][figure] / other["latency_ms"][figure] for one, other in pairs))


def _slowest(result: Result) -> float:
    return float(result["latency_ms"]["max"])


# --- a dead store ---


def outage(*, seconds: float = 60.0) -> list[Finding]:
    """A store that says nothing for a minute, under load: warm customers, cold ones, and how soon all is well."""
    cold_rate, deadline_s, quiet_s = 10.0, 10.0, 10.0
    with _folder() as folder, object_server.serving(folder, delay_s=0.005) as store:
        many.publish(folder, "warm-%07d", WARM)
        many.publish(folder, "cold-%07d", int(2 * cold_rate * (seconds + 30.0)))
        with serving(store.url, replicas=2) as fleet, Caller.connected(fleet.port) as caller:
            require(fleet.load(customers="warm-%07d", count=WARM, requests=20 * WARM, order="turn"))
            quiet = require(_warm(fleet, quiet_s))
            store.fall_silent(True)
            with caller.asking("cold-%07d", cold_rate, deadline_s) as cold:
                during = _warm(fleet, seconds)
                store.fall_silent(False)
                back_at = time.monotonic()
                after = _warm(fleet, quiet_s)
            answers = cold.result()
    refused = [each for each in answers if each.code != "OK"]
    served = [each for each in answers if each.code == "OK"]
    return [
        Finding(what=f"warm requests in {seconds:g} s without a store", measured=during["requests"]),
        Finding(
            what="errors among them and those after", measured=_errors(during) + _errors(after), at_most=0
        ),
        Finding(what="their p99, to quiet", measured=_p99(during) / _p99(quiet), at_most=2.0),
        Finding(what="warm p99 once it is back, to quiet", measured=_p99(after) / _p99(quiet)),
        Finding(what="cold requests refused", measured=len(refused)),
        Finding(
            what="of them UNAVAILABLE with RetryInfo", measured=_share(refused), unit="%", at_least=100.0
        ),
        *_otherwise(refused),
        Finding(
            what="slowest refusal",
            measured=max(each.seconds for each in refused),
            unit="s",
            at_most=deadline_s,
        ),
        Finding(what="median refusal", measured=median(each.seconds for each in refused), unit="s"),
        Finding(
            what="last refusal after the store is back",
            measured=max(each.asked_at + each.seconds for each in refused) - back_at,
            unit="s",
            at_most=1.0,
        ),
        Finding(
            what="first cold model after the store is back",
            measured=min(each.asked_at + each.seconds for each in served) - back_at,
            unit="s",
            at_most=1.0,
        ),
    ]


def _errors(result: Result) -> int:
    return int(result["requests"] - result["outcomes"].get("OK", 0))


def _share(refused: Sequence[Answer]) -> float:
    return 100.0 * sum(map(_as_promised, refused)) / len(refused)


def _as_promised(refusal: Answer) -> bool:
    return refusal.code == "UNAVAILABLE" and refusal.retry


def _otherwise(refused: Sequence[Answer]) -> Iterator[Finding]:
    """How many were refused in which other way."""
    ways = Counter(f"{each.code}: {each.message}" for each in refused if not _as_promised(each))
    for way, count in ways.items():
        yield Finding(what=f"refused otherwise, {way}", measured=count, at_most=0)


PARTS: Mapping[str, Callable[[], list[Finding]]] = {
    "idle": idle,
    "herd": herd,
    "isolation": isolation,
    "isolation-direct": partial(isolation, lane="auto"),
    "isolation-own-core": partial(isolation, lane="auto", replicas=1, own_core=True),
    "freshness": freshness,
    "outage": outage,
}
"""What is measured, by name."""


def main(
    parts: Annotated[list[str] | None, typer.Argument(help=f"Some of {', '.join(PARTS)}; else all.")] = None,
    json_folder: Annotated[
        Path | None, typer.Option("--json", help="Write NAME.json into this folder too.")
    ] = None,
) -> None:
    """Measures what must not happen to callers."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    for name in parts or PARTS:
        try:
            findings = PARTS[name]()
        except (TargetFailedError, WrongAnswersError, CommandFailed, ValueError) as exc:
            sys.exit(f"{name}: {exc}")
        report(name, findings, json_folder / f"{name}.json" if json_folder else None)


if __name__ == "__main__":
    typer.run(main)
