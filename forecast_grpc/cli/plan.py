"""`forecast-grpc plan`: how much memory and how many replicas the traffic needs."""

import math
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from forecast_grpc.cli._common import JsonOption, notes, output, print_json, table
from forecast_grpc.cli._target import (
    DEFAULT_ADDRESS,
    AddressOption,
    ApplicationOption,
    TimeoutOption,
    TlsOption,
    TokenOption,
    statistics,
    target,
)

if TYPE_CHECKING:
    from forecast_grpc.cli._access import Access
    from forecast_grpc.cli._advice import Advice

_ROWS = 10
"""Sizes in the table, about: each twice the one before."""


def plan(  # noqa: PLR0913 - each is an option of the command.
    *,
    hit_rate: Annotated[
        float | None,
        typer.Option(
            "--hit-rate",
            min=0.0,
            max=1.0,
            help="The share of the requests that is to find its model in memory, such as 0.99.",
            show_default="as much as is worth it",
        ),
    ] = None,
    plot: Annotated[bool, typer.Option("--plot", help="Draw the hit rates in the terminal.")] = False,
    plot_file: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Draw them into a .png or .svg file.", show_default=False),
    ] = None,
    address: AddressOption = DEFAULT_ADDRESS,
    timeout: TimeoutOption = 60.0,
    tls: TlsOption = False,
    token: TokenOption = None,
    application: ApplicationOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show what caches of other sizes would have answered of the running service's requests, and what to set.

    The replicas remember a sample of their requests; what was an hour ago counts half. Nothing is changed.
    """
    from forecast_grpc.cli._access import Access
    from forecast_grpc.cli._advice import advise, too_little

    if plot_file is not None:
        from forecast_grpc.cli._picture import require_suffix

        require_suffix(plot_file)
    service = target(address, timeout, tls=tls, token=token, application=application)
    response = statistics(service, 1)
    access = Access.of(response)
    doubts = too_little(access)
    advice = None if doubts else advise(access, hit_rate)
    if as_json:
        print_json(_as_json(access, advice, doubts))
    else:
        _print(access, advice, doubts)
    if silent := response.unanswered_replica_count:
        notes().print(f"{silent} replicas did not answer in time: their requests are missing here.")
    if access.by_bytes and (plot or plot_file is not None):
        _draw(access, advice, plot=plot, plot_file=plot_file, to_notes=as_json)


def _sizes(access: "Access") -> list[float]:
    """Round sizes from small to all, each twice the one before, in bytes."""
    if not access.by_bytes:
        return []
    last = math.ceil(math.log2(access.by_bytes[-1][0] + 1))
    return [2.0**power for power in range(max(last - _ROWS + 1, 0), last + 1)]


def _print(access: "Access", advice: "Advice | None", doubts: str) -> None:
    from forecast_grpc.cli._advice import duration, size

    out = output()
    if not access.by_bytes:
        out.print(doubts)
        return
    out.print(
        f"{access.requests:,.0f} requests in {duration(access.watched_s)}, of about {access.customers:,.0f} "
        f"customers, in {len(access.replicas)} replicas; a model takes {size(access.model_bytes)}."
    )
    out.print(
        f"{access.found:.1%} of them found their model in memory. An LRU cache with the same room, "
        f"{size(access.room)} a replica, would have had {access.hit_rate(access.room):.1%}.\n"
    )
    columns = ("room in each replica", "in all", "hit rate", "loads a second")
    rows = table(*columns, numbers=columns)
    for nbytes in _sizes(access):
        rate = access.hit_rate(nbytes)
        loads = access.request_rate * (1 - rate)
        rows.add_row(size(nbytes), size(nbytes * len(access.replicas)), f"{rate:.1%}", f"{loads:,.3g}")
    out.print(rows)
    out.print()
    for line in advice.reasons if advice is not None else (doubts,):
        out.print(line)


def _as_json(access: "Access", advice: "Advice | None", doubts: str) -> dict[str, Any]:
    return {
        "requests": round(access.requests, 1),
        "watched_s": round(access.watched_s, 1),
        "customers": round(access.customers),
        "replicas": len(access.replicas),
        "model_bytes": round(access.model_bytes),
        "hit_rate": access.found,
        "first_request_share": access.first_share,
        "requests_per_s": access.request_rate,
        "cores": access.cores,
        "hit_rates": [
            {"bytes_per_replica": round(nbytes), "hit_rate": access.hit_rate(nbytes)}
            for nbytes in _sizes(access)
        ],
        "recommended": None if advice is None else asdict(advice),
        "doubts": doubts,
    }


def _draw(
    access: "Access", advice: "Advice | None", *, plot: bool, plot_file: Path | None, to_notes: bool
) -> None:
    from forecast_grpc.cli._curve import CurvePicture, draw_in, in_terminal
    from forecast_grpc.cli._picture import to_file

    advised = None
    if advice is not None:
        # The curve is of as many replicas as there are: of another number each has another share of the customers.
        room = advice.max_warm_bytes + advice.max_hot_models * access.model_bytes
        advised = room * advice.num_replicas / len(access.replicas)
    picture = CurvePicture(curve=access.by_bytes, now=max(access.room, 1.0), advised=advised)
    if plot_file is not None:
        to_file(partial(draw_in, picture), plot_file)
        notes().print(f"Drew {plot_file}.")
    if plot:
        # With --json standard output is for programs alone.
        console = notes() if to_notes else output()
        typer.echo(in_terminal(picture, colours=console.is_terminal), err=console.stderr)
