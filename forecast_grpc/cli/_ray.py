"""Ray for a command that computes: a cluster of its own on this machine, or one that is there."""

import logging
import os
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager

from forecast_grpc.cli._common import CommandFailed, ExitCode
from forecast_grpc.cli._processes import Stopped, children, end, temporary_folder

_OBJECTS_BYTES = 256 * 2**20
"""Memory for what is on its way to processes: ample, where Ray's default is a third of the machine's."""

_CONNECT_TIMEOUT_S = 10.0
"""How long a cluster's head node may take to accept a connection."""

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def connected(address: str | None, processes: int | None) -> Iterator[int]:
    """Ray is there in the body, which gets the number of cores that it has.

    Without an `address` a cluster of `processes` cores is started on this machine, and nothing of it is left at
    the end. SIGINT and SIGTERM raise KeyboardInterrupt in the body. Raises CommandFailed where there is no Ray.
    """
    import ray

    before, handlers = children(), [signal.getsignal(each) for each in _SIGNALS]
    stopped = Stopped()
    try:
        stopped.install()
        _connect(address, processes)
        # Ray has put its own handler in place, which dies without cleaning up.
        stopped.install()
        _keep_quiet()
        yield max(1, int(ray.cluster_resources().get("CPU", 1)))  # type: ignore[no-untyped-call]
    finally:
        # A second Ctrl-C must not leave half of the processes behind.
        for each in _SIGNALS:
            signal.signal(each, signal.SIG_IGN)
        started = children() - before
        ray.shutdown()
        end(started | (children() - before))
        for each, handler in zip(_SIGNALS, handlers, strict=True):
            signal.signal(each, handler)


def _connect(address: str | None, processes: int | None) -> None:
    import ray

    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        if address is not None:
            _require_listener(address)
            ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
            return
        os.environ.setdefault("RAY_TMPDIR", temporary_folder())
        ray.init(
            address="local",
            num_cpus=processes,
            include_dashboard=False,
            log_to_driver=False,
            logging_level=logging.ERROR,
            object_store_memory=_OBJECTS_BYTES,
        )
    except (OSError, RuntimeError, ValueError) as exc:
        reason = (str(exc).strip().splitlines() or ["no reason given"])[0]
        where = f"at {address}" if address else "to be started here"
        raise CommandFailed(f"There is no Ray cluster {where}: {reason}", ExitCode.UNAVAILABLE) from exc


def _require_listener(address: str) -> None:
    """Raises OSError where nothing listens at HOST:PORT: Ray itself tries for minutes."""
    host, _, port = address.rpartition(":")
    if port.isdecimal() and "/" not in host:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_CONNECT_TIMEOUT_S).close()


def _keep_quiet() -> None:
    """Keeps Ray from writing what happens to its processes to standard output, among the results."""
    from ray._private import worker

    # There is no public way: log_to_driver is for what the processes themselves write.
    worker.print_to_stdstream = lambda *_, **__: None
