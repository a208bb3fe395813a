"""How the customers' errors are spread, in characters, for the terminal."""

from forecast_grpc.cli._picture import not_installed
from forecast_grpc.cli._tally import Tally, bins
from forecast_grpc.cli._terminal import blank

_HEIGHT = 14
_BLUE = 75
_TICKS = 5
"""Bins between two numbers along the axis."""


def require() -> None:
    """Ends the command where there is nothing to draw with: now, not when all is fitted."""
    try:
        import plotext as _  # noqa: F401
    except ImportError as exc:
        raise not_installed("plotext") from exc


def in_terminal(tally: Tally, *, colours: bool) -> str:
    """The customers by their error against the seasonal naive method, as wide as the terminal, at most 100."""
    plotext = blank(_HEIGHT)
    starts, counts = bins(tally.whole.errors["relative_mae"])
    figure = plotext.figure
    marker = plotext.marker("full", _BLUE)
    figure.draw(figure.bar(range(len(starts)), counts, marker=marker, width=0.8))
    figure.title("customers by error against seasonal naive (1: as large)")
    places = list(range(0, len(starts), _TICKS))
    # A bar stands in the middle of its bin.
    names = [f"{starts[place]:g}" for place in places[:-1]] + [f"{starts[places[-1]]:g}+"]
    figure.ruler("x").ticks([place - 0.5 for place in places[:-1]] + [places[-1]], names)
    text = str(figure.build().string().rstrip())
    return text if colours else str(plotext.uncolorize(text))
