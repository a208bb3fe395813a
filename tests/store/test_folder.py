"""The folder store: what it keeps, hands out, lists and refuses."""

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest

from forecast_grpc.errors import (
    CustomerIdInvalid,
    CustomerIdMissing,
    ForecastError,
    ModelFormatForbidden,
    ModelNotFound,
    ModelVersionNotFound,
    StoreUnavailable,
)
from forecast_grpc.store import FolderStore, open_store
from forecast_grpc.store.base import Fetched


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


def artefact(version: int) -> bytes:
    """Bytes that tell their version; the store does not look into them."""
    return f"artefact {version}".encode()


def fetch(store: FolderStore, customer_id: str, etag: str | None = None) -> Fetched | None:
    """The asynchronous way to read."""
    return asyncio.run(store.fetch(customer_id, if_none_match=etag))


def test_versions_count_from_one(store: FolderStore) -> None:
    """Each publishing takes the next number, which `encode` is told."""
    assert [store.publish("a", artefact) for _ in range(3)] == [1, 2, 3]
    assert store.versions("a") == (1, 2, 3)


def test_layout(store: FolderStore, root: Path) -> None:
    """The active artefact and each version lie where the contract says, and nothing else does."""
    store.publish("a", artefact)
    store.publish("a", artefact)
    files = {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}
    assert files == {
        "a/model.safetensors": b"artefact 2",
        "a/versions/1.safetensors": b"artefact 1",
        "a/versions/2.safetensors": b"artefact 2",
    }


def test_read_and_fetch_agree(store: FolderStore) -> None:
    """Both give the active artefact, or the version asked for, with the same etag."""
    store.publish("a", artefact)
    store.publish("a", artefact)
    assert store.read("a") == fetch(store, "a")
    assert store.read("a").data == b"artefact 2"
    assert store.read("a", version=1).data == b"artefact 1"
    assert asyncio.run(store.fetch("a", version=1)) == store.read("a", version=1)


def test_unmodified_is_none(store: FolderStore) -> None:
    """With the etag of the bytes that are there, there is nothing to fetch."""
    store.publish("a", artefact)
    assert fetch(store, "a", store.read("a").etag) is None


@pytest.mark.parametrize("change", ["publish", "activate", "in place"])
def test_etag_changes_with_the_bytes(store: FolderStore, root: Path, change: str) -> None:
    """However the active artefact came to change, its etag did too, though its length is the same."""
    store.publish("a", artefact)
    store.publish("a", artefact)
    before = store.read("a")
    if change == "publish":
        store.publish("a", artefact)
    elif change == "activate":
        store.activate("a", 1)
    else:
        (root / "a" / "model.safetensors").write_bytes(b"artefact 9")
    after = fetch(store, "a", before.etag)
    assert after is not None
    assert after.data != before.data
    assert after.etag != before.etag


def test_activate_goes_back(store: FolderStore) -> None:
    """An old version can be made active again; the versions stay, and the next number follows the highest."""
    for _ in range(3):
        store.publish("a", artefact)
    store.activate("a", 1)
    assert store.read("a").data == b"artefact 1"
    assert store.versions("a") == (1, 2, 3)
    assert store.publish("a", artefact) == 4
    assert store.read("a").data == b"artefact 4"


def test_active_and_version_are_separate_files(store: FolderStore, root: Path) -> None:
    """A damaged active artefact does not damage the version that it came from."""
    store.publish("a", artefact)
    (root / "a" / "model.safetensors").write_bytes(b"")
    store.activate("a", 1)
    assert store.read("a").data == b"artefact 1"


def test_failing_encode_leaves_nothing(store: FolderStore, root: Path) -> None:
    """What `encode` raises comes out, and no file or folder is left by it."""

    def fail(version: int) -> bytes:
        raise RuntimeError(version)

    with pytest.raises(RuntimeError):
        store.publish("a", fail)
    assert list(root.iterdir()) == []


def test_missing_customer(store: FolderStore) -> None:
    """A customer without a model is named in the error, whatever is asked of it."""
    for call in (
        lambda: fetch(store, "nobody"),
        lambda: store.read("nobody"),
        lambda: store.read("nobody", version=1),
        lambda: store.versions("nobody"),
        lambda: store.activate("nobody", 1),
    ):
        with pytest.raises(ModelNotFound) as caught:
            call()
        assert caught.value.metadata == {"customer_id": "nobody"}


