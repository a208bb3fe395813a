"""Notes in Ray's own key-value store, which lives as long as the cluster does."""

from hashlib import sha256

# Ray's libraries keep their own state there; Serve does. It has no public name.
from ray.experimental.internal_kv import (
    _internal_kv_del,
    _internal_kv_get,
    _internal_kv_list,
    _internal_kv_put,
)

_NAMESPACE = b"forecast-grpc"
_PREFIX = b"hot-customers/"


class RayNotes:
    """Notes of the replicas that serve one store, whichever application they belong to. See `Notes`."""

    def __init__(self, store: str) -> None:
        # An address may be long, and hold what is nobody's business.
        self._prefix = _PREFIX + sha256(store.encode()).hexdigest().encode() + b"/"

    def put(self, name: str, note: bytes) -> None:
        """See Notes."""
        _internal_kv_put(self._prefix + name.encode(), note, overwrite=True, namespace=_NAMESPACE)

    def all(self) -> dict[str, bytes]:
        """See Notes."""
        keys = _internal_kv_list(self._prefix, namespace=_NAMESPACE)
        found = ((key, _internal_kv_get(key, namespace=_NAMESPACE)) for key in keys)
        return {key.removeprefix(self._prefix).decode(): note for key, note in found if note}

    def remove(self, name: str) -> None:
        """See Notes."""
        _internal_kv_del(self._prefix + name.encode(), namespace=_NAMESPACE)
