"""Many models into a folder at once end as if each had been published by itself, whoever else is at work."""

import signal
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest

from forecast_grpc.errors import CustomerIdInvalid, StoreUnavailable
from forecast_grpc.store import FolderStore, bulk, files, publish_all

CRASHER = """
import os, signal, sys
from pathlib import Path
from forecast_grpc.store import FolderStore, files, publish_all
module, step = {"files": files, "os": os}[sys.argv[2]], sys.argv[3]
setattr(module, step, lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL))
list(publish_all(FolderStore(Path(sys.argv[1])), [(name, lambda n: f"artefact {n}".encode()) for name in "abc"]))
"""
"""Publishes for three customers, and dies of SIGKILL where it would call the function named."""


def artefact(version: int) -> bytes:
    """Bytes that tell their version."""
    return f"artefact {version}".encode()


def content(root: Path) -> dict[str, bytes]:
    """Every file below a folder."""
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def published(root: Path, names: Iterable[str]) -> list[tuple[str, int]]:
    """Publishes a model for each name, all at once."""
    return list(publish_all(FolderStore(root), ((name, artefact) for name in names)))


def test_it_ends_as_one_by_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Old, new and repeated customers, over several batches: the same files as one publication after the other."""
    monkeypatch.setattr(bulk, "BATCH", 3)
    at_once, singly = tmp_path / "at-once", tmp_path / "singly"
    names = [*"abcdefg", "b"]
    for root in (at_once, singly):
        root.mkdir()
        FolderStore(root).publish("a", artefact)
    one_by_one = [(name, FolderStore(singly).publish(name, artefact)) for name in names]
    assert published(at_once, names) == one_by_one
    assert content(at_once) == content(singly)


def test_a_customer_named_twice_in_a_batch_gets_two_versions(tmp_path: Path) -> None:
    """The second has the next number, and is active."""
    assert published(tmp_path, "aa") == [("a", 1), ("a", 2)]
    assert FolderStore(tmp_path).read("a").data == b"artefact 2"


def test_somebody_else_may_publish_meanwhile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A number that was taken between writing and naming is given to nobody else, and the highest ends active."""
    store, sync_all = FolderStore(tmp_path), files.sync_all

    def overtaken(folder: Path) -> None:
        monkeypatch.setattr(files, "sync_all", sync_all)
        assert store.publish("a", artefact) == 1
        sync_all(folder)

    monkeypatch.setattr(files, "sync_all", overtaken)
    assert published(tmp_path, "ab") == [("a", 2), ("b", 1)]
    assert store.read("a").data == b"artefact 2"
    assert store.versions("a") == (1, 2)


@pytest.mark.parametrize("call", ["files sync_all", "os link", "os replace"])
def test_a_crash_leaves_whole_artefacts(tmp_path: Path, call: str) -> None:
    """Killed at any step, it leaves nothing that is half there, and the next publication is not in its way."""
    store = FolderStore(tmp_path)
    store.publish("a", artefact)
    crashed = subprocess.run([sys.executable, "-c", CRASHER, str(tmp_path), *call.split()], check=False)
    assert crashed.returncode == -signal.SIGKILL
    assert store.read("a").data == b"artefact 1"
    assert set(content(tmp_path).values()) <= {b"artefact 1", b"artefact 2"}
    for name, version in published(tmp_path, "abc"):
        assert store.read(name).data == artefact(version)
        assert store.versions(name) == tuple(range(1, version + 1))


def test_what_cannot_be_published_raises(tmp_path: Path) -> None:
    """A bad name and a store that is not there raise as a single publication does, and nothing is left over."""
    with pytest.raises(CustomerIdInvalid):
        published(tmp_path, ["a", "../b"])
    assert content(tmp_path) == {}
    with pytest.raises(StoreUnavailable):
        published(tmp_path / "nowhere", "a")
