"""The few calls to a bucket that a store of models is made of. Each raises StoreUnavailable where it fails."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import obstore
from obstore.exceptions import AlreadyExistsError, NotModifiedError, PreconditionError

from forecast_grpc.store.base import Fetched
from forecast_grpc.store.clients import Client
from forecast_grpc.store.faults import translated

if TYPE_CHECKING:
    # Names for the type checker alone: the library does not have them when it runs.
    from obstore import GetOptions, GetResult, ObjectMeta, UpdateVersion

_PAGE = 500
_NOBODY = "-"


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What is known of an object without its bytes."""

    state: "UpdateVersion"
    """What a conditional write compares."""

    etag: str
    """What `fetch` and `read` call these bytes."""

    notes: Mapping[str, str]
    """What its writer noted on it."""


class Bucket:
    """A folder in a bucket, its objects named by keys relative to that folder."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def fetch(self, key: str, *, if_none_match: str | None) -> Fetched | None:
        """The object, in one request; None where its etag is `if_none_match`.

        Raises FileNotFoundError where there is no such object, or no such bucket.
        """
        options: GetOptions = {"if_none_match": if_none_match} if if_none_match else {}
        try:
            with translated(FileNotFoundError, NotModifiedError):
                result = await obstore.get_async(self._client, key, options=options)
                return Fetched(data=bytes(await result.bytes_async()), etag=_etag(result))
        except NotModifiedError:
            return None

    def read(self, key: str) -> Fetched:
        """As `fetch`, without a condition, and blocking."""
        with translated(FileNotFoundError):
            result = obstore.get(self._client, key)
            return Fetched(data=bytes(result.bytes()), etag=_etag(result))

    def find(self, key: str) -> Found | None:
        """The object without its bytes; None where there is none."""
        try:
            with translated(FileNotFoundError):
                result = obstore.get(self._client, key, options={"head": True})
        except FileNotFoundError:
            return None
        return Found(state=_state(result.meta), etag=_etag(result), notes=result.attributes)

    def put(self, key: str, data: bytes, *, over: Found | None, notes: Mapping[str, str]) -> bool:
        """Writes the object if it is still as `over` says, or still not there where that is None.

        False means that it was not written; or that it was, and that the answer was lost on the way: the library
        then asks again, and the condition fails on our own bytes. Only `notes` can tell.
        """
        try:
            with translated(AlreadyExistsError, PreconditionError):
                obstore.put(
                    self._client,
                    key,
                    data,
                    mode="create" if over is None else over.state,
                    attributes=dict(notes),
                )
        except (AlreadyExistsError, PreconditionError):
            return False
        return True

    def remove(self, key: str) -> None:
        """Deletes the object; does nothing where there is none."""
        with translated():
            obstore.delete(self._client, key)

    def keys_below(self, folder: str) -> list[str]:
        """The keys of all objects below a folder, relative to it."""
        with translated():
            found = obstore.list(self._client, folder).collect()
        return [each["path"].removeprefix(f"{folder}/") for each in found]

    def names_in(self, folder: str) -> list[str]:
        """The names of the objects in a folder, without those in its subfolders: one small request."""
        with translated():
            return _names(obstore.list_with_delimiter(self._client, folder)["objects"])

    async def names_in_async(self, folder: str) -> list[str]:
        """As `names_in`, for an event loop."""
        with translated():
            return _names((await obstore.list_with_delimiter_async(self._client, folder))["objects"])

    def keys_after(self, start: str) -> Iterator[str]:
        """All keys that come after `start`, in the order of their code points, fetched page by page."""
        with translated():
            pages = iter(obstore.list(self._client, offset=start or None, chunk_size=_PAGE))
        while True:
            with translated():
                page = next(pages, None)
            if page is None:
                return
            yield from (each["path"] for each in page)

    def check(self) -> None:
        """Raises StoreUnavailable where the bucket cannot be listed."""
        # A folder that no customer can have: the answer is empty, however full the bucket is.
        self.names_in(_NOBODY)


def _etag(result: "GetResult") -> str:
    return result.meta["e_tag"] or ""


def _state(meta: "ObjectMeta") -> "UpdateVersion":
    """Google compares the generation, which obstore calls the version; the others compare the etag."""
    state: UpdateVersion = {}
    if meta["e_tag"]:
        state["e_tag"] = meta["e_tag"]
    if meta["version"]:
        state["version"] = meta["version"]
    return state


def _names(objects: "Sequence[ObjectMeta]") -> list[str]:
    return [each["path"].rpartition("/")[2] for each in objects]
