"""What every store keeps, hands out, lists and refuses, whatever it lies on."""

import asyncio

import pytest

from forecast_grpc.errors import (
    CustomerIdInvalid,
    CustomerIdMissing,
    ForecastError,
    ModelFormatForbidden,
    ModelNotFound,
    ModelVersionChanged,
    ModelVersionNotFound,
)
from forecast_grpc.store import Fetched, ModelStore
from tests.store.conftest import Place

BAD_IDS = (
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
)


def artefact(version: int) -> bytes:
    """Bytes that tell their version; a store does not look into them."""
    return f"artefact {version}".encode()


def fetch(store: ModelStore, customer_id: str, etag: str | None = None) -> Fetched | None:
    """The asynchronous way to read."""
    return asyncio.run(store.fetch(customer_id, if_none_match=etag))


def test_versions_count_from_one(store: ModelStore) -> None:
    """Each publishing takes the next number, which `encode` is told."""
    assert [store.publish("a", artefact) for _ in range(3)] == [1, 2, 3]
    assert store.versions("a") == (1, 2, 3)


def test_layout(place: Place) -> None:
    """The active artefact and each version lie where the contract says, and nothing else does."""
    place.store.publish("a", artefact)
    place.store.publish("a", artefact)
    assert place.content() == {
        "a/model.safetensors": b"artefact 2",
        "a/versions/1.safetensors": b"artefact 1",
        "a/versions/2.safetensors": b"artefact 2",
    }


def test_read_and_fetch_agree(store: ModelStore) -> None:
    """Both give the active artefact, or the version asked for, with the same etag."""
    store.publish("a", artefact)
    store.publish("a", artefact)
    assert store.read("a") == fetch(store, "a")
    assert store.read("a").data == b"artefact 2"
    assert store.read("a", version=1).data == b"artefact 1"
    assert asyncio.run(store.fetch("a", version=1)) == store.read("a", version=1)


def test_unmodified_is_none(store: ModelStore) -> None:
    """With the etag of the bytes that are there, there is nothing to fetch."""
    store.publish("a", artefact)
    assert fetch(store, "a", store.read("a").etag) is None


@pytest.mark.parametrize("change", ["publish", "activate", "by hand"])
def test_etag_changes_with_the_bytes(place: Place, change: str) -> None:
    """However the active artefact came to change, its etag did too, though its length is the same."""
    store = place.store
    store.publish("a", artefact)
    store.publish("a", artefact)
    before = store.read("a")
    if change == "publish":
        store.publish("a", artefact)
    elif change == "activate":
        store.activate("a", 1)
    else:
        place.write("a/model.safetensors", b"artefact 9")
    after = fetch(store, "a", before.etag)
    assert after is not None
    assert after.data != before.data
    assert after.etag != before.etag


def test_activate_goes_back(store: ModelStore) -> None:
    """An old version can be made active again; the versions stay, and the next number follows the highest."""
    for _ in range(3):
        store.publish("a", artefact)
    store.activate("a", 1)
    assert store.read("a").data == b"artefact 1"
    assert store.versions("a") == (1, 2, 3)
    assert store.publish("a", artefact) == 4
    assert store.read("a").data == b"artefact 4"


def test_activate_replaces_what_was_seen(store: ModelStore) -> None:
    """With the etag that was seen, a version is made active as long as that is the active artefact's etag."""
    for _ in range(3):
        store.publish("a", artefact)
    seen = store.read("a").etag
    store.activate("a", 1, over=seen)
    assert store.read("a").data == b"artefact 1"
    with pytest.raises(ModelVersionChanged) as caught:
        store.activate("a", 2, over=seen)
    assert caught.value.metadata == {"customer_id": "a"}
    assert store.read("a").data == b"artefact 1"
    store.activate("a", 2, over=store.read("a").etag)
    assert store.read("a").data == b"artefact 2"
    with pytest.raises(ModelVersionNotFound):
        store.activate("a", 4, over=store.read("a").etag)


