"""What is particular about a store in a bucket: its requests, its notes, its pages, its addresses."""

import asyncio
import os
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, cast

import obstore
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from obstore.store import MemoryStore

from forecast_grpc.errors import ModelNotFound, StoreUnavailable
from forecast_grpc.store import ModelStore, open_store
from forecast_grpc.store.address import parse
from forecast_grpc.store.bucket import Bucket, Found
from forecast_grpc.store.clients import connect
from forecast_grpc.store.objects import ObjectStore
from tests.store.fault_proxy import FaultProxy
from tests.store.servers import ObjectServer
from tests.store.test_contract import artefact


def client_of(url: str) -> Any:
    """What a bucket is made from."""
    scheme, _, rest = url.partition("://")
    return connect(parse(scheme, rest), 10.0)


def test_a_cold_load_is_one_get(behind: ModelStore, proxy: FaultProxy) -> None:
    """Fetching an artefact, the active one or a version, asynchronously or not, is a single GET."""
    behind.publish("a", artefact)
    proxy.requests()
    for version in (None, 1):
        asyncio.run(behind.fetch("a", version=version))
        behind.read("a", version=version)
    assert proxy.requests() == ["GET"] * 4


def test_a_refresh_is_one_conditional_get(behind: ModelStore, proxy: FaultProxy) -> None:
    """Where the artefact is unchanged, the store is asked once, and sends none of it."""
    behind.publish("a", artefact)
    etag = behind.read("a").etag
    proxy.seen.clear()
    assert asyncio.run(behind.fetch("a", if_none_match=etag)) is None
    assert [(each.method, each.conditional) for each in proxy.seen] == [("GET", True)]


def test_a_missing_customer_is_two_requests(behind: ModelStore, proxy: FaultProxy) -> None:
    """One GET that finds nothing, and one list that says why."""
    with pytest.raises(ModelNotFound):
        asyncio.run(behind.fetch("nobody"))
    assert proxy.requests() == ["GET", "GET"]


def test_requests_of_a_publisher(behind: ModelStore, proxy: FaultProxy) -> None:
    """List, create; then for a first version create, for a later one look and replace. A rollback is three."""
    behind.publish("a", artefact)
    assert proxy.requests() == ["GET", "PUT", "PUT"]
    behind.publish("a", artefact)
    assert proxy.requests() == ["GET", "PUT", "HEAD", "PUT"]
    behind.activate("a", 1)
    assert proxy.requests() == ["GET", "HEAD", "PUT"]


def test_every_write_is_conditional(behind: ModelStore, proxy: FaultProxy) -> None:
    """No write can destroy what its writer has not seen."""
    for _ in range(2):
        behind.publish("a", artefact)
    behind.activate("a", 1)
    writes = [each.conditional for each in proxy.seen if each.method == "PUT"]
    assert writes == [True] * 5


def test_listing_is_lazy(behind: ModelStore, proxy: FaultProxy, s3: ObjectServer, prefix: str) -> None:
    """The first of 2,500 customers costs one page; all of them cost three; a later start costs the rest."""
    client = client_of(s3.url(prefix))
    names = [f"c{number:04}" for number in range(2_500)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda name: obstore.put(client, f"{name}/model.safetensors", b""), names))
    assert next(behind.customers()) == "c0000"
    assert proxy.requests() == ["GET"]
    assert list(behind.customers()) == names
    assert proxy.requests() == ["GET"] * 3
    assert list(behind.customers(start_after="c2000")) == names[2001:]
    assert list(behind.customers(prefix="c249")) == names[2490:]
    assert proxy.requests() == ["GET"] * 2


NAMES = st.text("ab-.0", min_size=1, max_size=5).filter(lambda name: name[0] not in "-.")


@settings(max_examples=200, deadline=None)
@given(names=st.sets(NAMES, max_size=12), start=NAMES, prefix=NAMES)
def test_customers_come_in_the_order_of_their_names(names: set[str], start: str, prefix: str) -> None:
    """Whatever the names, the order is that of their code points, though keys are ordered otherwise."""
    memory = MemoryStore()
    for name in names:
        obstore.put(memory, f"{name}/model.safetensors", b"")
        obstore.put(memory, f"{name}/versions/1.safetensors", b"")
    store = ObjectStore(Bucket(cast("Any", memory)), name="memory")
    assert list(store.customers()) == sorted(names)
    assert list(store.customers(start_after=start)) == sorted(name for name in names if name > start)
    assert list(store.customers(prefix=prefix)) == sorted(name for name in names if name.startswith(prefix))


class Interrupted(Bucket):
    """A bucket that lets something else happen before the active artefact is looked at or written."""

    def __init__(self, client: Any, *, before: str, happen: Callable[[], None]) -> None:
        super().__init__(client)
        self._before = before
        self._happen: Callable[[], None] | None = happen

    def find(self, key: str) -> Found | None:
        """As in any bucket."""
        self._interrupt("find", key)
        return super().find(key)

    def put(self, key: str, data: bytes, *, over: Found | None, notes: Mapping[str, str]) -> bool:
        """As in any bucket."""
        self._interrupt("put", key)
        return super().put(key, data, over=over, notes=notes)

    def _interrupt(self, step: str, key: str) -> None:
        if step == self._before and key.endswith("/model.safetensors") and self._happen:
            happen, self._happen = self._happen, None
            happen()


