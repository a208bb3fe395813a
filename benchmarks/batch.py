"""Batches and streams against the unary calls of a bare server with the same arithmetic.

See docs/benchmarks.md.
"""

import json
import signal
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from itertools import cycle
from pathlib import Path
from statistics import median
from typing import Annotated

import typer

from benchmarks import machine
from benchmarks.batch_cases import Case, Measurement, cases
from benchmarks.generator import WrongAnswersError
from benchmarks.processes import TargetFailedError
from forecast_grpc.cli._common import output, progress, table

Results = Mapping[str, Sequence[Measurement]]
"""The repetitions of each case, by its name."""


def ratio(results: Results, case: Case) -> float:
    """How many times the forecasts a second of its baseline a case has: the median over the repetitions."""
    pairs = zip(results[case.name], results[case.baseline], strict=True)
    return median(one.forecasts_per_s / other.forecasts_per_s for one, other in pairs)


def alternate(all_cases: Sequence[Case], repetitions: int, seconds: float) -> Results:
    """Measures each case so often, in turn."""
    results: dict[str, list[Measurement]] = {case.name: [] for case in all_cases}
    with progress() as bar:
        task = bar.add_task("measuring", total=repetitions * len(all_cases))
        for _, case in zip(range(repetitions * len(all_cases)), cycle(all_cases), strict=False):
            results[case.name].append(case.measure(seconds))
            bar.advance(task)
    return results


def main(
    *,
    seconds: Annotated[float, typer.Option(min=0.1, help="Of load, about, in each measurement.")] = 2.0,
    repetitions: Annotated[int, typer.Option(min=1, help="Measurements of each case.")] = 5,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the results here too.")] = None,
) -> None:
    """Measures batches and streams, and the unary calls of a bare server with the same arithmetic, in turn."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with cases() as all_cases:
            results = alternate(all_cases, repetitions, seconds)
    except (TargetFailedError, WrongAnswersError) as exc:
        sys.exit(str(exc))
    numbers = ("forecasts/s", "from", "to", "x bare", "CPU a forecast")
    made = table("", *numbers, numbers=numbers)
    for case in all_cases:
        rates = [each.forecasts_per_s for each in results[case.name]]
        cells = [f"{rate:,.0f}" for rate in (median(rates), min(rates), max(rates))]
        cpu = f"{median(each.cpu_us for each in results[case.name]):,.1f} us"
        made.add_row(case.name, *cells, f"{ratio(results, case):.1f}", cpu)
    output().print(made)
    if json_file is not None:
        found = {
            "benchmark": "batch",
            "settings": {"seconds": seconds, "repetitions": repetitions},
            "ratios": {case.name: ratio(results, case) for case in all_cases},
            "results": {name: [asdict(each) for each in some] for name, some in results.items()},
        }
        json_file.write_text(json.dumps(machine.describe() | found, indent=2) + "\n")


if __name__ == "__main__":
    typer.run(main)
