"""What a store of models is: artefacts' bytes by customer and version, whatever they lie on."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

from forecast_grpc.errors import (
    ModelNotFound,
    ModelVersionChanged,
    ModelVersionNotFound,
    StoreUnavailable,
)

RETRY_AFTER_S = 1.0
"""When to try again after a store did not answer, in seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetched:
    """An artefact as it lies in the store."""

    data: bytes
    """The artefact's bytes, not yet verified."""

    etag: str
    """Opaque; another one whenever the bytes may be others. Compare it within one customer and version only."""


class ModelStore(Protocol):
    """Artefacts by customer: one of them active, every published version kept.

    Each method that takes a customer raises CustomerIdMissing or CustomerIdInvalid before it touches the store,
    and StoreUnavailable where the store does not answer. No message holds a path or an address.
    """

    async def fetch(
        self, customer_id: str, *, version: int | None = None, if_none_match: str | None = None
    ) -> Fetched | None:
        """The active artefact, or that version; None where its etag is still `if_none_match`.

        Raises ModelNotFound, ModelVersionNotFound, and ModelFormatForbidden where all there is is a pickle; a
        store that was opened with `pickles` has the pickle's bytes in place of the active artefact then.
        """
        ...

    def at_hand(self, customer_id: str, *, version: int | None = None) -> Fetched | None:
        """What `fetch` would answer, where that can be told in microseconds: for code on an event loop.

        None where `fetch` has to be asked. Raises ModelNotFound where the customer has certainly nothing.
        """
        ...

    def read(self, customer_id: str, *, version: int | None = None) -> Fetched:
        """As `fetch`, from code that runs no event loop."""
        ...

    def publish(self, customer_id: str, encode: Callable[[int], bytes]) -> int:
        """Stores `encode(n)` under the next version n and makes it the active one; returns n.

        `encode` may be called again with a higher number where another publisher was quicker. What it raises
        comes out, and the store is as it was. However many publish at once, the highest version ends active.
        """
        ...

    def customers(self, *, prefix: str = "", start_after: str = "") -> Iterator[str]:
        """The customers that have a model, in the order of their names' code points."""
        ...

    def versions(self, customer_id: str) -> tuple[int, ...]:
        """Every published version, ascending. Raises ModelNotFound where there is no model at all."""
        ...

    def activate(self, customer_id: str, version: int, *, over: str | None = None) -> None:
        """Makes a published version the active one; with `over`, only while the active artefact has that etag.

        Comparing and replacing are one step: nobody's change in between is lost. Raises ModelNotFound or
        ModelVersionNotFound; ModelVersionChanged where the active artefact has another etag, or is not there.
        """
        ...

    def remove(self, customer_id: str, version: int) -> None:
        """Deletes a published version. The active artefact stays as it is, even where it came from this version.

        Raises ModelNotFound or ModelVersionNotFound, and ValueError for the highest version: its number would be
        given to the next one.
        """
        ...

    def check(self) -> None:
        """Raises StoreUnavailable where the store cannot be reached or read."""
        ...

    def create(self) -> bool:
        """Makes an empty store where there is none; True if it did. Raises StoreUnavailable where it cannot."""
        ...


def model_not_found(customer_id: str) -> ModelNotFound:
    """The error for a customer that the store does not know."""
    return ModelNotFound(
        f"The store has no model of the customer {customer_id}.", metadata={"customer_id": customer_id}
    )


def version_not_found(customer_id: str, version: int) -> ModelVersionNotFound:
    """The error for a customer that has a model, but not in this version."""
    return ModelVersionNotFound(
        f"The customer {customer_id} has no model version {version}.",
        metadata={"customer_id": customer_id, "model_version": str(version)},
    )


def version_changed(customer_id: str) -> ModelVersionChanged:
    """The error for a customer whose active model has changed since the caller saw it."""
    return ModelVersionChanged(
        f"The active model of the customer {customer_id} is another one by now: look at it, and decide again.",
        metadata={"customer_id": customer_id},
    )


def require_removable(customer_id: str, version: int, published: tuple[int, ...]) -> None:
    """Raises what `ModelStore.remove` raises, for a customer that has these versions, in ascending order."""
    if version not in published:
        raise version_not_found(customer_id, version)
    if version == published[-1]:
        raise ValueError(f"Version {version} is the highest of {customer_id}, and cannot be removed.")


def store_unavailable(what: str) -> StoreUnavailable:
    """The error for a store that does not answer; `what` is the sentence that says how."""
    return StoreUnavailable(what, retry_after_s=RETRY_AFTER_S)
