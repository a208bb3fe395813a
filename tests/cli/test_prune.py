"""`forecast-grpc models prune`, on a real store."""

from functools import partial
from pathlib import Path

import pytest

from forecast_grpc.store import FolderStore
from tests.cli.conftest import RunCommand, trend


def test_keeps_the_newest(run: RunCommand, store: Path) -> None:
    """The versions before the newest N are gone, the active artefact is served as before."""
    opened = FolderStore(store)
    before = opened.read("alpha").data
    done = run("models", "prune", "alpha", "--keep", "2", "--store", store)
    assert done.out == "Removed 1 version of 1 customer; 2 stay.\n"
    assert opened.versions("alpha") == (2, 3)
    assert opened.read("alpha").data == before


def test_keeps_the_active_one(run: RunCommand, store: Path) -> None:
    """After a rollback the version that is served stays, however old."""
    opened = FolderStore(store)
    opened.activate("alpha", 1)
    (pruned,) = run("models", "prune", "alpha", "--keep", "1", "--json", "--store", store).objects
    assert pruned == {"customer_id": "alpha", "removed": [2], "kept": [1, 3]}
    assert opened.versions("alpha") == (1, 3)


def test_all(run: RunCommand, store: Path) -> None:
    """With --all every customer is pruned, and one whose active artefact is damaged keeps every version."""
    opened = FolderStore(store)
    opened.publish("corrupt", lambda version: b"nothing")
    opened.publish("beta", partial(trend, 1.0))
    pruned = run("models", "prune", "--all", "--keep", "1", "--json", "--store", store).objects
    assert {one["customer_id"]: one["removed"] for one in pruned} == {
        "alpha": [1, 2],
        "beta": [1],
        "corrupt": [],
    }
    assert opened.versions("corrupt") == (1, 2)


def test_dry_run(run: RunCommand, store: Path) -> None:
    """A dry run says the same and removes nothing."""
    done = run("models", "prune", "--all", "--keep", "1", "--dry-run", "--store", store)
    assert done.out == "Would remove 2 versions of 1 customer; 3 stay.\n"
    assert FolderStore(store).versions("alpha") == (1, 2, 3)


@pytest.mark.parametrize("arguments", [(), ("alpha", "--all")])
def test_says_whom(run: RunCommand, store: Path, arguments: tuple[str, ...]) -> None:
    """It prunes neither everything by mistake nor nothing without a word."""
    done = run("models", "prune", *arguments, "--keep", "1", "--store", store)
    assert done.code == 2
    assert "Name the customers to prune, or --all of them." in done.err


def test_unknown_customer(run: RunCommand, store: Path) -> None:
    """A customer without a model ends the command as elsewhere."""
    assert run("models", "prune", "nobody", "--keep", "1", "--store", store).code == 3
