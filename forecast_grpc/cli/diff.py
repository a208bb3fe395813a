"""`forecast-grpc models diff`: what changed between two versions of a customer's model."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from forecast_grpc.cli._common import (
    CommandFailed,
    CustomerArgument,
    ExitCode,
    JsonOption,
    StoreOption,
    existing_store,
    notes,
    output,
    print_json,
)

if TYPE_CHECKING:
    from forecast_grpc.cli._comparison import Comparison
    from forecast_grpc.cli._picture import Picture
    from forecast_grpc.domain import FloatArray


def diff(
    customer: CustomerArgument,
    first: Annotated[
        int | None,
        typer.Argument(metavar="FIRST", min=1, help="A version.", show_default="the last but one"),
    ] = None,
    second: Annotated[
        int | None,
        typer.Argument(metavar="SECOND", min=1, help="Another version.", show_default="the highest"),
    ] = None,
    *,
    plot: Annotated[bool, typer.Option("--plot", help="Draw both forecasts in the terminal.")] = False,
    plot_file: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Draw them into a .png or .svg file.", show_default=False),
    ] = None,
    as_json: JsonOption = False,
    store: StoreOption = None,
) -> None:
    """Show what changed between two versions: facts, accuracy, parameters, and a forecast of each.

    Both forecast from the end of the series that the second was fitted to. Errors were measured on each version's
    own history: where that has changed, so has what they were measured on.
    """
    from forecast_grpc.cli._comparison import Comparison
    from forecast_grpc.cli._describe import load

    if plot_file is not None:
        from forecast_grpc.cli._picture import require_suffix

        require_suffix(plot_file)
    opened = existing_store(store)
    before, after = _pair(customer, opened.versions(customer), first, second)
    found = Comparison.of(load(opened, customer, before), load(opened, customer, after))
    if as_json:
        print_json({"customer_id": customer, **found.as_json()})
    else:
        _print(found)
    if found.forecasts is not None and (plot or plot_file is not None):
        from forecast_grpc.cli._terminal import draw

        # With --json standard output is for programs alone.
        console = notes() if as_json else output()
        draw(_picture(customer, found, *found.forecasts), console, plot=plot, plot_file=plot_file)


def _pair(customer: str, versions: tuple[int, ...], first: int | None, second: int | None) -> tuple[int, int]:
    """The versions to compare."""
    if first is not None:
        return first, second or versions[-1]
    if len(versions) < 2:  # noqa: PLR2004 - two are compared
        raise CommandFailed(f"{customer} has one version, and none to compare it with.", ExitCode.NOT_FOUND)
    return versions[-2], versions[-1]


def _print(found: "Comparison") -> None:
    output().print(found.differences())
    if found.forecasts is None:
        output().print("\nNo forecasts: they need covariates, of which nobody knows the future values.")
        return
    source = (
        f"the same {found.window.size} observations"
        if found.window.size
        else "the end of each one's own training series"
    )
    output().print(f"\nForecasts from {source}:")
    output().print(found.sample())


def _picture(customer: str, found: "Comparison", old: "FloatArray", new: "FloatArray") -> "Picture":
    from forecast_grpc.cli._picture import Picture

    before, after = found.versions
    return Picture(
        title=f"{customer}: forecast of version {after}, and of {before}",
        history=found.window.tolist(),
        forecast=new.tolist(),
        quantiles=((f"version {before}", old.tolist()),),
    )
