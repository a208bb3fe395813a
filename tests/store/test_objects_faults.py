"""A bucket that is down, slow, broken, wrong or closed: what a store says, how soon, and that it recovers."""

import asyncio
import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

import pytest

from forecast_grpc.errors import ForecastError, StoreUnavailable
from forecast_grpc.store import ModelStore, open_store
from forecast_grpc.store.faults import StoreFault
from tests.store.fault_proxy import Fault, FaultProxy
from tests.store.servers import ObjectServer, moto
from tests.store.test_contract import artefact

TIMEOUT_S = 2.0
GRACE_S = 1.0
"""What a busy machine may add."""

LASTING = (Fault.ERROR, Fault.DENIED, Fault.RESET, Fault.HANG, Fault.TRUNCATED)

CALLS: dict[str, Callable[[ModelStore], object]] = {
    "fetch": lambda store: asyncio.run(store.fetch("a")),
    "read": lambda store: store.read("a"),
    "publish": lambda store: store.publish("a", artefact),
    "versions": lambda store: store.versions("a"),
    "activate": lambda store: store.activate("a", 1),
    "customers": lambda store: list(store.customers()),
    "check": lambda store: store.check(),
}


@pytest.fixture
def store(proxy: FaultProxy, s3: ObjectServer, prefix: str) -> ModelStore:
    """One customer's model in a store behind the proxy, which nothing has happened to yet."""
    opened = open_store(s3.url(prefix, endpoint=proxy.endpoint), timeout_s=TIMEOUT_S)
    opened.publish("a", artefact)
    return opened


@contextmanager
def unavailable(within_s: float) -> Iterator[None]:
    """The body raises StoreUnavailable in time, with a sentence that names no place, and a cause that does."""
    started = time.monotonic()
    with pytest.raises(StoreUnavailable) as caught:
        yield
    assert time.monotonic() - started < within_s
    assert caught.value.retry_after_s
    assert not any(hint in caught.value.message for hint in ("127.0.0.1", "/", "test-", "Error"))
    assert isinstance(caught.value.__cause__, StoreFault)
    assert "\n" not in str(caught.value.__cause__)
    assert str(caught.value.__cause__)


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("fault", LASTING, ids=lambda fault: fault.name)
def test_a_fault_that_lasts(store: ModelStore, proxy: FaultProxy, fault: Fault, call: str) -> None:
    """Each call fails as STORE_UNAVAILABLE within its time, and works again as soon as the store does."""
    proxy.fault = fault
    with unavailable(within_s=TIMEOUT_S + GRACE_S):
        CALLS[call](store)
    proxy.fault = Fault.NONE
    CALLS[call](store)


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("fault", [Fault.ERROR, Fault.RESET], ids=lambda fault: fault.name)
def test_a_fault_that_passes(store: ModelStore, proxy: FaultProxy, fault: Fault, call: str) -> None:
    """What goes wrong once or twice is tried again, and nobody notices."""
    proxy.plan.extend([fault, fault])
    CALLS[call](store)


@pytest.mark.parametrize("fault", [Fault.HANG, Fault.TRUNCATED], ids=lambda fault: fault.name)
def test_a_read_that_stalls_once(store: ModelStore, proxy: FaultProxy, fault: Fault) -> None:
    """A silent server or half an artefact is asked once more, within the same time."""
    proxy.plan.append(fault)
    assert store.read("a").data == b"artefact 1"
    proxy.plan.append(fault)
    fetched = asyncio.run(store.fetch("a"))
    assert fetched is not None
    assert fetched.data == b"artefact 1"


@pytest.mark.parametrize("fault", [Fault.LOST, Fault.CONFLICT], ids=lambda fault: fault.name)
@pytest.mark.parametrize("write", [1, 2], ids=["version", "active"])
def test_a_write_whose_outcome_is_unclear(
    store: ModelStore, proxy: FaultProxy, fault: Fault, write: int
) -> None:
    """Done, but the answer was lost; or refused, though nobody else has written: one version comes of it."""
    # The requests of a publisher are list, create, look, replace.
    proxy.plan.extend([Fault.NONE] * (1 if write == 1 else 3) + [fault])
    assert store.publish("a", artefact) == 2
    assert store.versions("a") == (1, 2)
    assert store.read("a").data == b"artefact 2"


@pytest.mark.parametrize("conditional", [False, True])
@pytest.mark.parametrize("fault", [Fault.LOST, Fault.CONFLICT], ids=lambda fault: fault.name)
def test_a_rollback_whose_outcome_is_unclear(
    store: ModelStore, proxy: FaultProxy, fault: Fault, conditional: bool
) -> None:
    """The same for the write of a rollback; one that is to replace what was seen knows its own bytes again."""
    store.publish("a", artefact)
    seen = store.read("a").etag
    proxy.plan.extend([Fault.NONE, Fault.NONE, fault])
    store.activate("a", 1, over=seen if conditional else None)
    assert store.read("a").data == b"artefact 1"