@pytest.fixture(params=["s3", "az", "gs"])
def url(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, prefix: str) -> str:
    """The address of an empty store of each kind of bucket in turn."""
    server: ObjectServer = request.getfixturevalue(request.param)
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    return server.url(prefix)


@pytest.mark.parametrize("before", ["find", "put"])
@pytest.mark.parametrize("rolled_back", [False, True])
def test_an_overtaken_publisher_changes_nothing(url: str, before: str, rolled_back: bool) -> None:
    """Version 3 is claimed; 4 is published and perhaps rolled back to 1. Then 3 goes on, and leaves it so."""
    store = open_store(url)
    for _ in range(2):
        store.publish("a", artefact)

    def overtake() -> None:
        assert store.publish("a", artefact) == 4
        if rolled_back:
            store.activate("a", 1)

    slow = ObjectStore(Interrupted(client_of(url), before=before, happen=overtake), name="slow")
    assert slow.publish("a", artefact) == 3
    assert store.read("a").data == (b"artefact 1" if rolled_back else b"artefact 4")
    assert store.versions("a") == (1, 2, 3, 4)
    assert store.publish("a", artefact) == 5
    assert store.read("a").data == b"artefact 5"


def test_a_rollback_meets_a_publisher(url: str) -> None:
    """A publisher comes between a rollback's look and its write: the rollback is later, and holds."""
    store = open_store(url)
    for _ in range(2):
        store.publish("a", artefact)

    def meet() -> None:
        store.publish("a", artefact)

    ObjectStore(Interrupted(client_of(url), before="put", happen=meet), name="slow").activate("a", 1)
    assert store.read("a").data == b"artefact 1"
    assert store.publish("a", artefact) == 4
    assert store.read("a").data == b"artefact 4"


def test_a_store_that_grants_nothing(s3: ObjectServer, credentials: None, prefix: str) -> None:
    """A server that refuses every condition, as one that does not know them might, ends in an error."""

    class Refusing(Bucket):
        def put(self, key: str, data: bytes, *, over: Found | None, notes: Mapping[str, str]) -> bool:
            return False

    store = ObjectStore(Refusing(client_of(s3.url(prefix))), name="refusing")
    with pytest.raises(StoreUnavailable, match="refusing"):
        store.publish("a", artefact)


def test_anonymous(proxy: FaultProxy, s3: ObjectServer, prefix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without credentials, and saying so, requests are not signed."""
    for name in s3.environment:
        monkeypatch.delenv(name)
    url = s3.url(prefix, endpoint=proxy.endpoint)
    open_store(f"{url}&anonymous=true").check()
    assert [each.signed for each in proxy.seen] == [False]


def test_endpoint_from_the_environment(
    proxy: FaultProxy, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The endpoint, and the leave to use plain HTTP, may stand in the environment."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.endpoint)
    monkeypatch.setenv("AWS_ALLOW_HTTP", "true")
    open_store(f"s3://models/{prefix}").check()
    assert len(proxy.seen) == 1


def test_plain_http_needs_leave(proxy: FaultProxy, prefix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """An endpoint in the environment does not make credentials travel in the clear by itself."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.endpoint)
    with pytest.raises(StoreUnavailable):
        open_store(f"s3://models/{prefix}", timeout_s=1.0).check()
    assert proxy.seen == []


@pytest.mark.parametrize(
    ("url", "what"),
    [
        ("s3://", "named s3://BUCKET"),
        ("s3:///models", "named s3://BUCKET"),
        ("s3://bucket/a//b", "named s3://BUCKET"),
        ("s3://KEY:SECRET@bucket", "no credentials"),
        ("s3://bucket?secret_access_key=SECRET", "no option secret_access_key"),
        ("s3://bucket?account=x", "no option account"),
        ("gs://bucket?region=x", "no option region"),
        ("s3://bucket?anonymous=perhaps", "as boolean"),
        ("s3://bucket?endpoint=localhost:9000", "begins with http"),
        ("s3://bucket?endpoint=http://", "begins with http"),
        ("az://container", "Account must be specified"),
    ],
)
def test_addresses_that_are_refused(url: str, what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What can be no store's address is refused at once, with a sentence that repeats no secret."""
    for name in [name for name in os.environ if name.startswith(("AWS_", "AZURE_"))]:
        monkeypatch.delenv(name)
    with pytest.raises(ValueError, match=what) as caught:
        open_store(url)
    assert "SECRET" not in str(caught.value)


def test_an_endpoint_in_the_environment_that_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """So is an environment that no request could be made with."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", "localhost:9000")
    with pytest.raises(ValueError, match="AWS_ENDPOINT_URL"):
        open_store("s3://bucket")


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("s3://bucket", "s3://bucket"),
        ("S3://bucket/a/b/", "s3://bucket/a/b"),
        ("gs://bucket/a?endpoint=http://127.0.0.1:1", "gs://bucket/a"),
        ("az://container/a?account=x&anonymous=true", "az://container/a"),
    ],
)
def test_a_store_knows_its_name(url: str, name: str) -> None:
    """A store is shown by its address, without the options. Nothing is sent to open it."""
    assert repr(open_store(url)) == f"ObjectStore({name!r})"
