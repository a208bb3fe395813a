"""Each second of a load, drawn: requests a second, and how long they took."""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from forecast_grpc.cli._common import CommandFailed
from forecast_grpc.cli._picture import not_installed

_WIDTH, _HEIGHT = 100, 16

Points = Sequence[Mapping[str, Any]]
"""What the load generator says of each second."""


def _full(points: Points) -> Points:
    """Without what came after the end of the load: fewer than a second's."""
    return points[:-1] if len(points) > 1 else points


def to_file(points: Points, path: Path) -> None:
    """Draws them into a file. Ends the command where that cannot be."""
    try:
        from matplotlib.figure import Figure
    except ImportError as exc:
        raise not_installed("matplotlib") from exc
    figure = Figure(figsize=(9, 5), dpi=150, layout="constrained")
    rates, times = figure.subplots(2, 1, sharex=True)
    seconds = [point["second"] for point in _full(points)]
    for name, axes, labels in (
        ("requests a second", rates, {"ok": "answered", "failed": "failed"}),
        ("milliseconds", times, {"p50_ms": "p50", "p99_ms": "p99", "max_ms": "max"}),
    ):
        for key, label in labels.items():
            axes.plot(seconds, [point[key] for point in _full(points)], label=label, linewidth=1.4)
        axes.set(ylabel=name)
        axes.grid(color="0.92")
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False)
    times.set(xlabel="seconds", yscale="log")
    try:
        figure.savefig(path)
    except OSError as exc:
        raise CommandFailed(f"{path} cannot be written: {exc.strerror}.") from exc


def in_terminal(points: Points) -> str:
    """The median and the 99th percentile of each second, as wide as the terminal."""
    try:
        import plotext
    except ImportError as exc:
        raise not_installed("plotext") from exc
    figure = plotext.figure
    figure.clear()
    figure.plot_size(min(shutil.get_terminal_size((_WIDTH, _HEIGHT)).columns, _WIDTH), _HEIGHT)
    figure.theme("colorless")
    seconds = [point["second"] for point in _full(points)]
    for key, marker in (("p50_ms", "⠒"), ("p99_ms", "^")):
        values = [point[key] for point in _full(points)]
        figure.draw(figure.signal(seconds, values, marker=plotext.marker(marker, 0)))
    figure.label("seconds", "x")
    return f"{plotext.uncolorize(figure.build().string()).rstrip()}\n  ⠒ p50, ms   ^ p99, ms"
