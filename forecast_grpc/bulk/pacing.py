"""Long work on the event loop, in short turns."""

import asyncio
import time

TURN_S = 0.002
"""How long one call keeps the event loop from all others at most, in seconds, where its work can be divided so."""


class Pacer:
    """Tells long work when it has had its turn."""

    def __init__(self) -> None:
        self._since = time.perf_counter()

    async def rest(self) -> None:
        """Lets the others have the event loop, if this turn was long enough."""
        if time.perf_counter() - self._since > TURN_S:
            await asyncio.sleep(0)
            self._since = time.perf_counter()

    def resume(self) -> None:
        """Begins a turn: the work has waited for something."""
        self._since = time.perf_counter()
