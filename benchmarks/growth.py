"""How throughput and latency of the service grow with a request, with the customers and with a batch."""

import json
import signal
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from benchmarks import drawing, machine, many
from benchmarks.generator import WrongAnswersError, load
from benchmarks.processes import TargetFailedError, free_ports, running
from forecast_grpc.cli._common import progress
from forecast_grpc.fit import Series, fit_series
from forecast_grpc.store import FolderStore
from forecast_grpc.v1 import forecast_pb2 as pb

FAMILIES = ("trend", "theta", "ets")
"""Families whose models forecast as far as anyone asks: from the cheapest to the dearest."""

WINDOWS = (10, 30, 100, 300, 1_000, 3_000, 10_000)
HORIZONS = (1, 3, 10, 30, 100, 300, 1_000)
CUSTOMERS = (10, 100, 1_000, 10_000, 100_000)
BATCHES = (1, 10, 100, 1_000, 10_000)

_SEASON, _HORIZON = 4, 7
_NAMES = "customer-%07d"
_WINDOW = 60  # Enough for each of the families.
_CLOSED: Mapping[str, object] = {"connections": 8, "in_flight": 2}
_BATCHES: Mapping[str, object] = {"connections": 2, "in_flight": 1}


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One measurement."""

    sweep: str
    """What was varied: `observations`, `steps`, `customers` or `items`."""

    line: str
    """What was asked for: a family."""

    x: int
    """How many."""

    forecasts_per_s: float
    """Forecasts a second: requests, or items of batches."""

    p50_ms: float
    """The median latency of a request."""

    p99_ms: float
    """The 99th percentile."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """One replica behind HAProxy."""

    address: str
    """Where it listens."""

    seconds: float
    """How long a point is measured."""

    folder: Path
    """For the messages."""

    def point(self, sweep: str, line: str, x: int, **options: object) -> Point:
        """Measures one."""
        found = load({"address": self.address, "duration": f"{self.seconds}s", "timeout": "60s"}, **options)
        times = found["latency_ms"]
        return Point(
            sweep=sweep,
            line=line,
            x=x,
            forecasts_per_s=found["forecasts_per_s"],
            p50_ms=times["p50"],
            p99_ms=times["p99"],
        )

    def message(self, name: str, message: pb.ForecastRequest | pb.BatchForecastRequest) -> Path:
        """A file with an encoded message."""
        file = self.folder / name
        file.write_bytes(message.SerializeToString())
        return file


def series(length: int, seed: int = 0) -> list[float]:
    """A season of ups and downs with noise, above 0 wherever it ends."""
    steps, noise = np.arange(length), np.random.default_rng(seed).normal(size=length)
    values: list[float] = (100.0 + 10.0 * np.sin(2 * np.pi * steps / _SEASON) + noise).tolist()
    return values


def publish(store: Path, customers: int) -> None:
    """A customer of each family, and so many of several."""
    many.publish(store, _NAMES, customers)
    for family in FAMILIES:
        history = Series(values=np.array(series(10 * _WINDOW)))
        fitted = fit_series(history, family=family, horizon=_HORIZON, season_length=_SEASON)
        FolderStore(store).publish(family, fitted.encode)


@contextmanager
def serving(store: Path, seconds: float, customers: int) -> Iterator[Service]:
    """The service as it comes, with room in memory for all customers."""
    port, *others = free_ports()
    command = (str(Path(sys.executable).with_name("forecast-grpc")), "serve", "--store", str(store))
    options = ("--grpc-port", str(port), "--http-port", "0")
    room = ("--set", f"max_warm_bytes={max(2**28, 4_096 * customers)}")
    with running((*command, *options, *room), others), tempfile.TemporaryDirectory() as folder:
        yield Service(address=f"127.0.0.1:{port}", seconds=seconds, folder=Path(folder))


def windows(service: Service) -> Iterator[Point]:
    """Longer histories."""
    for family in FAMILIES:
        for length in WINDOWS:
            request = pb.ForecastRequest(sequence_data=series(max(length, 2 * _SEASON))[-length:])
            file = service.message("request", request)
            yield service.point("observations", family, length, customer=family, request_file=file, **_CLOSED)


def horizons(service: Service) -> Iterator[Point]:
    """Longer forecasts."""
    for family in FAMILIES:
        for steps in HORIZONS:
            request = pb.ForecastRequest(sequence_data=series(_WINDOW), horizon=steps)
            file = service.message("request", request)
            yield service.point("steps", family, steps, customer=family, request_file=file, **_CLOSED)


def customers(service: Service, most: int) -> Iterator[Point]:
    """More customers, each of whom is in memory, asked for alike."""
    file = service.message("request", pb.ForecastRequest(sequence_data=series(_WINDOW)))
    for count in (count for count in CUSTOMERS if count <= most):
        whom = {"customers": _NAMES, "count": count, "request_file": file}
        load({"address": service.address}, order="turn", requests=count, connections=8, in_flight=8, **whom)
        yield service.point("customers", "mixed", count, **whom, **_CLOSED)


def batches(service: Service) -> Iterator[Point]:
    """Larger batches of series of one customer."""
    for family in FAMILIES:
        for count in BATCHES:
            items = [
                pb.ForecastItem(
                    customer_id=family, request=pb.ForecastRequest(sequence_data=series(_WINDOW, seed))
                )
                for seed in range(min(count, 100))
            ]
            request = pb.BatchForecastRequest(items=items * (count // len(items)))
            # A rate needs answers, and the largest take longer than a point.
            bound = {"requests": 8} if count >= 1_000 else {}  # noqa: PLR2004
            method = {"method": "/forecast.v1.ForecastService/BatchForecast", "items": count}
            file = service.message("request", request)
            yield service.point(
                "items", family, count, customer=family, request_file=file, **method, **bound, **_BATCHES
            )


def draw(points: Sequence[Point], file: Path) -> None:
    """Forecasts a second and latencies of each sweep, over what was varied."""
    sweeps = list(dict.fromkeys(point.sweep for point in points))
    figure = drawing.figure(3.2 * len(sweeps), 6)
    axes = figure.subplots(2, len(sweeps), squeeze=False)
    for column, sweep in enumerate(sweeps):
        lines: dict[str, list[Point]] = {}
        for point in points:
            if point.sweep == sweep:
                lines.setdefault(point.line, []).append(point)
        for name, of in lines.items():
            x = [point.x for point in of]
            drawing.curve(axes[0, column], x, [point.forecasts_per_s for point in of], name)
            drawing.curve(axes[1, column], x, [point.p50_ms for point in of], name)
        axes[1, column].set_xlabel(sweep)
    axes[0, 0].set_ylabel("forecasts a second")
    axes[1, 0].set_ylabel("median latency, ms")
    axes[0, 0].legend(frameon=False)
    drawing.save(figure, file)


def markdown(found: Mapping[str, Any]) -> str:
    """A table a sweep: forecasts a second and the median latency of each line, by what was varied."""
    tables = []
    for sweep in dict.fromkeys(point["sweep"] for point in found["points"]):
        of = [point for point in found["points"] if point["sweep"] == sweep]
        lines, xs = dict.fromkeys(point["line"] for point in of), dict.fromkeys(point["x"] for point in of)
        rows = [f"| {sweep} | {' | '.join(lines)} |", f"|---|{'---|' * len(lines)}"]
        cells = {(point["line"], point["x"]): point for point in of}
        for x in xs:
            row = (cells[line, x] for line in lines)
            shown = (f"{each['forecasts_per_s']:,.0f}/s, {each['p50_ms']:.1f} ms" for each in row)
            rows.append(f"| {x:,} | {' | '.join(shown)} |")
        tables.append("\n".join(rows))
    return "\n\n".join(tables) + "\n"


def main(
    *,
    seconds: Annotated[float, typer.Option(min=0.1, help="Of load for each point.")] = 1.5,
    most: Annotated[int, typer.Option("--customers", min=10, help="Customers at most.")] = 100_000,
    store: Annotated[
        Path | None, typer.Option(help="A folder to make the store in, or one made before.")
    ] = None,
    folder: Annotated[
        Path, typer.Option("--output", help="Where JSON, Markdown and a plot go.")
    ] = drawing.OUTPUT,
) -> None:
    """Measures one replica over histories, horizons, customers and batches of growing size."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with tempfile.TemporaryDirectory(prefix="bench-") as temporary:
        used = store or Path(temporary) / "store"
        if not used.exists():
            publish(used, most)
        try:
            with serving(used, seconds, most) as service, progress() as bar:
                total = len(FAMILIES) * (len(WINDOWS) + len(HORIZONS) + len(BATCHES)) + len(CUSTOMERS)
                made = (each for sweep in (windows, horizons, batches) for each in sweep(service))
                points = list(bar.track(made, total=total))
                points += customers(service, most)
        except (TargetFailedError, WrongAnswersError) as exc:
            sys.exit(str(exc))
    settings = {"seconds": seconds, "customers": most}
    found = {"benchmark": "growth", "settings": settings, "points": [asdict(point) for point in points]}
    print(markdown(found))
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "growth.json").write_text(json.dumps(machine.describe() | found, indent=1) + "\n")
    (folder / "growth.md").write_text(markdown(found))
    draw(points, folder / "growth.svg")


if __name__ == "__main__":
    typer.run(main)
