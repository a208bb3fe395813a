"""What a store has of a fit already, and what is put there: so that a fit that was interrupted can go on."""

from forecast_grpc.artefact import decode
from forecast_grpc.domain import ModelMetadata
from forecast_grpc.errors import ForecastError, NotFound, StoreUnavailable
from forecast_grpc.store import ModelStore


def settled(store: ModelStore, customer_id: str, fit_digest: str) -> ModelMetadata | None:
    """What the customer's newest version says of itself, where it comes from the same fit; else None.

    A publisher that was killed between the two steps of publishing leaves a version that is not active: it is made
    active now. Raises StoreUnavailable.
    """
    try:
        versions = store.versions(customer_id)
        data = store.read(customer_id, version=versions[-1]).data if versions else b""
        found = decode(data, customer_id).metadata
    except StoreUnavailable:
        raise
    except ForecastError:
        # No model, or none that can be read: the next version will be one.
        return None
    if found.fit_digest != fit_digest:
        return None
    if _active(store, customer_id) != data:
        store.activate(customer_id, found.model_version)
    return found


def _active(store: ModelStore, customer_id: str) -> bytes | None:
    try:
        return store.read(customer_id).data
    except NotFound:
        return None