def test_activate_does_not_replace_what_is_gone(place: Place) -> None:
    """A condition on an artefact that is not there fails; without one the version becomes active."""
    for key in ("a/versions/1.safetensors", "a/versions/2.safetensors"):
        place.write(key, key.encode())
    with pytest.raises(ModelVersionChanged):
        place.store.activate("a", 1, over="anything")
    assert "a/model.safetensors" not in place.content()
    place.store.activate("a", 1)
    assert place.store.read("a").data == b"a/versions/1.safetensors"


def test_remove(store: ModelStore) -> None:
    """A version can be removed, the active one too, which goes on being served; its number is not given again."""
    for _ in range(3):
        store.publish("a", artefact)
    store.activate("a", 2)
    store.remove("a", 2)
    assert store.versions("a") == (1, 3)
    assert store.read("a").data == b"artefact 2"
    for version in (2, 4, 0):
        with pytest.raises(ModelVersionNotFound):
            store.remove("a", version)
    with pytest.raises(ValueError, match="highest"):
        store.remove("a", 3)
    assert store.publish("a", artefact) == 4


def test_active_and_version_are_apart(place: Place) -> None:
    """A damaged active artefact does not damage the version that it came from."""
    place.store.publish("a", artefact)
    place.write("a/model.safetensors", b"")
    place.store.activate("a", 1)
    assert place.store.read("a").data == b"artefact 1"


def test_copied_by_hand(place: Place) -> None:
    """A store that was copied here by another tool is served, and published to, like one that was made here."""
    for key in ("a/model.safetensors", "a/versions/1.safetensors"):
        place.write(key, b"artefact 1")
    assert place.store.read("a").data == b"artefact 1"
    assert place.store.publish("a", artefact) == 2
    assert place.store.read("a").data == b"artefact 2"


def test_failing_encode_leaves_nothing(place: Place) -> None:
    """What `encode` raises comes out, and the store is as it was."""

    def fail(version: int) -> bytes:
        raise RuntimeError(version)

    with pytest.raises(RuntimeError):
        place.store.publish("a", fail)
    assert place.content() == {}


def test_missing_customer(store: ModelStore) -> None:
    """A customer without a model is named in the error, whatever is asked of it."""
    for call in (
        lambda: fetch(store, "nobody"),
        lambda: store.read("nobody"),
        lambda: store.read("nobody", version=1),
        lambda: store.versions("nobody"),
        lambda: store.activate("nobody", 1),
        lambda: store.remove("nobody", 1),
    ):
        with pytest.raises(ModelNotFound) as caught:
            call()
        assert caught.value.metadata == {"customer_id": "nobody"}


@pytest.mark.parametrize("version", [0, -1, 2, 2**63 - 1, 10**400])
def test_missing_version(store: ModelStore, version: int) -> None:
    """A version that was never published is told from a customer that has none."""
    store.publish("a", artefact)
    with pytest.raises(ModelVersionNotFound) as caught:
        store.read("a", version=version)
    assert caught.value.metadata == {"customer_id": "a", "model_version": str(version)}
    with pytest.raises(ModelVersionNotFound):
        asyncio.run(store.fetch("a", version=version))
    with pytest.raises(ModelVersionNotFound):
        store.activate("a", version)


def test_pickle_is_refused(place: Place) -> None:
    """A pickle alone is refused by name, and its customer is listed."""
    place.write("a/model.pkl", b"cos\nsystem\n(S'true'\ntR.")
    for version in (None, 1):
        with pytest.raises(ModelFormatForbidden):
            place.store.read("a", version=version)
        with pytest.raises(ModelFormatForbidden):
            asyncio.run(place.store.fetch("a", version=version))
    assert place.store.versions("a") == ()
    assert list(place.store.customers()) == ["a"]


