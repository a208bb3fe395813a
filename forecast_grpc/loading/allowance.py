"""How much is done at once on the event loop before it comes round to everyone else."""

import asyncio

MOST_A_ROUND = 8
"""Loads that are done at once in one round of the loop: a millisecond or so."""


class Allowance:
    """A number of takes for each round of the running event loop."""

    def __init__(self, most: int = MOST_A_ROUND) -> None:
        self._most = most
        self._taken = 0

    def take(self) -> bool:
        """Whether there is one left in this round; if so, it is taken."""
        if self._taken == 0:
            asyncio.get_running_loop().call_soon(self._renew)
        if self._taken >= self._most:
            return False
        self._taken += 1
        return True

    async def wait(self) -> None:
        """Takes one, in a later round where there is none left in this one."""
        while not self.take():  # noqa: ASYNC110 - the loop's next round is the event
            await asyncio.sleep(0)

    def _renew(self) -> None:
        self._taken = 0
