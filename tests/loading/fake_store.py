"""A store that waits, fails and counts on demand, over a real one."""

import asyncio

from forecast_grpc.store import Fetched, FolderStore
from forecast_grpc.store.base import model_not_found


class GatedStore(FolderStore):
    """A folder store whose fetches are counted, and pass only while the gate is open."""

    def __init__(self, store: FolderStore) -> None:
        super().__init__(store.root)
        self.gate = asyncio.Event()
        """Open when set. A fetch that has been called waits for it."""
        self.gate.set()
        self.strangers: set[str] = set()
        """The customers of whom it tells without a fetch that they have nothing."""
        self.cached = False
        """Whether it has all that is there at hand."""
        self.fetches: list[str] = []
        """The customers that were fetched, in order."""
        self.sent: list[str] = []
        """The customers whose bytes were sent, in order."""
        self.at_once = 0
        """Fetches under way."""
        self.most_at_once = 0
        """The largest number of fetches that were ever under way."""
        self.failure: Exception | None = None
        """What fetches raise instead of an answer."""
        self.keep_back = False
        """Whether answers are read, and then kept back until their event in `kept` is set."""
        self.kept: list[asyncio.Event] = []
        """One for each answer that was kept back."""

    def at_hand(self, customer_id: str, *, version: int | None = None) -> Fetched | None:
        """See ModelStore."""
        if customer_id in self.strangers:
            raise model_not_found(customer_id)
        return self.read(customer_id, version=version) if self.cached else None

    async def fetch(
        self, customer_id: str, *, version: int | None = None, if_none_match: str | None = None
    ) -> Fetched | None:
        """See ModelStore."""
        self.fetches.append(customer_id)
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            await self.gate.wait()
            if self.failure is not None:
                raise self.failure
            fetched = await super().fetch(customer_id, version=version, if_none_match=if_none_match)
            if fetched is not None:
                self.sent.append(customer_id)
            if self.keep_back:
                self.kept.append(asyncio.Event())
                await self.kept[-1].wait()
            return fetched
        finally:
            self.at_once -= 1
