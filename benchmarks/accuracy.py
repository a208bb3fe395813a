"""How accurate the forecasts of every family are, on the series of a forecasting competition."""

import json
import os
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from statistics import fmean, median
from typing import Annotated

import numpy as np
import typer
from rich.table import Table

from benchmarks import machine
from benchmarks.competition import (
    DataError,
    Task,
    covered,
    mase,
    msis,
    naive2,
    owa,
    read_tasks,
    seasonal_naive,
    smape,
)
from forecast_grpc.artefact import decode
from forecast_grpc.cli._common import output, progress, table
from forecast_grpc.domain import ForecastQuery
from forecast_grpc.fit import FAMILY_CHOICES, Series, SeriesError, fit_series
from forecast_grpc.forecasting import answer

PUBLISHED = {
    "Naive2": (18.383, 2.395),
    "seasonal naive": (13.912, 1.193),
    "winner (Smyl)": (9.328, 0.893),
}
"""sMAPE and MASE on the 414 hourly series of M4 as the competition published them."""

_M4_HOURLY = (414, 24)
_REFERENCES = {"Naive2": naive2, "seasonal naive": seasonal_naive}
_LEVELS = (0.025, 0.1, 0.9, 0.975)
_NOTHING_TO_READ = (
    "Give the folder of a competition's series, with a *train*.csv and a *test*.csv: make bench "
    "BENCHMARKS=accuracy ARGS='--data DIR'. M4's are at github.com/Mcompetitions/M4-methods under Dataset: "
    "Train/Hourly-train.csv and Test/Hourly-test.csv."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One method on one series, or the means over all of them; None where the method has no such thing."""

    smape: float
    """In percent."""

    mase: float
    """Relative to the seasonal naive method in the history."""

    coverage_80: float | None = None
    """The share of what came inside the 80 % interval."""

    coverage_95: float | None = None
    """The share of what came inside the 95 % interval."""

    msis: float | None = None
    """The mean scaled interval score of the 95 % interval."""

    fit_ms: float | None = None
    """Processor time of fitting and measuring; of several series the median."""

    bytes: float | None = None
    """Size of the artefact; of several series the median."""

    chosen: str | None = None
    """The family of the model."""


Results = Mapping[str, Sequence[Result]]
"""By method, a result for each series that it can be fitted to."""


def measure(family: str, task: Task) -> Result | None:
    """A model fitted, encoded, decoded and asked to go on from there; None where the series is too short."""
    start = time.process_time()
    try:
        fitted = fit_series(
            Series(values=task.history),
            family=family,
            horizon=task.horizon,
            season_length=task.season_length,
        )
    except SeriesError:
        return None
    spent = time.process_time() - start
    data = fitted.encode(1)
    query = ForecastQuery(sequence=np.empty(0), quantile_levels=_LEVELS)
    result = answer(decode(data, task.name), query, max_horizon=task.horizon)
    low_95, low_80, high_80, high_95 = (quantile.values for quantile in result.quantiles)
    return Result(
        smape=smape(task, result.forecast),
        mase=mase(task, result.forecast),
        coverage_80=covered(task, low_80, high_80),
        coverage_95=covered(task, low_95, high_95),
        msis=msis(task, low_95, high_95),
        fit_ms=1e3 * spent,
        bytes=len(data),
        chosen=fitted.metadata.family,
    )


def measure_all(tasks: Sequence[Task], families: Sequence[str], processes: int) -> dict[str, list[Result]]:
    """The reference methods and all families on all series."""
    results = {
        name: [Result(smape=smape(task, method(task)), mase=mase(task, method(task))) for task in tasks]
        for name, method in _REFERENCES.items()
    }
    # For the new processes, before they load numpy: threads of several OpenBLAS on the same cores wait for others.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool, progress() as bar:
        for family in families:
            found = pool.map(partial(measure, family), tasks, chunksize=4)
            made = bar.track(found, total=len(tasks), description=family)
            results[family] = [result for result in made if result is not None]
    return results


def mean(results: Sequence[Result]) -> Result:
    """Means over the series; medians of times and sizes."""
    columns = {name: [getattr(each, name) for each in results] for name in asdict(results[0])}
    means = {
        name: None if None in column else fmean(column)
        for name, column in columns.items()
        if name != "chosen"
    }
    for name in ("fit_ms", "bytes"):
        means[name] = None if None in columns[name] else median(columns[name])
    return Result(**means)  # type: ignore[arg-type]  # Only what no method lacks is never None.


def shown(results: Results) -> Table:
    """The means as a table."""
    numbers = ("series", "sMAPE", "MASE", "OWA", "in 80 %", "in 95 %", "MSIS", "fit, ms", "artefact, bytes")
    made = table("method", *numbers, numbers=numbers)
    reference = asdict(mean(results["Naive2"]))
    for name, each in results.items():
        if not each:
            made.add_row(name, "0")
            continue
        found = mean(each)
        made.add_row(
            name,
            str(len(each)),
            f"{found.smape:.3f}",
            f"{found.mase:.3f}",
            f"{owa(asdict(found), reference):.3f}",
            *(
                _number(value, form)
                for value, form in (
                    (found.coverage_80, ".1%"),
                    (found.coverage_95, ".1%"),
                    (found.msis, ".2f"),
                    (found.fit_ms, ",.0f"),
                    (found.bytes, ",.0f"),
                )
            ),
        )
    return made


def _number(value: float | None, form: str) -> str:
    return "" if value is None else format(value, form)


def compared(results: Results) -> Table:
    """What M4 published beside what was measured here: that they agree says that the measures are M4's."""
    made = table("M4 hourly", "sMAPE", "here", "MASE", "here", numbers=("sMAPE", "here", "MASE"))
    for name, published in PUBLISHED.items():
        found = mean(results[name]) if name in results else None
        here = ("", "") if found is None else (f"{found.smape:.3f}", f"{found.mase:.3f}")
        made.add_row(name, f"{published[0]:.3f}", here[0], f"{published[1]:.3f}", here[1])
    return made


def document(results: Results, settings: Mapping[str, object]) -> dict[str, object]:
    """The results for programs."""
    reference = asdict(mean(results["Naive2"]))
    means = {name: asdict(mean(each)) for name, each in results.items() if each}
    return machine.describe() | {
        "benchmark": "accuracy",
        "settings": settings,
        "results": {
            name: found | {"series": len(results[name]), "owa": owa(found, reference)}
            for name, found in means.items()
        },
        "chosen": {name: _counts(each) for name, each in results.items()},
    }


def _counts(results: Sequence[Result]) -> dict[str, int]:
    chosen = [each.chosen for each in results if each.chosen]
    return {family: chosen.count(family) for family in sorted(set(chosen))}


def draw(results: Results, file: Path) -> None:
    """The OWA of every method and the coverage of its intervals, as a picture in `file`."""
    from matplotlib.figure import Figure  # noqa: PLC0415 - only a picture needs it.

    reference = asdict(mean(results["Naive2"]))
    names = [name for name, each in results.items() if each]
    means = [mean(results[name]) for name in names]
    figure = Figure(figsize=(10, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    bars = left.barh(names, [owa(asdict(each), reference) for each in means], color="#1f4e79")
    left.bar_label(bars, fmt="%.3f", padding=3)
    left.set_xlabel("OWA, less is better")
    measured = [(name, each) for name, each in zip(names, means, strict=True) if each.coverage_80 is not None]
    for level, colour in ((80, "#1f4e79"), (95, "#d9772b")):
        shares = [100.0 * getattr(each, f"coverage_{level}") for _, each in measured]
        right.scatter(shares, [name for name, _ in measured], color=colour, label=f"{level} % interval")
        right.axvline(level, color=colour, linewidth=0.8, linestyle="--")
    right.set_xlabel("outcomes inside, %")
    right.legend()
    figure.savefig(file)


def main(
    *,
    data: Annotated[Path | None, typer.Option(help="The folder with the series.")] = None,
    season_length: Annotated[int, typer.Option(min=1, help="Steps in a season.")] = 24,
    family: Annotated[list[str] | None, typer.Option(help="A family; may be repeated. [all]")] = None,
    every: Annotated[int, typer.Option(min=1, help="Take every n-th series.")] = 1,
    processes: Annotated[int, typer.Option(min=1, help="Series to fit at a time.")] = os.cpu_count() or 1,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the results here too.")] = None,
    plot: Annotated[Path | None, typer.Option(help="Draw them here, as .png or .svg.")] = None,
) -> None:
    """Fits every family to each series, and holds its forecasts against what came."""
    if data is None:
        typer.echo(_NOTHING_TO_READ)
        return
    families = family or list(FAMILY_CHOICES)
    try:
        tasks = read_tasks(data, season_length)[::every]
    except DataError as exc:
        raise SystemExit(str(exc)) from exc
    results = measure_all(tasks, families, processes)
    output().print(shown(results))
    if (len(tasks), season_length) == _M4_HOURLY:
        output().print("\n", compared(results))
    if json_file is not None:
        settings = {"season_length": season_length, "horizon": tasks[0].horizon, "every": every}
        json_file.write_text(json.dumps(document(results, settings), indent=2) + "\n")
    if plot is not None:
        draw(results, plot)


if __name__ == "__main__":
    typer.run(main)
