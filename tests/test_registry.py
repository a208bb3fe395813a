"""What is told of a store, and what becomes active in it."""

from pathlib import Path

import pytest

from forecast_grpc import artefact
from forecast_grpc.domain import ServedModel
from forecast_grpc.errors import (
    ForecastError,
    ModelCorrupt,
    ModelFormatForbidden,
    ModelNotFound,
    ModelVersionChanged,
    ModelVersionNotFound,
    StoreUnavailable,
)
from forecast_grpc.records import Activation, CustomersQuery, ModelRecord, VersionsQuery
from forecast_grpc.registry import Registry
from forecast_grpc.store import FolderStore
from tests import stores
from tests.stores import MANY, publisher, trend


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    """The store of the service's tests."""
    return stores.build(tmp_path / "store")


@pytest.fixture
def registry(store: FolderStore) -> Registry:
    """On that store."""
    return Registry(store, artefact.decode)


def order(version: int, expected: int | None = None, customer: str = "versioned") -> Activation:
    """An order for the customer with three versions."""
    return Activation(customer_id=customer, version=version, expected_version=expected)


async def test_one_model(registry: Registry) -> None:
    """The active version, or another, which says that it is not the active one."""
    active, first = await registry.model("versioned"), await registry.model("versioned", 1)
    assert (active.version, active.active, first.version, first.active) == (3, True, 1, False)
    assert (await registry.model("versioned", 3)).active
    assert active.metadata is not None
    assert (active.metadata.family, active.max_horizon) == ("trend", None)


@pytest.mark.parametrize(
    ("customer", "version", "error"),
    [
        ("nobody", None, ModelNotFound),
        ("versioned", 4, ModelVersionNotFound),
        ("truncated", None, ModelCorrupt),
        ("pickled", None, ModelFormatForbidden),
    ],
)
async def test_a_model_that_cannot_be_had(
    registry: Registry, customer: str, version: int | None, error: type[ForecastError]
) -> None:
    """As a forecast would fail."""
    with pytest.raises(error):
        await registry.model(customer, version)


async def test_customers_come_in_pages(registry: Registry, store: FolderStore) -> None:
    """All of them, each once, in the order of their names; those that cannot be served with the reason."""
    found: list[ModelRecord] = []
    start_after = ""
    while True:
        page = await registry.customers(CustomersQuery(start_after=start_after, size=7))
        assert len(page.models) == 7 or not page.has_more
        found += page.models
        if not page.has_more:
            break
        start_after = page.models[-1].customer_id
    assert [model.customer_id for model in found] == list(store.customers())
    problems = {model.customer_id: model.problem.reason for model in found if model.problem}
    assert problems == {
        "empty": "MODEL_CORRUPT",
        "flipped": "MODEL_CORRUPT",
        "future-family": "MODEL_FORMAT_UNSUPPORTED",
        "future-format": "MODEL_FORMAT_UNSUPPORTED",
        "pickle-renamed": "MODEL_FORMAT_FORBIDDEN",
        "pickled": "MODEL_FORMAT_FORBIDDEN",
        "truncated": "MODEL_CORRUPT",
    }
    assert all(model.version and model.metadata for model in found if model.problem is None)


async def test_a_prefix_and_an_exact_end(registry: Registry) -> None:
    """A page that holds the last customer is the last page."""
    page = await registry.customers(CustomersQuery(prefix="shop-", size=len(MANY)))
    assert tuple(model.customer_id for model in page.models) == MANY
    assert not page.has_more
    assert (await registry.customers(CustomersQuery(prefix="nothing-", size=5))).models == ()


async def test_names_alone_need_no_artefact(store: FolderStore) -> None:
    """With names only no artefact is looked into."""

    def decode(_data: bytes, customer_id: str, _version: int | None) -> ServedModel:
        raise AssertionError(customer_id)

    registry = Registry(store, decode)
    page = await registry.customers(CustomersQuery(prefix="shop-0", size=3, names_only=True))
    assert [model.customer_id for model in page.models] == ["shop-00", "shop-01", "shop-02"]
    assert all(model.metadata is None and model.problem is None for model in page.models)


