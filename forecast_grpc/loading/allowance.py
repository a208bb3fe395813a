"""How much is done at once on the event loop before it comes round to everyone else."""

import asyncio
from collections import deque

MOST_A_ROUND = 8
"""Loads that are done at once in one round of the loop: a millisecond or so."""


class Allowance:
    """A number of takes for each round of the running event loop; who comes later has one of the next rounds'."""

    def __init__(self, most: int = MOST_A_ROUND) -> None:
        self._most = most
        self._taken = 0
        self._waiting: deque[asyncio.Future[None]] = deque()

    def take(self) -> bool:
        """Whether there is one left in this round, and nobody has waited for it; if so, it is taken."""
        if self._taken == 0:
            asyncio.get_running_loop().call_soon(self._renew)
        if self._taken >= self._most:
            return False
        self._taken += 1
        return True

    async def wait(self) -> None:
        """Takes one, in a later round where there is none left in this one: in the order of coming."""
        if self.take():
            return
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        await turn

    def _renew(self) -> None:
        """A new round, of which those that have waited have the first takes."""
        self._taken = 0
        while self._waiting and self._taken < self._most:
            turn = self._waiting.popleft()
            if not turn.done():  # Its caller may have left.
                self._taken += 1
                turn.set_result(None)
        if self._taken:
            asyncio.get_running_loop().call_soon(self._renew)
