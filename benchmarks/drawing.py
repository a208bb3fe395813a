"""The plots of the benchmarks, small enough to be kept with the documentation."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

OUTPUT = Path(__file__).parent.parent / "build" / "benchmarks"
"""Where results go unless another folder is named."""

BLUE, ORANGE = "#1f4e79", "#d9772b"
"""Ours, and everything else."""


def figure(width: float, height: float) -> "Figure":
    """An empty figure whose text stays text: a tenth of the bytes, and searchable."""
    import matplotlib as mpl  # noqa: PLC0415 - only a picture needs it.
    from matplotlib.figure import Figure  # noqa: PLC0415

    mpl.rcParams["svg.fonttype"] = "none"
    mpl.rcParams["svg.hashsalt"] = "forecast-grpc"
    return Figure(figsize=(width, height), layout="constrained")


def save(made: "Figure", file: Path) -> None:
    """Writes an SVG that is the same for the same results."""
    made.savefig(file, metadata={"Date": None})


def bars(medians: Mapping[str, Mapping[str, Any]], file: Path) -> None:
    """Requests a second, and the latency at half of that, of each service."""
    made = figure(10, 0.4 * len(medians) + 1)
    left, right = made.subplots(1, 2, sharey=True)
    names = list(medians)[::-1]
    colours = [BLUE if name.startswith("forecast-grpc") else ORANGE for name in names]
    rates = left.barh(names, [medians[name]["requests_per_s"] for name in names], color=colours)
    left.bar_label(rates, fmt="{:,.0f}", padding=3)
    left.set_xlabel("requests a second, 16 under way")
    left.margins(x=0.15)
    for quantile, marker in (("p50", "o"), ("p99", "s"), ("p99_9", "^")):
        values = [medians[name]["half_rate_ms"][quantile] for name in names]
        right.scatter(values, names, marker=marker, color="0.25", label=quantile.replace("_", "."))
    right.set(xscale="log", xlabel="milliseconds, at half of that rate")
    right.legend(frameon=False)
    for axes in (left, right):
        tidy(axes)
    save(made, file)


def curve(axes: "Axes", x: Sequence[float], y: Sequence[float], label: str) -> None:
    """A line over logarithmic axes, each point marked."""
    axes.plot(x, y, marker="o", markersize=3, linewidth=1.4, label=label)
    axes.set(xscale="log", yscale="log")
    tidy(axes)


def tidy(axes: "Axes") -> None:
    """A light grid, and no frame."""
    axes.grid(color="0.92")
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
