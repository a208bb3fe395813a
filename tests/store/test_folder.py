"""What is particular about a store in a folder; what every store does is in test_contract.py."""

import os
import subprocess
import sys
from itertools import count
from pathlib import Path

import pytest

from forecast_grpc.errors import (
    CustomerIdInvalid,
    ModelFormatForbidden,
    ModelNotFound,
    ModelVersionNotFound,
    StoreUnavailable,
)
from forecast_grpc.store import FolderStore, cached, open_store
from tests import stores
from tests.store.test_contract import BAD_IDS, artefact, fetch


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """The folder of an empty store."""
    folder = tmp_path / "store"
    folder.mkdir()
    return folder


@pytest.fixture
def store(root: Path) -> FolderStore:
    """The store in it."""
    return FolderStore(root)


def test_pickle_is_refused_unopened(store: FolderStore, root: Path) -> None:
    """A pickle alone is refused without being opened: here it is a FIFO that would block whoever opens it."""
    (root / "a").mkdir()
    os.mkfifo(root / "a" / "model.pkl")
    for version in (None, 1):
        with pytest.raises(ModelFormatForbidden):
            store.read("a", version=version)
    assert list(store.customers()) == ["a"]


@pytest.mark.parametrize("customer_id", BAD_IDS)
def test_malformed_customer_never_reaches_the_disk(tmp_path: Path, customer_id: str) -> None:
    """Each method refuses a malformed name first: even a store that does not exist is not looked for."""
    store = FolderStore(tmp_path / "nowhere")
    for call in (
        lambda: fetch(store, customer_id),
        lambda: store.at_hand(customer_id),
        lambda: store.read(customer_id),
        lambda: store.publish(customer_id, artefact),
        lambda: store.versions(customer_id),
        lambda: store.activate(customer_id, 1),
    ):
        with pytest.raises(CustomerIdInvalid):
            call()


def on_a_disk(path: Path) -> bool:
    """Whether a folder lies on a block device of this machine, as df tells its file system."""
    filesystem = subprocess.run(["df", "-P", path], capture_output=True, text=True, check=True).stdout
    return filesystem.splitlines()[-1].startswith("/dev/")


@pytest.fixture
def looked_at(store: FolderStore, root: Path) -> FolderStore:
    """The store after its first fetch, which finds where it lies."""
    with pytest.raises(ModelNotFound):
        fetch(store, "somebody")
    if not on_a_disk(root):
        pytest.skip("the tests' folder lies on no disk of this machine")
    return store


def told(store: FolderStore, customer_id: str, version: int | None = None) -> object:
    """What is at hand of a customer: bytes, None, or that there is no such customer."""
    try:
        found = store.at_hand(customer_id, version=version)
    except ModelNotFound:
        return ModelNotFound
    return found and found.data


def test_what_the_kernel_has_in_memory_is_at_hand(looked_at: FolderStore) -> None:
    """An artefact that was just written, the active one and by its version, as a fetch would bring it."""
    looked_at.publish("a", artefact)
    looked_at.publish("a", artefact)
    assert looked_at.at_hand("a") == looked_at.read("a")
    assert looked_at.at_hand("a", version=1) == looked_at.read("a", version=1)
    assert looked_at.at_hand("a", version=3) is None


def test_strangers_are_told_at_once(looked_at: FolderStore, root: Path) -> None:
    """Whoever has anything in the store has to be fetched, until it is published."""
    (root / "empty").mkdir()
    (root / "link").symlink_to(root / "nowhere")
    assert [told(looked_at, each) for each in ("empty", "link")] == [None, None]
    assert told(looked_at, "stranger") is told(looked_at, "stranger", 3) is ModelNotFound
    looked_at.publish("stranger", artefact)
    assert told(looked_at, "stranger") == b"artefact 1"


def test_a_slow_disk_is_left_to_fetch(looked_at: FolderStore, root: Path) -> None:
    """Every glance takes a second by this clock, and reads: the next strangers are not looked for."""
    store = FolderStore(root, clock=count().__next__, reads=count().__next__)
    with pytest.raises(ModelNotFound):
        fetch(store, "somebody")
    assert [told(store, "stranger") for _ in range(3)] == [ModelNotFound, None, None]
    looked_at.publish("a", artefact)
    assert told(store, "a") == b"artefact 1", "what is in memory takes no glance"


