"""Ports for what a service opens by itself: several services on one machine do not get each other's.

Between the choice of a port and the moment at which Ray or HAProxy opens it lie many seconds. So whoever chooses
one holds a lock on it, for as long as the process lives, which everybody else who chooses looks at.
"""

import random
import socket
from collections.abc import Sequence
from contextlib import suppress
from typing import IO

from forecast_grpc.cli._common import CommandFailed
from forecast_grpc.holding import hold

FREE_PORTS = range(20_000, 24_000)
"""Where free ports are looked for: above Ray's workers, below the replicas' ports and those that the system hands
out by itself, of which one that was free a second ago may be Ray's by now."""

BLOCK = 100
"""Ports that the replicas of a service on this machine have for each protocol."""

HTTP_BLOCKS, GRPC_BLOCKS = range(24_000, 28_000, BLOCK), range(28_000, 32_000, BLOCK)
"""First ports of the blocks that a service may take for its replicas."""

_locks: list[IO[str]] = []  # Closed, and so given back, by the end of the process.


def free_port() -> int:
    """A port that nothing listens on at this moment, and that nobody else of this user has chosen."""
    return _chosen(FREE_PORTS, "There is no free port left on this machine.")


def free_block(firsts: range) -> int:
    """The first port of a block that nobody uses: the replicas of a service take its ports from there on."""
    return _chosen(firsts, "There are no free ports for replicas left on this machine.")


def _chosen(ports: Sequence[int], none_left: str) -> int:
    for port in random.sample(ports, len(ports)):
        if reserve(port):
            return port
    raise CommandFailed(none_left)


def reserve(port: int) -> bool:
    """Whether the port is free and this process's from now on."""
    return _is_free(port) and _lock(port)


def _is_free(port: int) -> bool:
    with socket.socket() as probe, suppress(OSError):
        probe.bind(("", port))
        return True
    return False


def _lock(port: int) -> bool:
    lock = hold("ports", str(port))
    if lock:
        _locks.append(lock)
    return lock is not None
