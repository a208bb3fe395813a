"""Stores of every kind, each test's own and empty."""

import os
import secrets
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import obstore
import pytest

from forecast_grpc.store import FolderStore, ModelStore, open_store
from forecast_grpc.store.address import parse
from forecast_grpc.store.clients import connect
from tests.store.fault_proxy import FaultProxy, faulty
from tests.store.servers import ObjectServer, azurite, azurite_command, google, in_ci, moto

KINDS = ("folder", "s3", "az", "gs")


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A store, and the ways to it that do not lead through its code."""

    store: ModelStore
    """Empty when the test begins."""

    write: Callable[[str, bytes], None]
    """Puts bytes under a key, as somebody else's tool would."""

    content: Callable[[], Mapping[str, bytes]]
    """Everything that lies there, by its key."""


@pytest.fixture(scope="session")
def s3() -> Iterator[ObjectServer]:
    """One moto for all tests."""
    with moto() as server:
        yield server


@pytest.fixture(scope="session")
def az() -> Iterator[ObjectServer]:
    """One Azurite for all tests."""
    if not azurite_command() and not in_ci():
        pytest.skip("Azurite is not installed: npm install --global azurite")
    with azurite() as server:
        yield server


@pytest.fixture(scope="session")
def gs() -> Iterator[ObjectServer]:
    """One fake of Google for all tests."""
    with google() as server:
        yield server


@pytest.fixture
def credentials(s3: ObjectServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Moto's credentials in the environment, and nothing else that would lead elsewhere."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name, value in s3.environment.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def prefix() -> str:
    """A folder in the bucket that no other test uses."""
    return f"test-{secrets.token_hex(8)}/models"


@pytest.fixture
def proxy(s3: ObjectServer, credentials: None) -> Iterator[FaultProxy]:
    """In front of moto."""
    with faulty(s3.endpoint) as running:
        yield running


@pytest.fixture
def behind(proxy: FaultProxy, s3: ObjectServer, prefix: str) -> ModelStore:
    """An empty store in S3, reached by way of the proxy."""
    return open_store(s3.url(prefix, endpoint=proxy.endpoint), timeout_s=5.0)


@pytest.fixture(params=KINDS)
def place(request: pytest.FixtureRequest, tmp_path: Path, prefix: str) -> Place:
    """An empty store of each kind in turn."""
    if request.param == "folder":
        return _folder(tmp_path / "store")
    server: ObjectServer = request.getfixturevalue(request.param)
    monkeypatch: pytest.MonkeyPatch = request.getfixturevalue("monkeypatch")
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    return _bucket(server.url(prefix))


@pytest.fixture
def store(place: Place) -> ModelStore:
    """The store alone."""
    return place.store


def _folder(root: Path) -> Place:
    root.mkdir()

    def write(key: str, data: bytes) -> None:
        (root / key).parent.mkdir(parents=True, exist_ok=True)
        (root / key).write_bytes(data)

    def content() -> Mapping[str, bytes]:
        return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}

    return Place(store=FolderStore(root), write=write, content=content)


def _bucket(url: str) -> Place:
    scheme, _, rest = url.partition("://")
    client = connect(parse(scheme, rest), 10.0)

    def write(key: str, data: bytes) -> None:
        obstore.put(client, key, data)

    def content() -> Mapping[str, bytes]:
        keys = [each["path"] for each in obstore.list(client).collect()]
        return {key: bytes(obstore.get(client, key).bytes()) for key in keys}

    return Place(store=open_store(url), write=write, content=content)
