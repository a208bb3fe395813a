"""What the store holds, described: the active models, their versions, and which is to be active."""

import asyncio
from collections.abc import Callable, Iterable
from itertools import islice

from forecast_grpc.domain import ServedModel
from forecast_grpc.errors import ForecastError, ModelVersionChanged, NotFound, StoreUnavailable
from forecast_grpc.records import (
    Activation,
    CustomersQuery,
    ModelPage,
    ModelRecord,
    Problem,
    VersionsQuery,
)
from forecast_grpc.store import ModelStore

Decode = Callable[[bytes, str, int | None], ServedModel]
"""From the bytes of an artefact, its customer and the version asked for to a model; raises a ForecastError."""

_READS_AT_ONCE = 16
"""Artefacts of one page that are read at the same time."""


class Registry:
    """The models of a store. Each method raises what the store raises; what blocks runs in a thread."""

    def __init__(self, store: ModelStore, decode: Decode) -> None:
        self._store = store
        self._decode = decode

    async def model(self, customer_id: str, version: int | None = None) -> ModelRecord:
        """The active model, or that version. Raises what the artefact raises, too."""
        served, _ = await self._read(customer_id, version)
        active = version is None or await self._active_version(customer_id) == version
        return _record(customer_id, served, active=active)

    async def customers(self, query: CustomersQuery) -> ModelPage:
        """Some customers with their active models, in the order of their names."""
        names = await asyncio.to_thread(self._names, query)
        page = names[: query.size]
        if query.names_only:
            models = tuple(ModelRecord(customer_id=name, active=True) for name in page)
        else:
            models = await self._described((name, None, True) for name in page)
        return ModelPage(models=models, has_more=len(names) > query.size, scope=query.prefix)

    async def versions(self, query: VersionsQuery) -> ModelPage:
        """Some versions of a customer's model, the newest first. Raises ModelNotFound."""
        published = await asyncio.to_thread(self._store.versions, query.customer_id)
        numbers = [each for each in reversed(published) if query.before is None or each < query.before]
        active = await self._active_version(query.customer_id)
        models = await self._described(
            (query.customer_id, number, number == active) for number in numbers[: query.size]
        )
        return ModelPage(models=models, has_more=len(numbers) > query.size, scope=query.customer_id)

    async def activate(self, order: Activation) -> tuple[ModelRecord, int | None]:
        """Makes a version active that can be read; returns it, and the version that was active before.

        Raises ModelNotFound, ModelVersionNotFound, ModelVersionChanged, and what the artefacts raise: the one that
        is to be active, and where a version is expected the one that is.
        """
        served, _ = await self._read(order.customer_id, order.version)
        previous, over = await self._replaced(order)
        await asyncio.to_thread(self._store.activate, order.customer_id, order.version, over=over)
        return _record(order.customer_id, served, active=True), previous

    async def _replaced(self, order: Activation) -> tuple[int | None, str | None]:
        """The version that is active, and the etag to replace: None where it does not matter."""
        if order.expected_version is None:
            return await self._active_version(order.customer_id), None
        try:
            active, etag = await self._read(order.customer_id, None)
        except NotFound:
            raise _version_changed(order, None) from None
        if active.metadata.model_version != order.expected_version:
            raise _version_changed(order, active.metadata.model_version)
        return active.metadata.model_version, etag

    def _names(self, query: CustomersQuery) -> list[str]:
        """The names of a page, and one more where there is one."""
        names = self._store.customers(prefix=query.prefix, start_after=query.start_after)
        return list(islice(names, query.size + 1))

    async def _described(self, wanted: Iterable[tuple[str, int | None, bool]]) -> tuple[ModelRecord, ...]:
        """What a list says of each customer, version and whether it is active, in their order."""
        turns = asyncio.Semaphore(_READS_AT_ONCE)

        async def described(customer_id: str, version: int | None, active: bool) -> ModelRecord:
            async with turns:
                return await self._listed(customer_id, version, active=active)

        return tuple(await asyncio.gather(*(described(*each) for each in wanted)))

    async def _listed(self, customer_id: str, version: int | None, *, active: bool) -> ModelRecord:
        """What a list says of a model; one that cannot be served does not end the list."""
        try:
            served, _ = await self._read(customer_id, version)
        except StoreUnavailable:
            raise
        except ForecastError as exc:
            return ModelRecord(
                customer_id=customer_id, version=version, active=active, problem=Problem.of(exc)
            )
        return _record(customer_id, served, active=active)

    async def _active_version(self, customer_id: str) -> int | None:
        """The active version; None where there is none, or it cannot be read."""
        listed = await self._listed(customer_id, None, active=True)
        return listed.version

    async def _read(self, customer_id: str, version: int | None) -> tuple[ServedModel, str]:
        fetched = await self._store.fetch(customer_id, version=version)
        assert fetched is not None  # noqa: S101 - without `if_none_match` there is always an answer
        return self._decode(fetched.data, customer_id, version), fetched.etag


def _record(customer_id: str, served: ServedModel, *, active: bool) -> ModelRecord:
    return ModelRecord(
        customer_id=customer_id,
        version=served.metadata.model_version,
        active=active,
        metadata=served.metadata,
        max_horizon=served.forecaster.max_horizon,
    )


def _version_changed(order: Activation, active: int | None) -> ModelVersionChanged:
    now = "none" if active is None else f"version {active}"
    return ModelVersionChanged(
        f"The active model of the customer {order.customer_id} is {now}, not version {order.expected_version}: "
        "look at it, and decide again.",
        metadata={"customer_id": order.customer_id}
        | ({} if active is None else {"active_version": str(active)}),
    )
