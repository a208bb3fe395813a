"""`forecast-grpc demo-store`: models to try everything with."""

import errno
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer

from forecast_grpc.cli._common import (
    CommandFailed,
    JsonOption,
    StoreOption,
    existing_store,
    notes,
    output,
    print_json,
    progress,
    store_folder,
    use_one_thread,
)


def demo_store(
    *,
    store: StoreOption = None,
    rebuild: Annotated[
        bool,
        typer.Option(
            "--rebuild", help="Publish the demo's models again, as new versions; nothing is deleted."
        ),
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Build the demo store, unless it is there: models fitted to real series, and six invented customers.

    The series are 28 car parks in Birmingham, by the half hour, two series by the month and two by the year. They
    are fitted as `forecast-grpc fit` does it; an interrupted build leaves nothing behind.
    """
    use_one_thread()
    folder = store_folder(store)
    if not _is_there(folder):
        build_demo_store(folder)
    elif rebuild:
        from forecast_grpc import demo

        _watch(demo.publish(existing_store(str(folder))))
    else:
        notes().print("It is there already: --rebuild publishes its models again.")
    customers = sum(1 for _ in existing_store(str(folder)).customers())
    if as_json:
        print_json({"store": str(folder), "customers": customers})
    else:
        output().print(f"{customers} customers in {folder}", soft_wrap=True)


def build_demo_store(folder: Path | None = None) -> None:
    """Builds the demo store where it belongs, or in a folder that does not exist yet, with a bar to watch.

    Does nothing where another process finishes it first. Ends the command where it cannot be built.
    """
    use_one_thread()
    from forecast_grpc import demo

    where = folder or store_folder(None)
    try:
        _watch(demo.build(where))
    except OSError as exc:
        if exc.errno not in (errno.EEXIST, errno.ENOTEMPTY) or not _is_there(where):
            raise CommandFailed(f"The demo store {where} cannot be built: {exc.strerror}.") from exc


def _is_there(folder: Path) -> bool:
    """Whether something is there already. An empty folder is as good as none."""
    return os.path.lexists(folder) and not (folder.is_dir() and not any(folder.iterdir()))


def _watch(customers: Iterable[str]) -> None:
    from forecast_grpc import demo

    with progress() as bar:
        task = bar.add_task("Fitting the demo's models", total=demo.SIZE)
        for _ in customers:
            bar.advance(task)
