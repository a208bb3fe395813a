"""The picture in characters, for the terminal."""

import math
import shutil
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from forecast_grpc.cli._common import notes
from forecast_grpc.cli._picture import AXIS, Picture, draw_in, not_installed, to_file

if TYPE_CHECKING:
    from rich.console import Console

_WIDTH, _HEIGHT = 100, 22
_TICKS = 8
"""Numbers along the axis of steps, about."""

_FINE = 8
"""Points between two steps, so that a shade has no gaps."""

_BLUE, _ORANGE, _SAND = 75, 208, 180
"""Colours of the 256 that terminals know, which can be told apart on dark and light grounds."""

_SHADES = "░▒▓"


def draw(picture: Picture, console: "Console", *, plot: bool, plot_file: Path | None) -> None:
    """Draws it into the file and onto the console, as asked for. Ends the command where that cannot be."""
    if plot_file is not None:
        to_file(partial(draw_in, picture), plot_file)
        notes().print(f"Drew {plot_file}.")
    if plot:
        typer.echo(in_terminal(picture, colours=console.is_terminal), err=console.stderr)


def in_terminal(picture: Picture, *, colours: bool) -> str:
    """The picture, as wide as the terminal but not wider than 100 characters."""
    plotext = blank(_HEIGHT)
    figure = plotext.figure
    for signal in (*_shades(plotext, picture), *_lines(plotext, picture)):
        figure.draw(signal)
    figure.title(picture.title)
    figure.label(AXIS, "x")
    places = _ticks((picture.past or picture.future)[0], picture.future[-1])
    figure.ruler("x").ticks(places, [str(place) for place in places])
    text = f"{figure.build().string().rstrip()}\n{_legend(picture)}"
    return text if colours else str(plotext.uncolorize(text))


def blank(height: int) -> Any:  # noqa: ANN401 - plotext has no types.
    """The library, with an empty figure of so many lines, as wide as the terminal, at most 100 characters."""
    try:
        import plotext
    except ImportError as exc:
        raise not_installed("plotext") from exc
    figure = plotext.figure
    figure.clear()
    figure.plot_size(min(shutil.get_terminal_size((_WIDTH, height)).columns, _WIDTH), height)
    figure.theme("colorless")
    return plotext


def _shades(plotext: Any, picture: Picture) -> Iterator[Any]:  # noqa: ANN401 - plotext has no types.
    for shade, interval in zip(_SHADES, picture.intervals, strict=False):
        marker = plotext.marker(shade, _SAND)
        upper = plotext.figure.signal(*_finer(picture.future, interval.upper), marker=marker)
        lower = plotext.figure.signal(*_finer(picture.future, interval.lower), marker=marker)
        yield lower.fill(upper).density("full")


def _lines(plotext: Any, picture: Picture) -> Iterator[Any]:  # noqa: ANN401 - plotext has no types.
    for run in _runs(picture.past, picture.history):
        yield _line(plotext, *run, _BLUE)
    for _, values in picture.quantiles:
        yield plotext.figure.signal(picture.future, list(values), marker=plotext.marker("·", _SAND))
    yield _line(plotext, picture.future, picture.forecast, _ORANGE)


def _line(plotext: Any, steps: Sequence[int], values: Sequence[float], colour: int) -> Any:  # noqa: ANN401
    marker = plotext.marker("braille", colour)
    return plotext.figure.signal(list(steps), list(values), marker=marker).lines().density("full")


def _runs(steps: Sequence[int], values: Sequence[float]) -> Iterator[tuple[list[int], list[float]]]:
    """The stretches without a missing value."""
    run: tuple[list[int], list[float]] = ([], [])
    for step, value in zip(steps, values, strict=True):
        if math.isfinite(value):
            run[0].append(step)
            run[1].append(value)
        elif run[0]:
            yield run
            run = ([], [])
    if run[0]:
        yield run


def _finer(steps: Sequence[int], values: Sequence[float]) -> tuple[list[float], list[float]]:
    """The same broken line, with more points on it."""
    fine = [k / _FINE for k in range(_FINE * (len(steps) - 1) + 1)]
    between = [_between(values, place) for place in fine]
    return [steps[0] + place for place in fine], between


def _between(values: Sequence[float], place: float) -> float:
    before = int(place)
    after = min(before + 1, len(values) - 1)
    return values[before] + (place - before) * (values[after] - values[before])


def _ticks(first: int, last: int) -> list[int]:
    """Round steps from the first to the last, with the last observation, 0, among them."""
    rough = max(1, (last - first) / _TICKS)
    power = 10 ** int(math.log10(rough))
    spacing = next(power * nice for nice in (1, 2, 5, 10) if power * nice >= rough)
    return [step for step in range(first, last + 1) if step % spacing == 0]


def _legend(picture: Picture) -> str:
    entries = [("⠒⠒", _BLUE, "history")] if picture.history else []
    entries.append(("⠒⠒", _ORANGE, "forecast"))
    entries += [
        (shade * 2, _SAND, interval.label)
        for shade, interval in zip(_SHADES, picture.intervals, strict=False)
    ]
    entries += [("··", _SAND, label) for label, _ in picture.quantiles]
    return "  " + "   ".join(f"{typer.style(sign, fg=colour)} {label}" for sign, colour, label in entries)