def test_nothing_is_at_hand_without_the_store(looked_at: FolderStore, root: Path) -> None:
    """Where the folder has gone, or a file is in its place, a fetch says so."""
    root.rmdir()
    assert told(looked_at, "stranger") is None
    root.touch()
    assert told(looked_at, "stranger") is None
    with pytest.raises(StoreUnavailable):
        fetch(looked_at, "stranger")


def test_nothing_is_at_hand_through_a_link(looked_at: FolderStore, root: Path, tmp_path: Path) -> None:
    """Neither a linked customer nor a linked artefact; the store itself may be a link."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "model.safetensors").write_bytes(b"secret")
    (root / "folder").symlink_to(outside)
    (root / "file").mkdir()
    (root / "file" / "model.safetensors").symlink_to(outside / "model.safetensors")
    assert [told(looked_at, each) for each in ("folder", "file")] == [None, None]
    looked_at.publish("a", artefact)
    (tmp_path / "link").symlink_to(root)
    linked = FolderStore(tmp_path / "link")
    assert told(linked, "a") is None, "not looked at yet"
    fetch(linked, "a")
    assert told(linked, "a") == b"artefact 1"


@pytest.mark.parametrize("kind", ["large", "folder", "fifo"])
def test_what_is_no_small_file_is_not_at_hand(looked_at: FolderStore, root: Path, kind: str) -> None:
    """A large artefact would hold up the loop; what is no artefact is not read."""
    (root / "a").mkdir()
    path = root / "a" / "model.safetensors"
    if kind == "large":
        path.write_bytes(bytes(cached.MAX_BYTES + 1))
    elif kind == "folder":
        path.mkdir()
    else:
        os.mkfifo(path)
    assert told(looked_at, "a") is None


@pytest.mark.skipif(
    not stores.MEMORY.is_dir(), reason="there is no file system that is known to lie on no disk"
)
def test_what_lies_on_no_disk_is_asked() -> None:
    """A server of files may take any time, and is told from a disk as this file system in memory is."""
    with stores.folder_on_no_disk() as folder:
        store = FolderStore(folder)
        store.publish("a", artefact)
        fetch(store, "a")
        assert [told(store, each) for each in ("a", "stranger")] == [None, None]


@pytest.mark.parametrize("by_descriptor", [True, False])
def test_links_are_not_followed(
    store: FolderStore, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, by_descriptor: bool
) -> None:
    """A linked customer, versions folder or artefact is not there: nothing outside the store can be served.

    Also where the system opens files by their paths alone, as Windows does.
    """
    if not by_descriptor:
        monkeypatch.setattr(os, "supports_dir_fd", set())
    outside = tmp_path / "outside"
    (outside / "versions").mkdir(parents=True)
    (outside / "model.safetensors").write_bytes(b"secret")
    (outside / "versions" / "1.safetensors").write_bytes(b"secret")
    (root / "folder").symlink_to(outside)
    (root / "file").mkdir()
    (root / "file" / "model.safetensors").symlink_to(outside / "model.safetensors")
    (root / "versions").mkdir()
    (root / "versions" / "versions").symlink_to(outside / "versions")
    store.publish("real", artefact)
    assert store.read("real").data == store.read("real", version=1).data == b"artefact 1"
    assert "folder" not in list(store.customers())
    for customer_id in ("folder", "file", "versions"):
        for version in (None, 1):
            with pytest.raises((ModelNotFound, ModelVersionNotFound)):
                store.read(customer_id, version=version)
    with pytest.raises(ModelNotFound):
        store.versions("folder")


def test_publishing_through_a_link_is_refused(store: FolderStore, root: Path, tmp_path: Path) -> None:
    """Nothing is written outside the store either."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (root / "a").symlink_to(outside)
    with pytest.raises(StoreUnavailable):
        store.publish("a", artefact)
    assert list(outside.iterdir()) == []


def test_nothing_is_removed_through_a_link(store: FolderStore, root: Path, tmp_path: Path) -> None:
    """A linked folder of versions keeps its files."""
    outside = tmp_path / "outside"
    outside.mkdir()
    for number in (1, 2):
        (outside / f"{number}.safetensors").touch()
    (root / "a").mkdir()
    (root / "a" / "versions").symlink_to(outside)
    store.remove("a", 1)
    assert len(list(outside.iterdir())) == 2


