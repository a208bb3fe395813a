"""What a second replica adds on one machine, what each hop takes, and how steady half of the capacity is."""

import json
import signal
import sys
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from benchmarks import drawing, machine, targets
from benchmarks.cores import housekeeping_aside, one_aside
from benchmarks.generator import WrongAnswersError, load
from benchmarks.measuring import IN_FLIGHT, Results, alternate, measure, middle, ratio
from benchmarks.processes import TargetFailedError
from benchmarks.targets import Target
from forecast_grpc.cli._common import output

REPLICAS = (1, 2)
"""Replicas of the services."""

CUSTOMERS = 100
"""Customers of the load, so that both replicas have some."""


def started(stack: ExitStack) -> tuple[Target, ...]:
    """The service with one replica and with two, asked for many customers."""
    services = []
    for replicas in REPLICAS:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
        names = [f"spread-{number:03d}" for number in range(CUSTOMERS)]
        options = ("--num-replicas", str(replicas), "--set", "num_cpus_per_replica=0.5")
        made = targets.product(f"{replicas} of 2", folder, *options, more=names)
        services.append(targets.spread(stack.enter_context(made), names))
    return tuple(services)


def steady(target: Target, rate: float, seconds: float) -> dict[str, Any]:
    """An open loop at this rate: all of what the generator says."""
    return load(target.options, connections=target.lanes, rate=rate, duration=f"{seconds}s", poisson="true")


def half(seconds: float, *options: str) -> dict[str, Any]:
    """One replica, alone on the machine, at half of what it carries with these options of `serve`."""
    with ExitStack() as stack:
        store = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
        service = stack.enter_context(targets.product("1 alone", store, *options))
        full = {"connections": service.lanes, "in_flight": IN_FLIGHT // service.lanes}
        most = load(service.options, **full, duration="5s", warm_up="1s")
        return steady(service, most["requests_per_s"] / 2, seconds)


def halves(seconds: float) -> dict[str, Any]:
    """As the service comes; with a core of its own; and with that while the machine's housekeeping has to wait."""
    found = {"as it comes": half(seconds)}
    with one_aside() as core:
        alone = ("--replica-cores", str(core))
        found["on a core of its own"] = half(seconds, *alone)
        with housekeeping_aside() as threads:
            if threads:
                found["on a core of its own with the machine's housekeeping aside"] = half(seconds, *alone)
    return found


def markdown(found: Mapping[str, Any]) -> str:
    """Rates, processor time by hop, and the steady load."""
    rows = [
        "| replicas | requests/s | p50 | p99 | µs a request: replicas | HAProxy | client | others, cores |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, of in found["medians"].items():
        cpu, times = of["cpu_us"], of["loaded_ms"]
        shares = (cpu["replica"], cpu.get("HAProxy", 0.0), cpu["client"])
        rows.append(
            f"| {name.partition(' ')[0]} | {of['requests_per_s']:,.0f} | {times['p50']:.2f} ms "
            f"| {times['p99']:.2f} ms | {' | '.join(f'{us:,.0f}' for us in shares)} "
            f"| {of['busy_elsewhere']:.2f} |"
        )
    rows.append(f"\nTwo replicas to one: {found['ratio']:.2f}.")
    for name, of in found["steady"].items():
        times, settings = of["latency_ms"], of["settings"]
        rows.append(
            f"\nOne replica {name} at half of its capacity, {settings['rate']:,.0f} requests a second at random "
            f"times, {of['seconds']:.0f} s: p50 {times['p50']:.2f} ms, p90 {times['p90']:.2f} ms, "
            f"p99 {times['p99']:.2f} ms, p99.9 {times['p99_9']:.2f} ms, maximum {times['max']:.1f} ms; p99 is "
            f"{times['p99'] / times['p50']:.1f} times the p50."
        )
    return "\n".join(rows) + "\n"


def document(results: Results, last: Mapping[str, Any], settings: Mapping[str, object]) -> dict[str, Any]:
    """The results for programs."""
    one, two = results
    return machine.describe() | {
        "benchmark": "capacity",
        "settings": settings,
        "medians": {name: middle(each) for name, each in results.items()},
        "ratio": ratio(results, two, one),
        "steady": last,
        "repetitions": {name: [asdict(each) for each in all_of] for name, all_of in results.items()},
    }


def main(
    *,
    seconds: Annotated[float, typer.Option(min=0.1, help="Of load in each measurement.")] = 2.0,
    repetitions: Annotated[int, typer.Option(min=1, help="Measurements of each service.")] = 5,
    steady_seconds: Annotated[
        float, typer.Option("--steady", min=0.0, help="Of load at half of one replica's capacity.")
    ] = 300.0,
    folder: Annotated[Path, typer.Option("--output", help="Where JSON and Markdown go.")] = drawing.OUTPUT,
) -> None:
    """Measures one replica and two in turn, then one at half of its capacity, and that on a core of its own."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with ExitStack() as stack:
            services = started(stack)
            results = alternate(services, repetitions, lambda one: measure(one, seconds))
        last = halves(steady_seconds) if steady_seconds else {}
    except (TargetFailedError, WrongAnswersError, ValueError) as exc:
        sys.exit(str(exc))
    found = document(results, last, {"seconds": seconds, "repetitions": repetitions})
    output().print(markdown(found))
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "capacity.json").write_text(json.dumps(found, indent=1) + "\n")
    (folder / "capacity.md").write_text(markdown(found))


if __name__ == "__main__":
    typer.run(main)
