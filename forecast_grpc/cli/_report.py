"""The report of a fit in a file: as a picture, as a page with tables, or as JSON."""

import html
import io
import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from forecast_grpc.cli._common import CommandFailed, ExitCode
from forecast_grpc.cli._picture import not_installed
from forecast_grpc.cli._tally import MEASURES, FamilyTally, Tally, bins

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_PICTURES = (".png", ".svg")
_SUFFIXES = (".html", ".json", *_PICTURES)

_AXES = {"mase": "MASE", "relative_mae": "error against seasonal naive, from the same origins"}
"""What is drawn, with its name: on both axes 1 is as good as the seasonal naive method."""

_STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}"
    "table{border-collapse:collapse;margin:1rem 0}"
    "th,td{padding:.2rem .8rem;text-align:right;border-bottom:1px solid #ddd}"
    "th:first-child,td:first-child{text-align:left}svg{max-width:100%;height:auto}"
)


def require(path: Path) -> None:
    """Ends the command where no report can be written there: now, not when all is fitted."""
    if path.suffix.lower() not in _SUFFIXES:
        wanted = ", ".join(_SUFFIXES)
        raise CommandFailed(
            f"A report goes into a file that ends in {wanted}, not into {path}.", ExitCode.USAGE
        )
    if not path.parent.is_dir():
        raise CommandFailed(f"{path} cannot be written: there is no folder {path.parent}.")
    if path.suffix.lower() != ".json":
        try:
            import matplotlib as _  # noqa: F401
        except ImportError as exc:
            raise not_installed("matplotlib") from exc


def write(tally: Tally, path: Path, title: str) -> None:
    """Writes the report; the file's name says in which form. Ends the command where it cannot be written."""
    suffix = path.suffix.lower()
    try:
        if suffix == ".json":
            path.write_text(json.dumps(facts(tally), indent=1, ensure_ascii=False) + "\n", "utf-8")
        elif suffix == ".html":
            path.write_text(page(tally, title), "utf-8")
        else:
            _figure(tally, title).savefig(path)
    except OSError as exc:
        raise CommandFailed(f"{path} cannot be written: {exc.strerror}.") from exc


def facts(tally: Tally) -> dict[str, Any]:
    """The report for programs."""
    return {
        "customers": tally.whole.customers + len(tally.failed),
        "unchanged": tally.unchanged,
        "families": {name: _family(family) for name, family in sorted(tally.families.items())},
        "all": _family(tally.whole),
        "worst": [
            {
                "customer_id": each.customer_id,
                "family": each.family,
                "mase": each.mase,
                "relative_mae": None if math.isnan(each.relative_mae) else each.relative_mae,
            }
            for each in tally.worst
        ],
        "failed": [{"customer_id": customer_id, "error": error} for customer_id, error in tally.failed],
    }


def _family(family: FamilyTally) -> dict[str, Any]:
    medians = {f"median_{name}": family.median(name) for name in MEASURES}
    known = {
        key: value for key, value in (medians | {"better": family.better}).items() if not math.isnan(value)
    }
    histograms = {name: bins(family.errors[name])[1] for name in _AXES}
    return {
        "customers": family.customers,
        "horizons": sorted(family.horizons),
        "season_lengths": sorted(family.season_lengths),
        **known,
        "histograms": {"from": [round(start, 9) for start in bins(())[0]], **histograms},
    }


def page(tally: Tally, title: str) -> str:
    """The report for people: a page that needs nothing from elsewhere."""
    picture = io.StringIO()
    _figure(tally, "").savefig(picture, format="svg")
    drawn = picture.getvalue()
    families = [(name, *_cells(family)) for name, family in sorted(tally.families.items())]
    heads = ("family", "customers", "median MASE", "median sMAPE, %", "against naive", "better than naive, %")
    worst = [(each.customer_id, each.family, each.mase, each.relative_mae) for each in tally.worst]
    parts = [
        f"<h1>{html.escape(title)}</h1>",
        _table(heads, [*families, ("all", *_cells(tally.whole))]),
        # An XML declaration has no place within a page.
        drawn[drawn.index("<svg") :],
        "<h2>The worst</h2>" + _table(("customer", "family", "MASE", "against naive"), worst)
        if worst
        else "",
        f"<h2>Not fitted: {len(tally.failed)}</h2>" + _table(("customer", "reason"), tally.failed)
        if tally.failed
        else "",
    ]
    head = f'<meta charset="utf-8"><title>{html.escape(title)}</title><style>{_STYLE}</style>'
    return (
        f'<!doctype html>\n<html lang="en"><head>{head}</head>\n<body>\n'
        + "\n".join(parts)
        + "\n</body></html>\n"
    )


def _cells(family: FamilyTally) -> tuple[int | float, ...]:
    return (family.customers, *(family.median(name) for name in MEASURES), 100.0 * family.better)


def _table(heads: tuple[str, ...], rows: "list[tuple[Any, ...]] | list[tuple[str, str]]") -> str:
    head = "".join(f"<th>{html.escape(each)}</th>" for each in heads)
    body = "\n".join(f"<tr>{''.join(f'<td>{_cell(each)}</td>' for each in row)}</tr>" for row in rows)
    return f"<table>\n<tr>{head}</tr>\n{body}\n</table>"


def _cell(value: str | float) -> str:
    if isinstance(value, float):
        return "-" if math.isnan(value) else f"{value:.3f}"
    return html.escape(str(value))


def _figure(tally: Tally, title: str) -> "Figure":
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4.2), dpi=150, layout="constrained")
    for axes, (name, label) in zip(figure.subplots(1, 2), _AXES.items(), strict=True):
        _draw(axes, tally, name)
        axes.set(xlabel=label, ylabel="customers")
    if title:
        figure.suptitle(title)
    return figure


def _draw(axes: "Axes", tally: Tally, name: str) -> None:
    """The customers by error, a line a family; the last step holds all that lie beyond it."""
    for family, known in sorted(tally.families.items()):
        starts, counts = bins(known.errors[name])
        width = starts[1]
        axes.stairs(counts, [*starts, starts[-1] + width], linewidth=1.6, label=family)
    axes.axvline(1.0, color="0.4", linewidth=1, linestyle="--", label="seasonal naive")
    axes.set_xlim(0.0, starts[-1] + width if tally.families else 1.0)
    axes.grid(color="0.92")
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
