"""Taking connections: all that have come, whenever the event loop looks."""

import asyncio
import logging
import socket
import sys
from collections.abc import Callable
from contextlib import suppress

BACKLOG = 1_024
"""Connections that may wait to be taken."""

PAUSE_S = 1.0
"""How long none is taken where the process has no descriptor left for it, in seconds."""

# Options of the connections that come, which have them from the port. Whoever is on a machine that is gone says no
# goodbye: after two minutes without an answer its connection is over.
_INHERITED = [(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1), (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)]
if sys.platform == "linux":
    _INHERITED += [
        (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 60),
        (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 15),
        (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 4),
    ]

logger = logging.getLogger(__name__)


class Listener:
    """A port that is open until it is closed.

    uvloop's own server takes one connection a round. A round takes milliseconds where there is much to do, and
    that is when they come by the hundred, since HAProxy opens one for each call that finds none free: the last
    ones waited for seconds.
    """

    def __init__(self, listening: socket.socket, protocol: Callable[[], asyncio.Protocol]) -> None:
        """A bound socket, which is the listener's from now on, and what makes the protocol of a connection."""
        self._loop = asyncio.get_running_loop()
        self._socket, self._protocol = listening, protocol
        self._beginning: set[asyncio.Task[None]] = set()
        self._resume: asyncio.TimerHandle | None = None
        listening.setblocking(False)
        for level, option, value in _INHERITED:
            listening.setsockopt(level, option, value)
        listening.listen(BACKLOG)
        self._look()

    def close(self) -> None:
        """Takes no more."""
        if self._resume is not None:
            self._resume.cancel()
        self._loop.remove_reader(self._socket)
        self._socket.close()

    def _look(self) -> None:
        self._loop.add_reader(self._socket, self._take)

    def _take(self) -> None:
        try:
            while True:
                taken, _ = self._socket.accept()
                task = self._loop.create_task(self._begin(taken))
                self._beginning.add(task)
                task.add_done_callback(self._beginning.discard)
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            return
        except OSError as exc:
            logger.warning("No connection can be taken for %g s: %s", PAUSE_S, exc.strerror)
            self._loop.remove_reader(self._socket)
            self._resume = self._loop.call_later(PAUSE_S, self._look)

    async def _begin(self, taken: socket.socket) -> None:
        taken.setblocking(False)
        with suppress(OSError):  # Who called has gone again.
            await self._loop.connect_accepted_socket(self._protocol, taken)
