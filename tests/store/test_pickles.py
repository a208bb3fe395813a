"""What a store does with a customer's model.pkl where pickles are allowed. Else it refuses them: test_contract."""

from functools import partial

import pytest

from forecast_grpc.errors import ModelFormatForbidden, ModelNotFound, ModelVersionNotFound
from forecast_grpc.store import FolderStore, ModelStore
from forecast_grpc.store.objects import ObjectStore
from tests.cli.conftest import trend
from tests.store.conftest import Place


def for_pickles(store: ModelStore) -> ModelStore:
    """The same store, opened as `open_store(..., pickles=True)` opens it."""
    if isinstance(store, FolderStore):
        return FolderStore(store.root, pickles=True)
    assert isinstance(store, ObjectStore)
    return ObjectStore(store._bucket, name=store.name, pickles=True)


async def test_a_pickle_is_handed_out_where_there_is_nothing_else(place: Place) -> None:
    """With an etag of its own; without a version; and an artefact that is published goes before it."""
    place.write("c/model.pkl", b"pickle")
    store = for_pickles(place.store)
    fetched = await store.fetch("c")
    assert fetched is not None
    assert fetched.data == store.read("c").data == b"pickle"
    assert await store.fetch("c", if_none_match=fetched.etag) is None
    with pytest.raises(ModelVersionNotFound):
        await store.fetch("c", version=1)
    for customer in ("nobody", "empty"):
        with pytest.raises(ModelNotFound):
            await store.fetch(customer)
    with pytest.raises(ModelFormatForbidden):
        await place.store.fetch("c")
    place.store.publish("c", partial(trend, 1.0))
    newer = await store.fetch("c", if_none_match=fetched.etag)
    assert newer is not None
    assert newer.data == trend(1.0)
