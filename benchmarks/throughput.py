"""Unary throughput of forecast-grpc against the tutorial's deployment: see docs/benchmarks.md."""

import json
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Annotated

import typer
from rich.table import Table

from benchmarks import h2load, machine, targets
from benchmarks.h2load import Load, WrongAnswersError
from benchmarks.processes import TargetFailedError
from benchmarks.processor import Meter
from benchmarks.targets import Target
from forecast_grpc.cli._common import output, progress, table

SEQUENTIAL_REQUESTS = 400
"""Requests that are timed one by one in a repetition."""

WARM_UP_REQUESTS = 500
"""Requests before every measurement; their rate says how many requests the measurement takes."""

BASELINE, CEILING, PRODUCT = "tutorial", "constant", "forecast-grpc"
"""The names of the services: what is to be beaten, what cannot be, and ours."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """One repetition of one service."""

    requests_per_s: float
    """Under load, each answered right."""

    p50_ms: float
    """The median time of a request without any other, in milliseconds."""

    cpu_us: float
    """Processor time of all the service's processes under load, in microseconds a request."""

    busy_elsewhere: float
    """Cores that others than the service and the load generator had, the waiting services among them."""


Results = Mapping[str, Sequence[Measurement]]
"""The repetitions of each service, by its name; the n-th of all ran one after the other."""


def measure(target: Target, load: Load, seconds: float) -> Measurement:
    """One repetition: the load, then one request after the other."""
    port, answer = target.grpc_port, target.answer
    warm = h2load.requests_per_s(port, load, WARM_UP_REQUESTS, answer)
    requests = max(WARM_UP_REQUESTS, round(warm * seconds))
    meter = Meter(target.process)
    rate = h2load.requests_per_s(port, load, requests, answer)
    service_s, busy_elsewhere = meter.read()
    return Measurement(
        requests_per_s=rate,
        p50_ms=h2load.sequential_p50_ms(port, SEQUENTIAL_REQUESTS, answer),
        cpu_us=service_s / requests * 1e6,
        busy_elsewhere=busy_elsewhere,
    )


def alternate(
    services: Sequence[Target], repetitions: int, measure_one: Callable[[Target], Measurement]
) -> Results:
    """Measures each service so often, in turn, so that a busy spell of the machine meets all of them."""
    results: dict[str, list[Measurement]] = {service.name: [] for service in services}
    with progress() as bar:
        task = bar.add_task("measuring", total=repetitions * len(services))
        for repetition in range(repetitions):
            # Each goes first in turn too.
            first = repetition % len(services)
            for service in (*services[first:], *services[:first]):
                results[service.name].append(measure_one(service))
                bar.advance(task)
    for service in services:
        service.check()
    return results


def ratio(results: Results, name: str, to: str) -> float:
    """How many times the throughput of `to` a service has: the median over the repetitions."""
    pairs = zip(results[name], results[to], strict=True)
    return median(one.requests_per_s / other.requests_per_s for one, other in pairs)


def summary(results: Results) -> Table:
    """The results for people: medians over the repetitions."""
    numbers = (
        "requests/s",
        "from",
        "to",
        f"x {BASELINE}",
        f"x {CEILING}",
        "p50 alone",
        "CPU a call",
        "others",
    )
    made = table("service", *numbers, numbers=numbers)
    for name, measurements in results.items():
        rates = [each.requests_per_s for each in measurements]
        made.add_row(
            name,
            *(f"{rate:,.0f}" for rate in (median(rates), min(rates), max(rates))),
            *(f"{ratio(results, name, other):.2f}" for other in (BASELINE, CEILING)),
            f"{median(each.p50_ms for each in measurements):.2f} ms",
            f"{median(each.cpu_us for each in measurements):,.0f} us",
            f"{median(each.busy_elsewhere for each in measurements):.2f} cores",
        )
    return made


def document(results: Results, settings: Mapping[str, object]) -> dict[str, object]:
    """The results for programs."""
    return machine.describe() | {
        "benchmark": "throughput",
        "h2load": h2load.version(),
        "settings": settings,
        "ratios": {
            f"{PRODUCT} to {BASELINE}": ratio(results, PRODUCT, BASELINE),
            f"{PRODUCT} to {CEILING}": ratio(results, PRODUCT, CEILING),
        },
        "results": {name: [asdict(each) for each in measurements] for name, measurements in results.items()},
    }


@contextmanager
def all_running() -> Iterator[tuple[Target, ...]]:
    """The three services, each in a cluster of its own."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="forecast-grpc-bench-")))
        starts = (targets.tutorial(BASELINE), targets.constant(CEILING), targets.product(PRODUCT, folder))
        yield tuple(map(stack.enter_context, starts))


def main(
    *,
    seconds: Annotated[float, typer.Option(min=0.1, help="Of load, about, in each measurement.")] = 5.0,
    repetitions: Annotated[int, typer.Option(min=1, help="Measurements of each service.")] = 5,
    connections: Annotated[int, typer.Option(min=1, help="Connections of the load generator.")] = 8,
    streams: Annotated[int, typer.Option(min=1, help="Requests under way on each connection.")] = 2,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the results here too.")] = None,
) -> None:
    """Measures forecast-grpc, the tutorial's deployment and a constant handler in turn."""
    if shutil.which("h2load") is None:
        sys.exit("There is no h2load here: it comes with Debian's package nghttp2-client.")
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    load = Load(connections=connections, streams=streams)
    try:
        with all_running() as services:
            results = alternate(services, repetitions, lambda service: measure(service, load, seconds))
    except (TargetFailedError, WrongAnswersError) as exc:
        sys.exit(str(exc))
    output().print(summary(results))
    if json_file is not None:
        settings = {"seconds": seconds, "repetitions": repetitions, **asdict(load)}
        json_file.write_text(json.dumps(document(results, settings), indent=2) + "\n")


if __name__ == "__main__":
    typer.run(main)
