"""How requests come in, and the ports for that."""

import os
import socket
from dataclasses import dataclass
from enum import StrEnum

from forecast_grpc.cli._common import CommandFailed


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
