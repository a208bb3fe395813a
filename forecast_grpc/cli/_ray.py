"""Ray for a command that computes: a cluster of its own on this machine, or one that is there."""

import logging
import os
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import psutil

from forecast_grpc.cli._cluster import STOP_TIMEOUT_S, Stopped
from forecast_grpc.cli._common import CommandFailed, ExitCode

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

    before, handlers = _children(), [signal.getsignal(each) for each in _SIGNALS]
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
        # While the raylet lives: what it started goes to another parent when it ends.
        started = _children() - before
        ray.shutdown()
        _end(started | (_children() - before))
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


def _children() -> set[psutil.Process]:
    return set(psutil.Process().children(recursive=True))


def _end(started: set[psutil.Process]) -> None:
    """Ends every process that is still there of those that were started, by its id: some outlive the raylet."""
    _, alive = psutil.wait_procs(started, timeout=STOP_TIMEOUT_S)
    for process in alive:
        process.kill()
    psutil.wait_procs(alive, timeout=STOP_TIMEOUT_S)
