"""`forecast-grpc publish`, into a real store."""

import pickle
from pathlib import Path

import pytest

from forecast_grpc.artefact import decode
from forecast_grpc.store import FolderStore
from tests.cli.conftest import RunCommand, trend


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """An artefact, of version 7 where it comes from."""
    path = tmp_path / "model.safetensors"
    path.write_bytes(trend(4.0, 7))
    return path


def test_publish(run: RunCommand, store: Path, file: Path) -> None:
    """The artefact becomes the customer's next version, under that number, with the same tensors."""
    done = run("publish", "alpha", file, "--store", store)
    assert (done.code, done.out) == (0, "alpha is served by version 4, trend.\n")
    published = decode(FolderStore(store).read("alpha").data, "alpha")
    assert published.metadata.model_version == 4
    assert published.metadata.sha256 == decode(file.read_bytes(), "").metadata.sha256


def test_publish_as_json(run: RunCommand, store: Path, file: Path) -> None:
    """With --json the outcome is one object."""
    done = run("publish", "new", file, "--json", "--store", store)
    assert done.objects == [{"customer_id": "new", "model_version": 1, "family": "trend"}]


def test_publish_creates_the_store(run: RunCommand, tmp_path: Path, file: Path) -> None:
    """A store that was named and does not exist is created, and the command says so."""
    folder = tmp_path / "new" / "store"
    done = run("publish", "alpha", file, "--store", folder)
    assert done.code == 0
    assert done.err == f"Created the store {folder}.\n"
    assert list(FolderStore(folder).customers()) == ["alpha"]


def test_publish_does_not_make_a_demo_store(run: RunCommand, file: Path) -> None:
    """The demo store is not begun by publishing into it: it would lack the demo."""
    done = run("publish", "alpha", file)
    assert done.code == 4
    assert "forecast-grpc demo-store" in done.err


class Bomb:
    """What a pickle may do when it is loaded."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_pickle_is_refused(run: RunCommand, store: Path, tmp_path: Path, protocol: int) -> None:
    """A pickle of any protocol is refused with the reason, whatever its name, and nothing in it runs."""
    path, exploded = tmp_path / "model.safetensors", tmp_path / "exploded"
    path.write_bytes(pickle.dumps(Bomb(exploded), protocol=protocol))
    done = run("publish", "new", path, "--store", store)
    assert done.code == 1
    assert "pickle" in done.err
    assert not exploded.exists()
    assert not (store / "new").exists()


@pytest.mark.parametrize("content", [b"", b"hello", trend(1.0)[:-1], trend(1.0) + b"x"])
def test_a_damaged_artefact_is_refused(run: RunCommand, store: Path, tmp_path: Path, content: bytes) -> None:
    """What could not be served is not published."""
    path = tmp_path / "model.safetensors"
    path.write_bytes(content)
    done = run("publish", "new", path, "--store", store)
    assert done.code == 1
    assert done.err.startswith("Error: The model's bytes are damaged")
    assert not (store / "new").exists()


def test_a_file_that_is_not_there(run: RunCommand, store: Path) -> None:
    """A file that cannot be read ends the command in a sentence."""
    done = run("publish", "new", "nowhere.safetensors", "--store", store)
    assert (done.code, done.err) == (
        1,
        "Error: nowhere.safetensors cannot be read: No such file or directory.\n",
    )


@pytest.mark.parametrize("customer", ["", "../x", "a/b", ".x", "a" * 129])
def test_a_malformed_customer(run: RunCommand, store: Path, file: Path, customer: str) -> None:
    """A customer who could not be asked for cannot be published."""
    before = sorted(store.rglob("*"))
    done = run("publish", customer, file, "--store", store)
    assert done.code == 2
    assert sorted(store.rglob("*")) == before
