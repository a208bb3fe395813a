"""Where models live: `open_store` takes the address of a store and hands out the store."""

import re
from pathlib import Path

from forecast_grpc.store import address
from forecast_grpc.store.base import Fetched, ModelStore
from forecast_grpc.store.bulk import publish_all
from forecast_grpc.store.folder import FolderStore

__all__ = ["Fetched", "FolderStore", "ModelStore", "open_store", "publish_all"]

COMMAND_TIMEOUT_S = 10.0
"""Seconds that each call to an object store may take where no request of a caller waits for it: in commands."""

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+)://")


def open_store(
    url: str, *, timeout_s: float = COMMAND_TIMEOUT_S, pickles: bool = False, max_concurrent: int = 8
) -> ModelStore:
    """The store at `url`, which is one of these.

    - A folder's path, absolute or relative, `~` allowed, or `file:///path`.
    - `s3://BUCKET/PREFIX`, `gs://BUCKET/PREFIX` or `az://CONTAINER/PREFIX`, with options after a `?`: see
      docs/stores.md. Each call to it ends within `timeout_s` seconds, retries included.

    With `pickles` the store also hands out the bytes of a customer's `model.pkl`, where that is all there is; it
    loads none of them. A folder is read by up to `max_concurrent` threads at the same time. Touches nothing yet:
    `check` says whether the store is there. Raises ValueError where no store can be meant.
    """
    found = _SCHEME.match(url)
    scheme, rest = (found[1].lower(), url[found.end() :]) if found else ("file", url)
    if scheme in address.OPTIONS:
        return _object_store(address.parse(scheme, rest), timeout_s, pickles=pickles)
    if scheme != "file":
        known = ", ".join(f"{each}://" for each in address.OPTIONS)
        raise ValueError(
            f"No store can be opened at {scheme}://: a store is a folder, or begins with {known}."
        )
    if not rest or "\0" in rest:
        raise ValueError("The store is named by the path of a folder, or by the address of a bucket.")
    return FolderStore(Path(rest).expanduser(), pickles=pickles, max_concurrent=max_concurrent)


def _object_store(where: address.StoreAddress, timeout_s: float, *, pickles: bool) -> ModelStore:
    # Most stores of a laptop are folders, and the library of the others takes a twentieth of a second to load.
    from forecast_grpc.store.bucket import Bucket  # noqa: PLC0415
    from forecast_grpc.store.clients import connect  # noqa: PLC0415
    from forecast_grpc.store.objects import ObjectStore  # noqa: PLC0415

    return ObjectStore(Bucket(connect(where, timeout_s)), name=str(where), pickles=pickles)
