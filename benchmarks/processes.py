"""Services in processes of their own: their environment, their ports, their start and their end."""

import os
import random
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import NamedTemporaryFile

import psutil

from benchmarks.hops import family
from forecast_grpc.cli._ports import reserve

START_TIMEOUT_S = 120.0
"""How long a service may take until it is ready, in seconds."""

STOP_TIMEOUT_S = 45.0
"""How long a service may take to end on its own before it is killed, in seconds."""

_POLL_S = 0.1
_ROOT = Path(__file__).parent.parent
# Below the ports that systems give out of their own accord. Ray leaves the port of a replica that has gone for 150
# seconds: whoever kills and updates takes dozens in two minutes.
_FIRST_PORT, _LAST_PORT, _BLOCK = 20_000, 30_000, 100


class TargetFailedError(Exception):
    """A service did not start, or does not answer as it should."""


def free_ports() -> range:
    """Adjacent ports that nothing listens on at this moment, and that are ours from now on."""
    blocks = [range(start, start + _BLOCK) for start in range(_FIRST_PORT, _LAST_PORT, _BLOCK)]
    random.shuffle(blocks)
    return next(block for block in blocks if all(map(reserve, block)))


@contextmanager
def only(chosen: psutil.Process, services: Sequence[psutil.Process]) -> Iterator[None]:
    """Stops the other services, with all that belongs to them, for the time of the body."""
    others = {service for service in services if service != chosen}
    waiting = [each for service in others for each in family(service)]
    try:
        for process in waiting:
            with suppress(psutil.NoSuchProcess):
                process.suspend()
        yield
    finally:
        for process in waiting:
            with suppress(psutil.NoSuchProcess):
                process.resume()


@contextmanager
def running(command: Sequence[str], replica_ports: Sequence[int]) -> Iterator[psutil.Process]:
    """Starts a service, enters the body when it has said that it is ready, and leaves no process behind.

    Raises TargetFailedError, with what it printed, where it does not become ready.
    """
    with NamedTemporaryFile("w+") as log, _started(command, _environment(replica_ports), log.name) as process:
        try:
            _wait_until_ready(process, Path(log.name))
        except TargetFailedError as exc:
            raise TargetFailedError(f"{command[0]}: {exc}. It printed:\n{log.read()}") from exc
        yield psutil.Process(process.pid)


def _environment(replica_ports: Sequence[int]) -> dict[str, str]:
    """Ours without what would change settings of Ray or of the service."""
    inherited = {
        name: value for name, value in os.environ.items() if not name.startswith(("RAY_", "FORECAST_GRPC_"))
    }
    # Ray asks gRPC not to share a port, but in a way that gRPC does not understand: with the default ports the
    # replicas of two clusters on one machine listen on the same one, and each gets half of the other's requests.
    return inherited | {
        "PYTHONPATH": str(_ROOT),
        "RAY_SERVE_DIRECT_INGRESS_MIN_GRPC_PORT": str(replica_ports[0]),
        "RAY_SERVE_DIRECT_INGRESS_MAX_GRPC_PORT": str(replica_ports[-1]),
    }


@contextmanager
def _started(
    command: Sequence[str], environment: dict[str, str], log: str
) -> Iterator[subprocess.Popen[bytes]]:
    # A session of its own, so that Ctrl-C reaches us alone and the services are stopped in order.
    with (
        Path(log).open("wb") as out,
        subprocess.Popen(
            command, cwd=_ROOT, env=environment, stdout=out, stderr=out, start_new_session=True
        ) as process,
    ):
        try:
            yield process
        finally:
            _stop(process)


def _wait_until_ready(process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while not any(line.startswith("ready") for line in log.read_text().splitlines()):
        if process.poll() is not None:
            raise TargetFailedError(f"ended with exit code {process.returncode}")
        if time.monotonic() > deadline:
            raise TargetFailedError(f"was not ready within {START_TIMEOUT_S:g} s")
        time.sleep(_POLL_S)


def _stop(process: subprocess.Popen[bytes]) -> None:
    descendants = psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []
    process.send_signal(signal.SIGINT)
    with suppress(subprocess.TimeoutExpired):
        process.wait(STOP_TIMEOUT_S)
    process.kill()
    survivors = psutil.wait_procs(descendants, timeout=_POLL_S)[1]
    for survivor in survivors:
        with suppress(psutil.NoSuchProcess):
            survivor.kill()
    psutil.wait_procs(survivors, timeout=STOP_TIMEOUT_S)