def test_store_may_be_a_link(store: FolderStore, root: Path, tmp_path: Path) -> None:
    """The store's own folder may be reached through a link."""
    store.publish("a", artefact)
    (tmp_path / "link").symlink_to(root)
    assert FolderStore(tmp_path / "link").read("a").data == b"artefact 1"


@pytest.mark.parametrize("kind", ["folder", "fifo"])
def test_something_else_under_the_artefacts_name(store: FolderStore, root: Path, kind: str) -> None:
    """What is no regular file is no artefact, and does not hold up the reader."""
    (root / "a").mkdir()
    path = root / "a" / "model.safetensors"
    if kind == "folder":
        path.mkdir()
    else:
        os.mkfifo(path)
    with pytest.raises(ModelNotFound):
        store.read("a")


def test_a_file_under_a_customers_name(store: FolderStore, root: Path) -> None:
    """A stray file where a customer's folder would be is no customer, and cannot become one by publishing."""
    (root / "a").write_text("stray")
    with pytest.raises(ModelNotFound):
        store.read("a")
    with pytest.raises(StoreUnavailable):
        store.publish("a", artefact)
    assert list(store.customers()) == []


@pytest.mark.parametrize("kind", ["missing", "file"])
def test_store_that_is_not_there(tmp_path: Path, kind: str) -> None:
    """Without its folder the store is unavailable, which is another thing than a customer without a model."""
    path = tmp_path / "secret-place"
    if kind == "file":
        path.write_text("")
    store = FolderStore(path)
    for call in (
        store.check,
        lambda: fetch(store, "a"),
        lambda: store.read("a", version=1),
        lambda: store.publish("a", artefact),
        lambda: list(store.customers()),
        lambda: store.versions("a"),
    ):
        with pytest.raises(StoreUnavailable) as caught:
            call()
        assert caught.value.retry_after_s
        assert "secret-place" not in caught.value.message


@pytest.mark.skipif(os.getuid() != 0, reason="only root may become somebody else")
def test_store_without_permission(store: FolderStore, root: Path) -> None:
    """A user to whom the store is closed is told that it is unavailable; nothing looks like a missing model."""
    store.publish("a", artefact)
    root.chmod(0o700)
    program = f"""if True:
        import os
        from pathlib import Path
        from forecast_grpc.errors import StoreUnavailable
        from forecast_grpc.store import FolderStore
        os.setuid(65534)
        store = FolderStore(Path({str(root)!r}))
        read = lambda customer: lambda: store.read(customer)
        for call in (store.check, read("a"), read("b"), lambda: store.versions("a")):
            try:
                call()
            except StoreUnavailable as exc:
                print(exc)
    """
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["The store of models does not permit this."] * 4


def test_published_files_can_be_read_by_others(store: FolderStore, root: Path) -> None:
    """A published artefact has the permissions of the publisher's umask, not those of a temporary file."""
    mask = os.umask(0o022)
    try:
        store.publish("a", artefact)
    finally:
        os.umask(mask)
    assert (root / "a" / "model.safetensors").stat().st_mode & 0o777 == 0o644
    assert (root / "a" / "versions" / "1.safetensors").stat().st_mode & 0o777 == 0o644


def test_open_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A store is named by a path, by one under `~`, or by a file URL."""
    monkeypatch.setenv("HOME", str(tmp_path))
    FolderStore(tmp_path).publish("a", artefact)
    for url in (str(tmp_path), f"file://{tmp_path}", "~"):
        assert open_store(url).read("a").data == b"artefact 1"


@pytest.mark.parametrize("url", ["http://host/models", "", "file://", "a\0b"])
def test_open_store_refuses(url: str) -> None:
    """An address that cannot be a folder's is refused at once, with a sentence."""
    with pytest.raises(ValueError, match=r"folder"):
        open_store(url)


def test_create(tmp_path: Path) -> None:
    """A store is made where there was none, once."""
    store = FolderStore(tmp_path / "new" / "store")
    assert store.create()
    store.publish("a", artefact)
    assert not store.create()
    assert store.read("a").data == b"artefact 1"
    with pytest.raises(StoreUnavailable):
        FolderStore(tmp_path / "new" / "store" / "a" / "model.safetensors" / "x").create()
