"""`forecast-grpc models prune`: the way out for versions that nobody will ask for again."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from forecast_grpc.cli._common import (
    CommandFailed,
    ExitCode,
    JsonOption,
    StoreOption,
    existing_store,
    output,
    print_json,
    progress,
)
from forecast_grpc.errors import ModelVersionNotFound

if TYPE_CHECKING:
    from forecast_grpc.store import ModelStore


@dataclass(frozen=True, slots=True, kw_only=True)
class Pruned:
    """What became of one customer's versions."""

    customer_id: str
    """The customer."""

    removed: tuple[int, ...]
    """The versions that were removed, ascending."""

    kept: tuple[int, ...]
    """The versions that are left, ascending."""

    def as_json(self) -> dict[str, Any]:
        """One line of `models prune --json`."""
        return {"customer_id": self.customer_id, "removed": list(self.removed), "kept": list(self.kept)}


def prune(
    customers: Annotated[
        list[str] | None,
        typer.Argument(metavar="[CUSTOMER]...", help="The customers.", show_default=False),
    ] = None,
    *,
    keep: Annotated[
        int,
        typer.Option(min=1, help="Versions of a customer to keep, the newest.", show_default=False),
    ],
    all_customers: Annotated[bool, typer.Option("--all", help="Prune every customer's versions.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be removed; remove nothing.")
    ] = False,
    as_json: JsonOption = False,
    store: StoreOption = None,
) -> None:
    """Remove all but the newest versions of a model. What is removed cannot be brought back.

    The active version stays however old it is. Where the active artefact cannot be read, all versions stay: one of
    them is the way back.
    """
    if bool(customers) == all_customers:
        raise CommandFailed("Name the customers to prune, or --all of them.", ExitCode.USAGE)
    opened = existing_store(store)
    names = list(opened.customers()) if all_customers else customers or []
    pruned = []
    for one in _watched(_pruned(opened, name, keep, dry_run=dry_run) for name in names):
        pruned.append(one)
        if as_json:
            print_json(one.as_json())
    if not as_json:
        output().print(_sentence(pruned, dry_run=dry_run))


def _watched(pruned: Iterable[Pruned]) -> Iterator[Pruned]:
    with progress() as bar:
        yield from bar.track(pruned, description="Pruning")


def _pruned(store: "ModelStore", customer: str, keep: int, *, dry_run: bool) -> Pruned:
    from forecast_grpc.cli._describe import active_version

    versions = store.versions(customer)
    old = versions[:-keep]
    # Read only where something is to go: a sweep over a store that is in order lists it, and no more.
    active = active_version(store, customer) if old else None
    # Where the active artefact cannot be read, every version may be the one to go back to.
    removed = tuple(version for version in old if version != active) if active else ()
    for version in () if dry_run else removed:
        _remove(store, customer, version)
    kept = tuple(version for version in versions if version not in removed)
    return Pruned(customer_id=customer, removed=removed, kept=kept)


def _remove(store: "ModelStore", customer: str, version: int) -> None:
    try:
        store.remove(customer, version)
    except ModelVersionNotFound:
        # Somebody else prunes too, and was quicker.
        return


def _sentence(pruned: list[Pruned], *, dry_run: bool) -> str:
    removed = sum(len(one.removed) for one in pruned)
    kept = sum(len(one.kept) for one in pruned)
    touched = sum(bool(one.removed) for one in pruned)
    verb = "Would remove" if dry_run else "Removed"
    return f"{verb} {_count(removed, 'version')} of {_count(touched, 'customer')}; {kept} stay."


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