@pytest.mark.parametrize("version", [0, -1, 2, 2**63 - 1, 10**400])
def test_missing_version(store: FolderStore, version: int) -> None:
    """A version that was never published is told from a customer that has none."""
    store.publish("a", artefact)
    with pytest.raises(ModelVersionNotFound) as caught:
        store.read("a", version=version)
    assert caught.value.metadata == {"customer_id": "a", "model_version": str(version)}
    with pytest.raises(ModelVersionNotFound):
        store.activate("a", version)


def test_pickle_is_refused_unopened(store: FolderStore, root: Path) -> None:
    """A pickle alone is refused without being opened: here it is a FIFO that would block whoever opens it."""
    (root / "a").mkdir()
    os.mkfifo(root / "a" / "model.pkl")
    for version in (None, 1):
        with pytest.raises(ModelFormatForbidden):
            store.read("a", version=version)
    assert list(store.customers()) == ["a"]


def test_pickle_beside_an_artefact_is_ignored(store: FolderStore, root: Path) -> None:
    """Where there is an artefact, a pickle beside it changes nothing."""
    store.publish("a", artefact)
    (root / "a" / "model.pkl").write_bytes(b"cos\nsystem\n(S'true'\ntR.")
    assert store.read("a").data == b"artefact 1"


BAD_IDS = [
    "..",
    ".",
    "../a",
    "a/../../b",
    "a/b",
    "/etc",
    "a\\b",
    "a\0b",
    "a\n",
    "é",
    "-a",
    ".a",
    "a" * 129,
    " a",
]


@pytest.mark.parametrize("customer_id", BAD_IDS)
def test_malformed_customer_never_reaches_the_disk(tmp_path: Path, customer_id: str) -> None:
    """Each method refuses a malformed name first: even a store that does not exist is not looked for."""
    store = FolderStore(tmp_path / "nowhere")
    for call in (
        lambda: fetch(store, customer_id),
        lambda: store.read(customer_id),
        lambda: store.publish(customer_id, artefact),
        lambda: store.versions(customer_id),
        lambda: store.activate(customer_id, 1),
    ):
        with pytest.raises(CustomerIdInvalid):
            call()


def test_empty_customer(store: FolderStore) -> None:
    """No name is another error than a malformed one."""
    with pytest.raises(CustomerIdMissing):
        store.read("")


@pytest.mark.parametrize("customer_id", ["a", "A.b_c-9", "0", "a..b", "a" * 128])
def test_wellformed_customer(store: FolderStore, customer_id: str) -> None:
    """Every name that the contract allows can be published and read."""
    store.publish(customer_id, artefact)
    assert store.read(customer_id).data == b"artefact 1"
    assert list(store.customers()) == [customer_id]


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


def test_customers_are_sorted_and_filtered(store: FolderStore, root: Path) -> None:
    """Listing is in code-point order, from after a name, under a prefix, and skips what is no customer."""
    for customer_id in ("b", "a-2", "B", "a-10", "a"):
        store.publish(customer_id, artefact)
    (root / "README.md").write_text("stray")
    (root / ".hidden").mkdir()
    (root / "not valid").mkdir()
    (root / "empty").mkdir()
    assert list(store.customers()) == ["B", "a", "a-10", "a-2", "b"]
    assert list(store.customers(prefix="a-")) == ["a-10", "a-2"]
    assert list(store.customers(start_after="a-10")) == ["a-2", "b"]
    assert list(store.customers(prefix="a", start_after="a")) == ["a-10", "a-2"]


def test_strays_among_versions_are_skipped(store: FolderStore, root: Path) -> None:
    """Only files named as a version are versions."""
    store.publish("a", artefact)
    for name in ("0.safetensors", "01.safetensors", "2.safetensors.bak", "x.safetensors", ".partial-00"):
        (root / "a" / "versions" / name).write_bytes(b"")
    assert store.versions("a") == (1,)


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


def test_no_message_names_a_path(store: FolderStore, root: Path) -> None:
    """Whatever goes wrong with a customer, the caller's sentence does not say where the store is."""
    (root / "pickled").mkdir()
    (root / "pickled" / "model.pkl").touch()
    store.publish("good", artefact)
    for customer_id, version in (("nobody", None), ("pickled", None), ("good", 9)):
        with pytest.raises(ForecastError) as caught:
            store.read(customer_id, version=version)
        assert str(root) not in caught.value.message


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


@pytest.mark.parametrize("url", ["s3://bucket/models", "http://host/models", "", "file://", "a\0b"])
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
