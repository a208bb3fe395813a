"""The store in a bucket of an object store, laid out as `layout` says.

Publishers need no lock. A version's number is claimed by creating its object, which the store grants to one of
them alone. The active artefact is replaced only as it was last seen, and carries a note: the highest version that
was ever made active. A publisher whose version is not above that leaves it as it is, so the highest ends active
whoever comes last, and a rollback is not undone by a publisher that was overtaken before it. See
docs/decisions/0005-object-stores.md.
"""

import re
import secrets
from collections.abc import Callable, Collection, Iterable, Iterator
from itertools import groupby

from forecast_grpc.customer import require_customer_id
from forecast_grpc.domain import CUSTOMER_ID_PATTERN
from forecast_grpc.errors import ForecastError, StoreUnavailable
from forecast_grpc.store.base import (
    Fetched,
    model_not_found,
    require_removable,
    store_unavailable,
    version_changed,
    version_not_found,
)
from forecast_grpc.store.bucket import Bucket, Found
from forecast_grpc.store.layout import ACTIVE, PICKLE, VERSIONS, may_exist, version_name, versions_among
from forecast_grpc.trust import pickle_forbidden

_HIGHEST = "highest"
_ACTIVATION = "activation"
_PUBLICATION = "publication"
# Names of notes are one lower-case word each: Azure takes no hyphen, and proxies drop underscores.

_ATTEMPTS = 100
"""Conditional writes to one object before the store is taken for one that grants none."""


class ObjectStore:
    """A ModelStore in a bucket. `fetch` needs no thread; the other methods block for some requests.

    Make it in the process that uses it: its connections do not survive a fork.
    """

    def __init__(self, bucket: Bucket, *, name: str, pickles: bool = False) -> None:
        """`pickles`: as in `open_store`."""
        self._bucket = bucket
        self._pickles = pickles
        self.name = name
        """The address, without its options."""

    def __repr__(self) -> str:
        return f"ObjectStore({self.name!r})"

    async def fetch(
        self, customer_id: str, *, version: int | None = None, if_none_match: str | None = None
    ) -> Fetched | None:
        """See ModelStore. One request; one more where there is nothing, to say why; a third for a pickle."""
        require_customer_id(customer_id)
        try:
            return await self._bucket.fetch(_key(customer_id, version), if_none_match=if_none_match)
        except FileNotFoundError as exc:
            names = await self._bucket.names_in_async(customer_id)
            if self._serves_pickle(version, names):
                return await self._fetch_pickle(customer_id, if_none_match)
            raise self._missing(customer_id, version, names) from exc

    def read(self, customer_id: str, *, version: int | None = None) -> Fetched:
        """See ModelStore."""
        require_customer_id(customer_id)
        try:
            return self._bucket.read(_key(customer_id, version))
        except FileNotFoundError as exc:
            names = self._bucket.names_in(customer_id)
            if self._serves_pickle(version, names):
                return self._bucket.read(f"{customer_id}/{PICKLE}")
            raise self._missing(customer_id, version, names) from exc

    def publish(self, customer_id: str, encode: Callable[[int], bytes]) -> int:
        """See ModelStore. Three requests for a customer's first version, four for a later one."""
        require_customer_id(customer_id)
        keys = self._bucket.keys_below(customer_id)
        version = max(_versions(keys), default=0) + 1
        data = encode(version)
        while not self._claim(_key(customer_id, version), data):
            version += 1
            data = encode(version)
        self._settle(_key(customer_id), version, data, is_first=ACTIVE not in keys)
        return version

    def customers(self, *, prefix: str = "", start_after: str = "") -> Iterator[str]:
        """See ModelStore. Listed page by page, every version included; see `_in_name_order` for the pages held."""
        if prefix and not CUSTOMER_ID_PATTERN.fullmatch(prefix):
            return iter(())
        start = start_after if CUSTOMER_ID_PATTERN.fullmatch(start_after) else ""
        keys = self._bucket.keys_after(max(prefix, start))
        names = (name for name in _customers(keys, prefix) if name > start_after)
        return _in_name_order(names)

    def at_hand(self, customer_id: str, *, version: int | None = None) -> None:  # noqa: ARG002 - as of ModelStore
        """See ModelStore. Only a request can tell."""
        require_customer_id(customer_id)

    def versions(self, customer_id: str) -> tuple[int, ...]:
        """See ModelStore."""
        require_customer_id(customer_id)
        keys = self._bucket.keys_below(customer_id)
        if not (versions := _versions(keys)) and not {ACTIVE, PICKLE} & set(keys):
            raise model_not_found(customer_id)
        return versions

    def activate(self, customer_id: str, version: int, *, over: str | None = None) -> None:
        """See ModelStore. Three requests."""
        data = self.read(customer_id, version=version).data
        key, activation = _key(customer_id), secrets.token_hex(16)
        for _ in range(_ATTEMPTS):
            active = self._bucket.find(key)
            # Ours after all, where the answer to the attempt before was lost.
            if active and active.notes.get(_ACTIVATION) == activation:
                return
            if over is not None and (active is None or active.etag != over):
                raise version_changed(customer_id)
            notes = {_HIGHEST: str(max(version, _highest(active))), _ACTIVATION: activation}
            if self._bucket.put(key, data, over=active, notes=notes):
                return
        raise _no_conditional_writes()

    def remove(self, customer_id: str, version: int) -> None:
        """See ModelStore."""
        require_removable(customer_id, version, self.versions(customer_id))
        self._bucket.remove(_key(customer_id, version))

    def check(self) -> None:
        """See ModelStore. Asks whether the bucket can be listed, not whether its objects can be read."""
        self._bucket.check()

    def create(self) -> bool:
        """See ModelStore. A bucket is made with its cloud's own tools: this is `check`, and False."""
        self.check()
        return False

    def _serves_pickle(self, version: int | None, names: Collection[str]) -> bool:
        return self._pickles and version is None and PICKLE in names and ACTIVE not in names

    async def _fetch_pickle(self, customer_id: str, if_none_match: str | None) -> Fetched | None:
        try:
            return await self._bucket.fetch(f"{customer_id}/{PICKLE}", if_none_match=if_none_match)
        except FileNotFoundError as exc:
            raise model_not_found(customer_id) from exc

    def _missing(self, customer_id: str, version: int | None, names: Collection[str]) -> ForecastError:
        """Why there is no such artefact, from the names in the customer's folder."""
        is_there = ACTIVE in names or (self._pickles and PICKLE in names)
        if is_there and version is not None:
            return version_not_found(customer_id, version)
        if PICKLE in names and not is_there:
            return pickle_forbidden(customer_id)
        return model_not_found(customer_id)

    def _claim(self, key: str, data: bytes) -> bool:
        """Creates a version's object; False where the number is another publisher's."""
        publication = secrets.token_hex(16)
        for _ in range(_ATTEMPTS):
            if self._bucket.put(key, data, over=None, notes={_PUBLICATION: publication}):
                return True
            # Ours after all, where the answer was lost; and S3 may refuse both of two at once, so nobody's.
            if found := self._bucket.find(key):
                return found.notes.get(_PUBLICATION) == publication
        raise _no_conditional_writes()

    def _settle(self, key: str, version: int, data: bytes, *, is_first: bool) -> None:
        """Makes `version` the active one, unless a higher one was made active since."""
        active = None if is_first else self._bucket.find(key)
        for _ in range(_ATTEMPTS):
            if _highest(active) >= version:
                return
            if self._bucket.put(key, data, over=active, notes={_HIGHEST: str(version)}):
                return
            active = self._bucket.find(key)
        raise _no_conditional_writes()


