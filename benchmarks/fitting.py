"""What `forecast-grpc fit` takes for many customers: time, processor time and memory, from table to store."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import numpy as np
import psutil
import pyarrow as pa
import typer
from pyarrow import parquet
from rich.console import Console
from rich.table import Table

from benchmarks.machine import describe

DAYS = 365
"""Observations of a customer."""

_BATCH = 1_000  # Customers that are written at a time.
_SAMPLE_S = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One run of the command."""

    what: str
    """Which it was."""

    seconds: float
    """On the clock, from the start of the command to its end."""

    cpu_s: float
    """Processor time of the command and all that it started."""

    peak_mib: float
    """The most memory of all of them together, shared pages counted once."""

    driver_mib: float
    """The most memory of the command's own process, shared pages counted in part."""

    busy_elsewhere: float
    """Cores that everyone else on the machine kept busy meanwhile."""


def write_table(path: Path, customers: int) -> None:
    """Daily sales with a week's season, a wandering level and noise, each of another size for each customer."""
    rng, days = np.random.default_rng(0), np.arange(DAYS)
    dates = np.datetime64("2025-01-01") + days
    with parquet.ParquetWriter(path, _schema()) as writer:
        for start in range(0, customers, _BATCH):
            count = min(_BATCH, customers - start)
            level, size = 50.0 + 100.0 * rng.random((count, 1)), rng.random((3, count, 1))
            week = np.sin(2.0 * np.pi * (days / 7.0 + rng.random((count, 1))))
            drift = rng.normal(size=(count, DAYS)).cumsum(axis=1)
            values = level * (1.0 + 0.4 * size[0] * week) + 2.0 * size[1] * drift
            values += 10.0 * size[2] * rng.normal(size=(count, DAYS))
            names = np.repeat([f"customer-{start + number:06d}" for number in range(count)], DAYS)
            columns = [names, np.tile(dates, count), values.ravel().round(2)]
            writer.write_table(pa.table(columns, _schema()))


def _schema() -> pa.Schema:
    return pa.schema([("customer", pa.string()), ("date", pa.date32()), ("sales", pa.float64())])


def measured(what: str, command: Sequence[str]) -> Run:
    """Runs the command. Raises CalledProcessError where it fails."""
    before, start = _machine_s(), time.perf_counter()
    cpu_s: dict[int, float] = {}
    peak, own = 0.0, 0.0
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        root = psutil.Process(process.pid)
        while process.poll() is None:
            sizes = [_sample(each, cpu_s) for each in _family(root)]
            peak, own = max(peak, sum(sizes)), max(own, sizes[0] if sizes else 0.0)
            with suppress(subprocess.TimeoutExpired):
                process.wait(_SAMPLE_S)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)
    seconds, ours = time.perf_counter() - start, sum(cpu_s.values())
    return Run(
        what=what,
        seconds=seconds,
        cpu_s=ours,
        peak_mib=peak / 2**20,
        driver_mib=own / 2**20,
        busy_elsewhere=max(0.0, _machine_s() - before - ours) / seconds,
    )


def _family(root: psutil.Process) -> list[psutil.Process]:
    with suppress(psutil.NoSuchProcess):
        return [root, *root.children(recursive=True)]
    return []


def _sample(process: psutil.Process, cpu_s: dict[int, float]) -> float:
    """The process's memory in bytes; notes its processor time, which is the last word on those that end."""
    with suppress(psutil.NoSuchProcess, psutil.ZombieProcess, psutil.AccessDenied):
        times = process.cpu_times()
        cpu_s[process.pid] = times.user + times.system
        return float(getattr(process.memory_full_info(), "pss", 0.0))
    return 0.0


def _machine_s() -> float:
    times = psutil.cpu_times()
    # Stolen and waiting time is nobody's.
    return float(times.user + times.nice + times.system + times.irq + times.softirq)


def shown(runs: Sequence[Run], customers: int, family: str) -> Table:
    """The runs as a table."""
    table = Table(
        title=f"fit --family {family}: {customers:,} customers of {DAYS} days, {os.cpu_count()} cores"
    )
    for heading in (
        "run",
        "seconds",
        "customers/s",
        "CPU, s",
        "peak, MiB",
        "of it the driver",
        "others, cores",
    ):
        table.add_column(heading, justify="left" if heading == "run" else "right")
    for run in runs:
        sizes = f"{run.peak_mib:,.0f}", f"{run.driver_mib:,.0f}"
        speed = f"{run.seconds:.1f}", f"{customers / run.seconds:,.0f}", f"{run.cpu_s:.1f}"
        table.add_row(run.what, *speed, *sizes, f"{run.busy_elsewhere:.2f}")
    return table


def main(
    customers: Annotated[int, typer.Option(min=1)] = 2_000,
    family: str = "theta",
    processes: Annotated[int | None, typer.Option(min=1)] = None,
    folder: Annotated[Path | None, typer.Option(help="Where table and store lie while it runs.")] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="Where the results go.")] = None,
) -> None:
    """Fits a table of its own making, then once more, when nothing is left to do."""
    with TemporaryDirectory(dir=folder) as temporary:
        table = Path(temporary) / "sales.parquet"
        write_table(table, customers)
        fit = [str(Path(sys.executable).with_name("forecast-grpc")), "fit", str(table), "--family", family]
        command = [
            *fit,
            "--store",
            f"{temporary}/store",
            *(["--processes", str(processes)] if processes else []),
        ]
        runs = [measured(what, command) for what in ("all to fit", "nothing left to fit")]
        # Now: to delete a store of a hundred thousand folders takes minutes.
        Console(width=120).print(shown(runs, customers, family))
        if json_file:
            facts = {
                "customers": customers,
                "days": DAYS,
                "family": family,
                "runs": [asdict(run) for run in runs],
            }
            json_file.write_text(json.dumps(describe() | facts, indent=2) + "\n")


if __name__ == "__main__":
    typer.run(main)
