"""forecast-grpc beside what one would use instead, in one run: docs/benchmarks.md, docs/benchmarks-peers.md."""

import json
import signal
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from operator import attrgetter
from pathlib import Path
from typing import Annotated, Any

import typer

from benchmarks import drawing, machine, rivals, targets
from benchmarks.generator import WrongAnswersError
from benchmarks.measuring import Results, alternate, measure, middle, ratio
from benchmarks.processes import TargetFailedError
from benchmarks.targets import Target
from forecast_grpc.cli._common import output

BARE, CONSTANT = "bare grpc.aio", "constant handler"
PRODUCT, DIRECT = "forecast-grpc", "forecast-grpc, direct lane"
PAST_HAPROXY = f"{DIRECT}, replica's port"
TUTORIAL, TUTORIAL_HTTP = "tutorial, gRPC", "tutorial, HTTP"
KSERVE, MLSERVER, TRITON = "KServe SDK", "MLServer", "Triton, Python backend"
RIVALS = {KSERVE: "kserve", MLSERVER: "mlserver", TRITON: "triton"}
"""The peers of the V2 inference protocol: the names in tables, and of their folders."""

NAMES = (TUTORIAL, TUTORIAL_HTTP, BARE, *RIVALS, CONSTANT, PRODUCT, DIRECT, PAST_HAPROXY)
"""All services, in the order of the tables."""


@contextmanager
def all_running(wanted: Sequence[str]) -> Iterator[tuple[Target, ...]]:
    """The services that are wanted, all at once: each waits while another is measured."""
    with ExitStack() as stack:
        started: dict[str, Target] = {}
        if {TUTORIAL, TUTORIAL_HTTP} & set(wanted):
            pair = stack.enter_context(targets.tutorial_twice(TUTORIAL, TUTORIAL_HTTP))
            started |= dict(zip((TUTORIAL, TUTORIAL_HTTP), pair, strict=True))
        if BARE in wanted:
            started[BARE] = stack.enter_context(targets.bare(BARE))
        for name in RIVALS.keys() & set(wanted):
            started[name] = stack.enter_context(rivals.rival(name, RIVALS[name]))
        if CONSTANT in wanted:
            started[CONSTANT] = stack.enter_context(targets.constant(CONSTANT))
        for name, lane, ways in ((PRODUCT, "off", {PRODUCT}), (DIRECT, "auto", {DIRECT, PAST_HAPROXY})):
            if ways & set(wanted):
                folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
                started[name] = stack.enter_context(
                    targets.product(name, folder, "--set", f"direct_lane={lane}")
                )
        if PAST_HAPROXY in wanted:
            started[PAST_HAPROXY] = targets.past_haproxy(started[DIRECT], PAST_HAPROXY)
        yield tuple(started[name] for name in NAMES if name in wanted)


def document(results: Results, settings: Mapping[str, object]) -> dict[str, Any]:
    """The results for programs."""
    return machine.describe() | {
        "benchmark": "comparison",
        "settings": settings,
        "medians": {name: middle(each) for name, each in results.items()},
        "alone_ratios": {
            f"{name} to {BARE}": ratio(results, name, BARE, attrgetter("alone_p50_ms"))
            for name in (PRODUCT, DIRECT)
            if name in results and BARE in results
        },
        "ratios": {
            f"{name} to {other}": ratio(results, name, other)
            for name in (PRODUCT, DIRECT, PAST_HAPROXY)
            for other in (TUTORIAL, CONSTANT, BARE, KSERVE)
            if name in results and other in results
        },
        "repetitions": {name: [asdict(each) for each in all_of] for name, all_of in results.items()},
    }


def markdown(found: Mapping[str, Any]) -> str:
    """The medians as tables of Markdown: what a service can do, and what it costs."""
    speed = [
        "| service | requests/s | p50 | p90 | p99 | p99.9 | half the rate: p50 | p99 | p99.9 | alone: p50 |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    cost = [
        "| service | replica | HAProxy or proxy | rest | client | memory |",
        "|---|---|---|---|---|---|",
    ]
    for name, of in found["medians"].items():
        loaded, half, cpu = of["loaded_ms"], of["half_rate_ms"], of["cpu_us"]
        times = [*loaded.values(), half["p50"], half["p99"], half["p99_9"], of["alone_p50_ms"]]
        speed.append(f"| {name} | {of['requests_per_s']:,.0f} | {' | '.join(f'{ms:.2f}' for ms in times)} |")
        front = cpu.get("HAProxy", 0.0) + cpu.get("proxy", 0.0)
        shares = (cpu.get("replica", 0.0), front, cpu.get("rest", 0.0), cpu["client"])
        cost.append(f"| {name} | {' | '.join(f'{us:,.0f}' for us in shares)} | {of['memory_mib']:,.0f} |")
    ratios = [_ratios("rates", found["ratios"]), _ratios("medians alone", found["alone_ratios"])]
    return "\n\n".join("\n".join(lines) for lines in (speed, *ratios, cost)) + "\n"


def _ratios(of: str, found: Mapping[str, float]) -> list[str]:
    rows = [f"| {what} | {times:.2f} |" for what, times in found.items()]
    return [f"| ratio of the {of} | |", "|---|---|", *rows]


def main(
    *,
    seconds: Annotated[float, typer.Option(min=0.1, help="Of load in each measurement.")] = 2.0,
    repetitions: Annotated[int, typer.Option(min=1, help="Measurements of each service.")] = 5,
    service: Annotated[list[str] | None, typer.Option(help="A service; may be repeated. [all]")] = None,
    folder: Annotated[
        Path, typer.Option("--output", help="Where JSON, Markdown and a plot go.")
    ] = drawing.OUTPUT,
) -> None:
    """Measures all services in turn."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with all_running(service or NAMES) as services:
            results = alternate(services, repetitions, lambda one: measure(one, seconds))
    except (TargetFailedError, WrongAnswersError) as exc:
        sys.exit(str(exc))
    found = document(results, {"seconds": seconds, "repetitions": repetitions})
    output().print(markdown(found))
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "comparison.json").write_text(json.dumps(found, indent=1) + "\n")
    (folder / "comparison.md").write_text(markdown(found))
    drawing.bars(found["medians"], folder / "comparison.svg")


if __name__ == "__main__":
    typer.run(main)