async def test_versions_come_the_newest_first(registry: Registry, store: FolderStore) -> None:
    """Page by page, the active one marked, a damaged one with its reason and its number."""
    store.activate("versioned", 2)
    (store.root / "versioned" / "versions" / "1.safetensors").write_bytes(b"damaged")
    first = await registry.versions(VersionsQuery(customer_id="versioned", size=2))
    assert [(model.version, model.active) for model in first.models] == [(3, False), (2, True)]
    assert first.has_more
    last = await registry.versions(VersionsQuery(customer_id="versioned", before=2, size=2))
    assert [(model.version, model.problem.reason) for model in last.models if model.problem] == [
        (1, "MODEL_CORRUPT")
    ]
    assert not last.has_more
    with pytest.raises(ModelNotFound):
        await registry.versions(VersionsQuery(customer_id="nobody", size=2))


async def test_activating(registry: Registry, store: FolderStore) -> None:
    """The version asked for is active afterwards, and what was before is told."""
    model, previous = await registry.activate(order(1))
    assert (model.version, model.active, previous) == (1, True, 3)
    model, previous = await registry.activate(order(2, expected=1))
    assert (model.version, previous) == (2, 1)
    assert artefact.decode(store.read("versioned").data, "").metadata.model_version == 2


async def test_activating_what_somebody_else_has_changed(registry: Registry, store: FolderStore) -> None:
    """Where another version than the expected one is active nothing changes, and the error tells which is."""
    with pytest.raises(ModelVersionChanged) as caught:
        await registry.activate(order(1, expected=2))
    assert caught.value.metadata == {"customer_id": "versioned", "active_version": "3"}
    assert "version 3, not version 2" in caught.value.message
    (store.root / "versioned" / "model.safetensors").unlink()
    with pytest.raises(ModelVersionChanged) as caught:
        await registry.activate(order(1, expected=2))
    assert caught.value.metadata == {"customer_id": "versioned"}


async def test_activating_between_a_look_and_a_write(
    registry: Registry, store: FolderStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A version published after the look, before the write, is not replaced."""
    activate = FolderStore.activate

    def overtaken(self: FolderStore, customer_id: str, version: int, *, over: str | None = None) -> None:
        store.publish(customer_id, publisher(trend(4.0)))
        activate(self, customer_id, version, over=over)

    monkeypatch.setattr(FolderStore, "activate", overtaken)
    with pytest.raises(ModelVersionChanged):
        await registry.activate(order(1, expected=3))
    assert artefact.decode(store.read("versioned").data, "").metadata.model_version == 4


@pytest.mark.parametrize("expected", [None, 3])
async def test_what_cannot_be_read_does_not_become_active(
    registry: Registry, store: FolderStore, expected: int | None
) -> None:
    """A damaged version is refused before anything is changed."""
    (store.root / "versioned" / "versions" / "1.safetensors").write_bytes(b"damaged")
    before = store.read("versioned")
    with pytest.raises(ModelCorrupt):
        await registry.activate(order(1, expected))
    assert store.read("versioned") == before


async def test_away_from_a_damaged_model(registry: Registry, store: FolderStore) -> None:
    """What cannot be read is replaced where no version is expected; where one is, it cannot be compared."""
    (store.root / "versioned" / "model.safetensors").write_bytes(b"damaged")
    with pytest.raises(ModelCorrupt):
        await registry.activate(order(1, expected=3))
    model, previous = await registry.activate(order(1))
    assert (model.version, previous) == (1, None)


async def test_a_store_that_is_away_is_no_empty_list(tmp_path: Path) -> None:
    """Each call fails as STORE_UNAVAILABLE where there is no store."""
    away = Registry(FolderStore(tmp_path / "nowhere"), artefact.decode)
    for call in (
        away.model("a"),
        away.customers(CustomersQuery(size=1)),
        away.versions(VersionsQuery(customer_id="a", size=1)),
        away.activate(order(1)),
    ):
        with pytest.raises(StoreUnavailable):
            await call
