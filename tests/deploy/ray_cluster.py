"""A Ray cluster as an operator starts it, on which the package is no more than a folder on PYTHONPATH."""

import os
import shutil
import subprocess
import sys
import sysconfig
import uuid
import venv
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx
import psutil

import forecast_grpc
from forecast_grpc.cli._endpoints import free_port
from tests.service import eventually

START_TIMEOUT_S = 120.0
COMMAND_TIMEOUT_S = 200.0

_MARK = "FORECAST_GRPC_TEST_CLUSTER"
"""A variable that every process of a cluster inherits, by which it is found again whatever its parent."""

_COMMANDS = {
    "ray": "from ray.scripts.scripts import main; main()",
    "serve": "from ray.serve.scripts import cli; cli()",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class RayCluster:
    """A running head node that asks for a token, as Ray does on a network."""

    folder: Path
    """Home, session and package of the cluster, under a short path: Ray's sockets lie in it."""

    dashboard: str
    """URL, for `serve --address`."""

    environment: dict[str, str]
    """What the node and the commands run in."""

    def serve(self, *arguments: object, without: str = "") -> subprocess.CompletedProcess[str]:
        """`serve ARGUMENTS --address DASHBOARD`, run to its end; `without` is a variable to leave out."""
        command = [*_command(self.folder, "serve"), *map(str, arguments), "--address", self.dashboard]
        environment = {name: value for name, value in self.environment.items() if name != without}
        return subprocess.run(
            command, cwd=self.folder, env=environment, capture_output=True, text=True,
            timeout=COMMAND_TIMEOUT_S, check=False,
        )  # fmt: skip


@contextmanager
def ray_cluster() -> Iterator[RayCluster]:
    """A head node on free ports, killed in the end with all that it started."""
    mark = uuid.uuid4().hex
    with TemporaryDirectory(prefix="ray-") as name:
        folder = Path(name)
        cluster = RayCluster(
            folder=folder,
            dashboard=f"http://127.0.0.1:{free_port()}",
            environment=_environment(folder) | {_MARK: mark},
        )
        _furnish(folder)
        try:
            _start(cluster)
            yield cluster
        finally:
            _kill(mark)


def _environment(folder: Path) -> dict[str, str]:
    """The user's own environment without what concerns Ray, us, or their home."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("RAY_", "FORECAST_"))}
    ours = {"HOME": str(folder), "PYTHONPATH": str(folder / "package")}
    return kept | ours | {"RAY_AUTH_MODE": "token", "RAY_USAGE_STATS_ENABLED": "0"}


def _furnish(folder: Path) -> None:
    """A Python that has the dependencies, but not this checkout, and the package beside it."""
    venv.create(folder / "venv", with_pip=False)
    (site,) = (folder / "venv" / "lib").glob("python*/site-packages")
    # What a .pth file names is searched for packages, but not for further .pth files, such as our own install's.
    (site / "dependencies.pth").write_text(sysconfig.get_paths()["purelib"])
    source = Path(forecast_grpc.__file__).parent
    shutil.copytree(source, folder / "package" / source.name, ignore=shutil.ignore_patterns("__pycache__"))


def _command(folder: Path, name: str) -> list[str]:
    return [str(folder / "venv" / "bin" / Path(sys.executable).name), "-c", _COMMANDS[name]]


def _start(cluster: RayCluster) -> None:
    """`ray get-auth-token --generate` and `ray start --head`, in the folder, with all ports free ones."""
    for arguments in (["get-auth-token", "--generate"], ["start", "--head", *_ports(cluster)]):
        command = [*_command(cluster.folder, "ray"), *arguments]
        # Into a file: the processes that it leaves behind would hold a pipe open.
        log = cluster.folder / f"{arguments[0]}.log"
        with log.open("wb") as out:
            done = subprocess.run(
                command, cwd=cluster.folder, env=cluster.environment, stdout=out, stderr=out, check=False
            )
        assert done.returncode == 0, log.read_text("utf-8")
    eventually(lambda: _answers(cluster.dashboard), START_TIMEOUT_S)


def _ports(cluster: RayCluster) -> list[str]:
    named = ("port", "dashboard-agent-listen-port", "ray-client-server-port", "metrics-export-port")
    options = {name: free_port() for name in named}
    options["dashboard-port"] = int(cluster.dashboard.rpartition(":")[2])
    return [
        *(f"--{name}={port}" for name, port in options.items()),
        "--num-cpus=2",
        f"--temp-dir={cluster.folder}/t",
    ]


def _answers(url: str) -> bool:
    with suppress(httpx.TransportError):
        return httpx.get(f"{url}/api/version", timeout=5).status_code < httpx.codes.INTERNAL_SERVER_ERROR
    return False


def _kill(mark: str) -> None:
    """Kills what carries the mark; again, for what was being started meanwhile."""
    while found := list(_marked(mark)):
        for process in found:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(found, timeout=10)


def _marked(mark: str) -> Iterator[psutil.Process]:
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.environ().get(_MARK) == mark and process.status() != psutil.STATUS_ZOMBIE:
                yield process
