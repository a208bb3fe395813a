"""Where models live: `open_store` takes the address of a store and hands out the store."""

import re
from pathlib import Path

from forecast_grpc.store.base import Fetched, ModelStore
from forecast_grpc.store.folder import FolderStore

__all__ = ["Fetched", "FolderStore", "ModelStore", "open_store"]

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+)://")


def open_store(url: str) -> ModelStore:
    """The store at `url`: a folder's path, absolute or relative, `~` allowed, or `file:///path`.

    Touches nothing yet: `check` says whether the store is there. Raises ValueError where no store can be meant.
    """
    scheme = _SCHEME.match(url)
    if scheme and scheme[1].lower() != "file":
        raise ValueError(f"No store can be opened at {url}: only folders are known, and {scheme[0]} is none.")
    path = url[len(scheme[0]) :] if scheme else url
    if not path or "\0" in path:
        raise ValueError("The store is named by the path of a folder.")
    return FolderStore(Path(path).expanduser())
