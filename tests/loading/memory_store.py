"""A store in memory that says what it answered: what a replica can know is exactly that."""

import asyncio

from forecast_grpc.store import Fetched
from forecast_grpc.store.base import model_not_found, store_unavailable, version_not_found
from tests.stores import encode, trend

DAMAGED = -1
"""What stands for the version of bytes that cannot be decoded."""

Key = tuple[str, int | None]


class MemoryStore:
    """As much of a ModelStore as a replica uses."""

    def __init__(self) -> None:
        self.active: dict[str, int] = {}
        """The active version of each customer."""
        self.versions: dict[str, int] = {}
        """The highest version that was ever published for each customer."""
        self.down = False
        """Whether every question fails."""
        self.gate = asyncio.Event()
        """Open when set. A fetch that has been called waits for it."""
        self.gate.set()
        self.asked: list[Key] = []
        """Each question."""
        self.answers: list[tuple[Key, int | None]] = []
        """Each answer: the version that was sent or confirmed, None where there was none."""
        self._changes = 0
        self._etags: dict[Key, str] = {}

    def set(self, customer: str, version: int) -> None:
        """Makes a version the active one, as other bytes than those before."""
        self._changes += 1
        self.active[customer] = version
        self._etags[customer, None] = f"active-{self._changes}"

    def at_hand(self, customer_id: str, *, version: int | None = None) -> None:
        """See ModelStore. All that is answered is asked for."""

    async def fetch(
        self, customer_id: str, *, version: int | None = None, if_none_match: str | None = None
    ) -> Fetched | None:
        """See ModelStore."""
        await self.gate.wait()
        self.asked.append((customer_id, version))
        if self.down:
            raise store_unavailable("The store of models does not answer.")
        found = self._found(customer_id, version)
        self.answers.append(((customer_id, version), found))
        if found is None:
            raise (
                model_not_found(customer_id)
                if version is None or customer_id not in self.active
                else version_not_found(customer_id, version)
            )
        etag = self._etags.get((customer_id, version), f"version-{version}")
        if etag == if_none_match:
            return None
        data = b"damaged" if found == DAMAGED else encode(trend(float(found)), found)
        return Fetched(data=data, etag=etag)

    def _found(self, customer: str, version: int | None) -> int | None:
        if version is None:
            return self.active.get(customer)
        return version if version <= self.versions.get(customer, 0) and customer in self.active else None