def test_pickle_beside_an_artefact_is_ignored(place: Place) -> None:
    """Where there is an artefact, a pickle beside it changes nothing."""
    place.store.publish("a", artefact)
    place.write("a/model.pkl", b"cos\nsystem\n(S'true'\ntR.")
    assert place.store.read("a").data == b"artefact 1"
    assert list(place.store.customers()) == ["a"]


@pytest.mark.parametrize("customer_id", BAD_IDS)
def test_malformed_customer(place: Place, customer_id: str) -> None:
    """Each method refuses a malformed name, and nothing comes of it."""
    store = place.store
    for call in (
        lambda: fetch(store, customer_id),
        lambda: store.at_hand(customer_id),
        lambda: store.read(customer_id),
        lambda: store.publish(customer_id, artefact),
        lambda: store.versions(customer_id),
        lambda: store.activate(customer_id, 1),
        lambda: store.remove(customer_id, 1),
    ):
        with pytest.raises(CustomerIdInvalid):
            call()
    assert place.content() == {}


def test_empty_customer(store: ModelStore) -> None:
    """No name is another error than a malformed one."""
    with pytest.raises(CustomerIdMissing):
        store.read("")


@pytest.mark.parametrize("customer_id", ["a", "A.b_c-9", "0", "a..b", "a.", "a" * 128])
def test_wellformed_customer(store: ModelStore, customer_id: str) -> None:
    """Every name that the contract allows can be published and read."""
    store.publish(customer_id, artefact)
    assert store.read(customer_id).data == b"artefact 1"
    assert list(store.customers()) == [customer_id]


def test_customers_are_sorted_and_filtered(place: Place) -> None:
    """Listing is in code-point order, from after a name, under a prefix, and skips what is no customer."""
    store = place.store
    for customer_id in ("b", "a-2", "B", "a-10", "a", "a.b", "a-2-x"):
        store.publish(customer_id, artefact)
    for stray in ("README.md", ".hidden/model.safetensors", "not valid/model.safetensors", "empty/notes"):
        place.write(stray, b"stray")
    assert list(store.customers()) == ["B", "a", "a-10", "a-2", "a-2-x", "a.b", "b"]
    assert list(store.customers(prefix="a-")) == ["a-10", "a-2", "a-2-x"]
    assert list(store.customers(start_after="a-10")) == ["a-2", "a-2-x", "a.b", "b"]
    assert list(store.customers(start_after="a-2")) == ["a-2-x", "a.b", "b"]
    assert list(store.customers(prefix="a", start_after="a")) == ["a-10", "a-2", "a-2-x", "a.b"]
    assert list(store.customers(prefix="a", start_after="c")) == []
    assert list(store.customers(prefix="a/")) == list(store.customers(prefix="-")) == []
    assert list(store.customers(start_after="a!")) == ["a-10", "a-2", "a-2-x", "a.b", "b"]


def test_strays_among_versions_are_skipped(place: Place) -> None:
    """Only what is named as a version is one."""
    place.store.publish("a", artefact)
    for name in ("0.safetensors", "01.safetensors", "2.safetensors.bak", "x.safetensors", "3/1.safetensors"):
        place.write(f"a/versions/{name}", b"")
    assert place.store.versions("a") == (1,)


def test_create_finds_what_is_there(store: ModelStore) -> None:
    """A store that is there is not made again."""
    store.check()
    assert not store.create()


def test_no_message_names_a_place(place: Place) -> None:
    """Whatever goes wrong with a customer, the caller's sentence does not say where the store is."""
    place.write("pickled/model.pkl", b"")
    place.store.publish("good", artefact)
    for customer_id, version in (("nobody", None), ("pickled", None), ("good", 9)):
        with pytest.raises(ForecastError) as caught:
            place.store.read(customer_id, version=version)
        assert not any(hint in caught.value.message for hint in ("/", "127.0.0.1", "test-"))