@pytest.mark.parametrize("fault", [Fault.ERROR, Fault.HANG], ids=lambda fault: fault.name)
def test_a_publisher_that_fails_in_the_middle(store: ModelStore, proxy: FaultProxy, fault: Fault) -> None:
    """Between its two writes the store goes away: readers keep the old artefact, and the next one gets through."""
    proxy.plan.extend([Fault.NONE, Fault.NONE])
    proxy.fault = fault
    with unavailable(within_s=2 * TIMEOUT_S + GRACE_S):
        store.publish("a", artefact)
    proxy.fault = Fault.NONE
    assert store.read("a").data == b"artefact 1"
    assert store.publish("a", artefact) == 3
    assert store.read("a").data == b"artefact 3"


def test_nobody_listens(s3: ObjectServer, credentials: None) -> None:
    """A store that refuses connections is unavailable, and the operator is told that it does."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    store = open_store(s3.url(endpoint=f"http://127.0.0.1:{port}"), timeout_s=TIMEOUT_S)
    for call in CALLS.values():
        with unavailable(within_s=TIMEOUT_S + GRACE_S):
            call(store)
    with pytest.raises(StoreUnavailable) as caught:
        store.check()
    assert "Connection refused" in str(caught.value.__cause__)


def test_a_server_that_goes_and_comes_back(credentials: None) -> None:
    """The server is killed, and another takes its place: the store that was opened before works with that."""
    with moto() as first:
        store = open_store(first.url(), timeout_s=TIMEOUT_S)
        store.publish("a", artefact)
    for call in CALLS.values():
        with unavailable(within_s=TIMEOUT_S + GRACE_S):
            call(store)
    with moto(urlsplit(first.endpoint).port or 0):
        for call in (CALLS["publish"], *CALLS.values()):
            call(store)


def test_a_server_that_stops_and_goes_on(credentials: None) -> None:
    """The server's process is halted: connections are made, and nothing is said. Then it goes on."""
    with moto() as server:
        store = open_store(server.url(), timeout_s=TIMEOUT_S)
        store.publish("a", artefact)
        os.kill(server.pid, signal.SIGSTOP)
        for call in CALLS.values():
            with unavailable(within_s=TIMEOUT_S + GRACE_S):
                call(store)
        os.kill(server.pid, signal.SIGCONT)
        for call in CALLS.values():
            call(store)


@pytest.mark.parametrize("kind", ["s3", "az", "gs"])
def test_no_such_bucket(request: pytest.FixtureRequest, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bucket that does not exist is no customer without a model, whatever is asked."""
    server: ObjectServer = request.getfixturevalue(kind)
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    store = open_store(server.url(bucket="wrong"), timeout_s=TIMEOUT_S)
    for call in CALLS.values():
        with pytest.raises(StoreUnavailable, match="bucket of the store of models does not exist") as caught:
            call(store)
        assert "wrong" not in caught.value.message


@pytest.mark.parametrize("identity", ["refuses", "hangs"])
def test_no_credentials(
    proxy: FaultProxy, s3: ObjectServer, monkeypatch: pytest.MonkeyPatch, identity: str
) -> None:
    """Without credentials in the environment and on a machine without an identity: unavailable, in time."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        if identity == "refuses":
            server.close()
        monkeypatch.setenv("AWS_METADATA_ENDPOINT", f"http://127.0.0.1:{port}")
        store = open_store(s3.url(endpoint=proxy.endpoint), timeout_s=TIMEOUT_S)
        for call in CALLS.values():
            with unavailable(within_s=TIMEOUT_S + GRACE_S):
                call(store)
    assert proxy.seen == []


def test_a_cancelled_fetch_ends_at_once(store: ModelStore, proxy: FaultProxy) -> None:
    """A caller that gives up is not held by a silent store, nor is the event loop meanwhile."""

    async def give_up() -> float:
        started = time.monotonic()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await store.fetch("a")
        return time.monotonic() - started

    proxy.fault = Fault.HANG
    assert asyncio.run(give_up()) < TIMEOUT_S * 0.3
    proxy.fault = Fault.NONE
    assert store.read("a").data == b"artefact 1"


def test_a_secret_in_a_query_stays_out_of_the_log(az: ObjectServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Azure's shared access signatures travel in the query: the operator's text does not repeat them."""
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_NAME", az.environment["AZURE_STORAGE_ACCOUNT_NAME"])
    monkeypatch.setenv("AZURE_STORAGE_SAS_TOKEN", "sv=2021-08-06&sig=TOPSECRET&se=2099-01-01&sp=rl")
    store = open_store(az.url(), timeout_s=TIMEOUT_S)
    for call in CALLS.values():
        with pytest.raises(ForecastError) as caught:
            call(store)
        assert isinstance(caught.value.__cause__, StoreFault)
        assert "TOPSECRET" not in str(caught.value.__cause__)
