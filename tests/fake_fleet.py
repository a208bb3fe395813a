"""Several replicas' parts in one process: real loaders on a real store, without Ray between them."""

import asyncio
from dataclasses import dataclass, field
from typing import Any

from forecast_grpc.fleet import LocalModels, Replies


@dataclass
class HouseFleet:
    """Replicas in this process, of which some do not answer. See `Fleet`."""

    replicas: list[LocalModels]
    """All of them."""

    silent: set[str] = field(default_factory=set)
    """The names of those that do not answer."""

    async def ask(self, method: str, *args: object, limit_s: float) -> Replies[Any]:
        """See Fleet."""
        assert limit_s > 0
        asked = [each for each in self.replicas if each.replica not in self.silent]
        calls = (getattr(each, method.removesuffix("_here"))(*args) for each in asked)
        # Each call in a task of its own, as Ray makes one.
        replies = await asyncio.gather(*map(asyncio.ensure_future, calls))
        return Replies(replies=tuple(reversed(replies)), unanswered=len(self.silent))
