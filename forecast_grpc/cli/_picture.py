"""History, forecast and intervals as a picture, and that picture in a file."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

from forecast_grpc.cli._common import CommandFailed, ExitCode
from forecast_grpc.v1.forecast_pb2 import ForecastResponse

if TYPE_CHECKING:
    from matplotlib.figure import Figure

AXIS = "steps from the last observation"
"""What the steps of a picture are counted from."""

_BLUE, _ORANGE = "#1f4e79", "#d9772b"
_SUFFIXES = (".png", ".svg")


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """Two quantiles that lie as far from the median, one on each side."""

    coverage: float
    """The share of outcomes expected between them, above 0 and below 1."""

    lower: Sequence[float]
    """One value a step."""

    upper: Sequence[float]
    """One value a step."""

    @property
    def label(self) -> str:
        """As a legend names it."""
        return f"{100 * self.coverage:.3g} % interval"


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """What is to be drawn."""

    title: str
    """The customer and the model."""

    history: Sequence[float]
    """Observations, oldest first, NaN where missing: the last of those that the forecast was made from."""

    forecast: Sequence[float]
    """The point forecast, one value a step."""

    intervals: tuple[Interval, ...] = ()
    """The widest first."""

    quantiles: tuple[tuple[str, Sequence[float]], ...] = ()
    """Quantiles without a counterpart, by their labels."""

    @classmethod
    def of(cls, response: ForecastResponse, history: Sequence[float]) -> Self:
        """The picture of an answer. Of a long history the end is shown: five horizons, and at least 60 steps."""
        shown = max(60, 5 * len(response.forecast))
        levels = {each.level: list(each.values) for each in response.quantiles}
        pairs = {low: _counterpart(low, levels) for low in sorted(levels) if low < 0.5}  # noqa: PLR2004
        paired = {low: high for low, high in pairs.items() if high is not None}
        single = sorted(set(levels) - set(paired) - set(paired.values()))
        return cls(
            title=f"{response.customer_id}: {response.model.family}, version {response.model.version}",
            history=list(history[-shown:]),
            forecast=list(response.forecast),
            intervals=tuple(
                Interval(coverage=high - low, lower=levels[low], upper=levels[high])
                for low, high in paired.items()
            ),
            quantiles=tuple((f"quantile {level:g}", levels[level]) for level in single),
        )

    @property
    def past(self) -> list[int]:
        """The steps of the history: the last one is 0."""
        return list(range(1 - len(self.history), 1))

    @property
    def future(self) -> list[int]:
        """The steps of the forecast, from 1."""
        return list(range(1, len(self.forecast) + 1))


def _counterpart(low: float, levels: dict[float, list[float]]) -> float | None:
    return next((high for high in levels if math.isclose(low + high, 1, abs_tol=1e-9)), None)


def require_suffix(path: Path) -> None:
    """Ends the command where the file's name is not one of a picture."""
    if path.suffix.lower() not in _SUFFIXES:
        raise CommandFailed(f"A picture goes into a .png or .svg file, not into {path}.", ExitCode.USAGE)


def to_file(draw: Callable[["Figure"], None], path: Path) -> None:
    """Has a figure drawn, and puts it into a file. Ends the command where that cannot be."""
    try:
        from matplotlib.figure import Figure
    except ImportError as exc:
        raise not_installed("matplotlib") from exc
    figure = Figure(figsize=(9, 4.5), dpi=150, layout="constrained")
    draw(figure)
    try:
        figure.savefig(path)
    except OSError as exc:
        raise CommandFailed(f"{path} cannot be written: {exc.strerror}.") from exc


def draw_in(picture: Picture, figure: "Figure") -> None:
    """Draws the picture in an empty figure."""
    from matplotlib.ticker import MaxNLocator

    axes = figure.add_subplot()
    past, future = picture.past, picture.future
    if past:
        axes.plot(past, picture.history, color=_BLUE, linewidth=1.5, label="history")
        axes.axvline(0.5, color="0.6", linewidth=0.8, linestyle=":")
    for place, interval in enumerate(picture.intervals):
        alpha = 0.18 + 0.12 * place
        axes.fill_between(
            future,
            interval.lower,
            interval.upper,
            color=_ORANGE,
            alpha=alpha,
            linewidth=0,
            label=interval.label,
        )
    for label, values in picture.quantiles:
        axes.plot(future, values, color=_ORANGE, linewidth=1, linestyle="--", label=label)
    axes.plot(
        future, picture.forecast, color=_ORANGE, linewidth=1.8, marker="o", markersize=3, label="forecast"
    )
    axes.set(title=picture.title, xlabel=AXIS, ylabel="value")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(color="0.92")
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, loc="best")


def not_installed(library: str) -> CommandFailed:
    """The end of a command that wants a picture without the library that draws it."""
    return CommandFailed(f"A picture needs {library}: pip install 'forecast-grpc[plot]'.")
