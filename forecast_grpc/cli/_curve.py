"""Hit rate against the size of the cache as a picture: in the terminal, and in a file."""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from forecast_grpc.cli._advice import size
from forecast_grpc.cli._terminal import blank
from forecast_grpc.usage import Curve

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TITLE = "% of requests whose model is in memory, by the room in each replica"
"""Of both pictures."""

_HEIGHT = 18
_BLUE, _ORANGE = 75, 208
_MAX_TICKS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class CurvePicture:
    """What is to be drawn."""

    curve: Curve
    """Sizes in bytes, and the share of the requests that each would answer."""

    now: float
    """The size as it is, in bytes."""

    advised: float | None
    """The size that is recommended, in bytes."""

    @property
    def marks(self) -> dict[str, float]:
        """The sizes to mark."""
        return {"now": self.now} | ({} if self.advised is None else {"recommended": self.advised})

    @property
    def ticks(self) -> list[int]:
        """Round sizes along the axis: powers of two, by their exponents."""
        ends = (self.curve[0][0], self.curve[-1][0], *self.marks.values())
        first, last = math.floor(math.log2(max(min(ends), 1))), math.ceil(math.log2(max(ends)))
        return list(range(first, last + 1, max(1, math.ceil((last - first) / _MAX_TICKS))))


def in_terminal(picture: CurvePicture, *, colours: bool) -> str:
    """The picture, as wide as the terminal but not wider than 100 characters."""
    plotext = blank(_HEIGHT)
    figure = plotext.figure
    places = [math.log2(nbytes) for nbytes, _ in picture.curve]
    rates = [100 * rate for _, rate in picture.curve]
    for sign, place in zip("│┃", picture.marks.values(), strict=False):
        line = figure.signal([math.log2(place)] * 2, [0, 100], marker=plotext.marker(sign, _ORANGE))
        figure.draw(line.lines())
    figure.draw(figure.signal(places, rates, marker=plotext.marker("braille", _BLUE)).lines())
    figure.title(TITLE)
    figure.ruler("x").ticks(picture.ticks, [size(2.0**power) for power in picture.ticks])
    legend = "   ".join(f"{sign} {name}" for sign, name in zip("│┃", picture.marks, strict=False))
    text = f"{figure.build().string().rstrip()}\n  {legend}"
    return text if colours else str(plotext.uncolorize(text))


def draw_in(picture: CurvePicture, figure: "Figure") -> None:
    """Draws the picture in an empty figure."""
    axes = figure.add_subplot()
    sizes, rates = zip(*picture.curve, strict=True)
    axes.plot(sizes, [100 * rate for rate in rates], color="#1f4e79", linewidth=1.8, label="LRU")
    for style, (name, place) in zip((":", "--"), picture.marks.items(), strict=False):
        axes.axvline(place, color="#d9772b", linewidth=1.2, linestyle=style, label=name)
    axes.set_xscale("log", base=2)
    axes.set_xticks([2.0**power for power in picture.ticks], [size(2.0**power) for power in picture.ticks])
    axes.set(title=TITLE, xlabel="bytes of models in each replica", ylabel="%", ylim=(0, 100))
    axes.grid(color="0.92")
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, loc="lower right")
