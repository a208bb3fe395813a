"""Ray clusters as an operator starts them, on which the package is no more than a folder on PYTHONPATH."""

import os
import re
import shutil
import subprocess
import sys
import venv
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from types import MappingProxyType

import httpx

import forecast_grpc
from forecast_grpc.cli._ports import free_port
from tests.deploy import image
from tests.deploy.network import Machine
from tests.marks import marked
from tests.service import eventually

START_TIMEOUT_S = 120.0
COMMAND_TIMEOUT_S = 200.0

_COMMANDS = {
    "ray": "from ray.scripts.scripts import main; main()",
    "serve": "from ray.serve.scripts import cli; cli()",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class RayCluster:
    """A running cluster that asks for a token, as Ray does on a network."""

    folder: Path
    """Home, session and package of the cluster, under a short path: Ray's sockets lie in it."""

    dashboard: str
    """URL, for `serve --address`."""

    environment: dict[str, str]
    """What its nodes and commands run in."""

    machines: Sequence[Machine] = ()
    """Its machines, the head node's first; none where it is a single node on this one."""

    def serve(self, *arguments: object, without: str = "") -> subprocess.CompletedProcess[str]:
        """`serve ARGUMENTS --address DASHBOARD`, run to its end; `without` is a variable to leave out."""
        command = [*_command(self.folder, "serve"), *map(str, arguments), "--address", self.dashboard]
        environment = {name: value for name, value in self.environment.items() if name != without}
        return subprocess.run(
            [*self.on_the_first(), *command], cwd=self.folder, env=environment, capture_output=True, text=True,
            timeout=COMMAND_TIMEOUT_S, check=False,
        )  # fmt: skip

    def errors(self) -> str:
        """What Serve's processes have logged as errors, the beginning of each."""
        logs = self.folder / "t" / "session_latest" / "logs"
        texts = [path.read_text("utf-8") for path in (*logs.glob("serve/*.log"), *logs.glob("worker-*.err"))]
        return "\n".join(
            found[0] for text in texts if (found := re.search(r"(?s)(ERROR|Traceback).{,2000}", text))
        )

    def on_the_first(self) -> list[str]:
        """What stands before a command that is to run where the head node is."""
        return self.machines[0].inside if self.machines else []


@contextmanager
def ray_cluster() -> Iterator[RayCluster]:
    """A head node on free ports of this machine, killed in the end with all that it started."""
    with _furnished() as (folder, environment):
        cluster = RayCluster(
            folder=folder, dashboard=f"http://127.0.0.1:{free_port()}", environment=environment
        )
        _run(cluster, [], "get-auth-token", ["--generate"])
        _run(cluster, [], "start", ["--head", "--num-cpus=2", *_ports(cluster)])
        eventually(lambda: _answers(cluster.dashboard), START_TIMEOUT_S)
        yield cluster


@contextmanager
def ray_on(
    machines: Sequence[Machine], variables: Callable[[Path], Mapping[str, str]]
) -> Iterator[RayCluster]:
    """A head node without processors on the first machine, a node with one on each other; on Ray's own ports.

    `variables` makes of a folder what the environment of the machine that has it holds beside the usual.
    """
    with _furnished() as (folder, environment):
        cluster = RayCluster(
            folder=folder, dashboard="http://127.0.0.1:8265", environment=environment, machines=machines
        )
        head = machines[0].address
        for machine in machines:
            own = folder / machine.namespace
            own.mkdir()
            options = ["--num-cpus=1", f"--address={head}:6379"]
            if machine is machines[0]:
                _run(cluster, machine.inside, "get-auth-token", ["--generate"])
                options = ["--num-cpus=0", "--head", "--dashboard-host=0.0.0.0", f"--temp-dir={folder}/t"]
            address = f"--node-ip-address={machine.address}"
            _run(cluster, machine.inside, "start", [*options, address], variables(own))
        yield cluster


@contextmanager
def _furnished() -> Iterator[tuple[Path, dict[str, str]]]:
    """A folder with a Python and the package, and the environment to use them in."""
    with TemporaryDirectory(prefix="ray-") as name, marked() as mark:
        folder = Path(name)
        _furnish(folder)
        yield folder, _environment(folder) | mark


def _environment(folder: Path) -> dict[str, str]:
    """The user's own environment without what concerns Ray, us, or their home."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("RAY_", "FORECAST_"))}
    ours = {"HOME": str(folder), "PYTHONPATH": str(folder / "package")}
    return kept | ours | {"RAY_AUTH_MODE": "token", "RAY_USAGE_STATS_ENABLED": "0"}


def _furnish(folder: Path) -> None:
    """What deploy/Containerfile makes: a Python with what the image's lock has, and the package beside it."""
    venv.create(folder / "venv", with_pip=False)
    (site,) = (folder / "venv" / "lib").glob("python*/site-packages")
    image.lay(site)
    source = Path(forecast_grpc.__file__).parent
    shutil.copytree(source, folder / "package" / source.name, ignore=shutil.ignore_patterns("__pycache__"))


def _command(folder: Path, name: str) -> list[str]:
    return [str(folder / "venv" / "bin" / Path(sys.executable).name), "-c", _COMMANDS[name]]


def _run(
    cluster: RayCluster,
    inside: list[str],
    name: str,
    options: list[str],
    variables: Mapping[str, str] = MappingProxyType({}),
) -> None:
    """A command of `ray`. Its output goes into a file: the processes that it leaves would hold a pipe open."""
    command = [*inside, *_command(cluster.folder, "ray"), name, *options]
    log = cluster.folder / f"{name}.log"
    with log.open("wb") as out:
        done = subprocess.run(
            command,
            cwd=cluster.folder,
            env={**cluster.environment, **variables},
            stdout=out,
            stderr=out,
            check=False,
        )
    assert done.returncode == 0, log.read_text("utf-8")


def _ports(cluster: RayCluster) -> list[str]:
    named = ("port", "dashboard-agent-listen-port", "ray-client-server-port", "metrics-export-port")
    options = {name: free_port() for name in named}
    options["dashboard-port"] = int(cluster.dashboard.rpartition(":")[2])
    return [
        *(f"--{name}={port}" for name, port in options.items()),
        f"--temp-dir={cluster.folder}/t",
    ]


def _answers(url: str) -> bool:
    with suppress(httpx.TransportError):
        return httpx.get(f"{url}/api/version", timeout=5).status_code < httpx.codes.INTERNAL_SERVER_ERROR
    return False