def _key(customer_id: str, version: int | None = None) -> str:
    if version is None:
        return f"{customer_id}/{ACTIVE}"
    # A number that no version can have has a key all the same: one that nothing is ever stored under.
    return f"{customer_id}/{VERSIONS}/{version_name(version) if may_exist(version) else '-'}"


def _versions(keys: Iterable[str]) -> tuple[int, ...]:
    folder = f"{VERSIONS}/"
    return versions_among(key.removeprefix(folder) for key in keys if key.startswith(folder))


def _highest(active: Found | None) -> int:
    """The highest version ever made active; 0 where whoever wrote the artefact did not note it."""
    note = active.notes.get(_HIGHEST, "") if active else ""
    return int(note) if note.isdecimal() else 0


def _customers(keys: Iterable[str], prefix: str) -> Iterator[str]:
    """The customers with a model among keys that come in order, as far as they begin with `prefix`."""
    last = ""
    for key in keys:
        if key > prefix and not key.startswith(prefix):
            return
        # A server that does not know where to start begins at the first key, as old Azurites do.
        name, _, rest = key.partition("/")
        if rest not in (ACTIVE, PICKLE) or name == last or not name.startswith(prefix):
            continue
        if CUSTOMER_ID_PATTERN.fullmatch(name):
            last = name
            yield name


def _in_name_order(names: Iterable[str]) -> Iterator[str]:
    """From the order of keys to that of names.

    They differ where a name goes on with `-` or `.`, both of which sort before the `/` that follows a name in its
    key: `a-2/` comes before `a/`. So the names that share all that is before their first `-` or `.`, and only
    they, are held together until all of them are there.
    """
    for _, group in groupby(names, key=lambda name: re.split("[-.]", name, maxsplit=1)[0]):
        yield from sorted(group)


def _no_conditional_writes() -> StoreUnavailable:
    return store_unavailable("The store of models goes on refusing to write what it was asked to.")
