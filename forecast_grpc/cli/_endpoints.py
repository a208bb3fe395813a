"""How requests come in, and the ports for that."""

import os
import random
import socket
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum

from forecast_grpc.cli._common import CommandFailed

FREE_PORTS = range(20_000, 24_000)
"""Where free ports are looked for: above Ray's workers, below the replicas' ports and the ephemeral ones."""

BLOCK = 100
"""Ports that the replicas of a service on this machine have for each protocol."""

HTTP_BLOCKS, GRPC_BLOCKS = range(24_000, 28_000, BLOCK), range(28_000, 32_000, BLOCK)
"""First ports of the blocks that a service may take for its replicas."""


class IngressMode(StrEnum):
    """How requests come in."""

    HAPROXY = "haproxy"
    """HAProxy, straight into the replicas: fast."""

    PROXY = "proxy"
    """Ray's Python proxy: works everywhere, and is what Anyscale runs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoints:
    """Where the service listens."""

    host: str
    """The interface's address."""

    grpc_port: int
    """For gRPC."""

    http_port: int
    """For HTTP."""

    metrics_port: int
    """For Prometheus: `GET /metrics`."""


def require_free_port(host: str, port: int) -> None:
    """Raises CommandFailed where something listens on this port already, or where it may not be opened."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as exc:
            raise CommandFailed(
                f"Port {port} on {host} cannot be opened ({os.strerror(exc.errno or 0)}): stop what uses it, or "
                "choose another with --grpc-port, --http-port or --metrics-port."
            ) from exc


def free_port() -> int:
    """A port that nothing listens on at this moment.

    Below those that the system hands out by itself: of these, one that was free a second ago may be Ray's by now.
    """
    for port in random.sample(FREE_PORTS, len(FREE_PORTS)):
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("", port))
            return port
    raise CommandFailed("There is no free port left on this machine.")


def free_block(firsts: range) -> int:
    """The first port of a block that nobody uses: the replicas of a service take its ports from there on."""
    for first in random.sample(firsts, len(firsts)):
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("", first))
            return first
    raise CommandFailed("There are no free ports for replicas left on this machine.")
