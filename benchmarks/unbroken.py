"""No failed call: replicas are killed and the service is updated in place, while callers in two languages go on.

`python -m benchmarks.unbroken`, once behind each ingress. The callers are those of clients/go and clients/python,
with the retry policy that they ship; the figures are of what they see.
"""

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from threading import Thread
from typing import Annotated, Any

import psutil
import typer

from benchmarks import many
from benchmarks.findings import Finding, report
from benchmarks.fleet import Fleet, serving

CLIENTS = Path(__file__).parent.parent / "clients"
CUSTOMERS, REPLICAS = 60, 3

UPDATE = """
import sys, ray
from ray import serve
ray.init(log_to_driver=False, logging_level="ERROR")
from forecast_grpc.app import app
from forecast_grpc.config import Settings
settings = dict(store=sys.argv[1], max_hot_models=int(sys.argv[2]), num_replicas=3, num_cpus_per_replica=0.1)
serve.run(app(Settings(**settings, model_service="all")))
"""
"""An update in place: the same application with another setting, which every replica has to be made anew for."""


class Callers:
    """Calls that go on in a process of their own."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process
        self.counts: dict[str, Any] = {}
        """What there is so far, as the process said last."""
        self._reader = Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        for line in self._process.stdout or ():
            self.counts = json.loads(line)

    def end(self) -> dict[str, Any]:
        """Ends the calls. Returns the counts."""
        if self._process.stdin:
            self._process.stdin.close()
        self._process.wait()
        self._reader.join()
        return self.counts


@contextmanager
def calling(command: list[str], folder: Path) -> Iterator[Callers]:
    """Starts callers, and leaves nothing of them behind."""
    path = {"PYTHONPATH": str(CLIENTS / "python")}
    with subprocess.Popen(
        command, cwd=folder, env=os.environ | path, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            yield Callers(process)
        finally:
            process.kill()


def disturb(fleet: Fleet, store: Path, ingress: str, seconds: float) -> tuple[int, int]:
    """Kills a replica, another one, updates in place, and so on. Returns how many kills and updates there were."""
    kills = updates = 0
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        if (kills + updates) % 3 == 2:  # noqa: PLR2004 - every third time
            update(fleet, store, ingress, 1_000 + updates)
            updates += 1
        elif len(replicas := fleet.replicas()) >= REPLICAS:
            replicas[0].kill()
            kills += 1
            time.sleep(5.0)
        time.sleep(0.5)
    return kills, updates


def update(fleet: Fleet, store: Path, ingress: str, max_hot_models: int) -> None:
    """Updates in place, and waits until it is done."""
    haproxy = {"RAY_SERVE_ENABLE_HA_PROXY": "1", "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1"}
    ray = {"RAY_ADDRESS": ray_address(fleet.process), "RAY_AUTH_MODE": "token"}
    environment = os.environ | ray | (haproxy if ingress == "haproxy" else {})
    command = [sys.executable, "-c", UPDATE, str(store), str(max_hot_models)]
    subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL)


def ray_address(process: psutil.Process) -> str:
    """Where the Ray cluster of a service is."""
    for child in process.children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            if found := re.search(r"--gcs-address=(\S+)", " ".join(child.cmdline())):
                return found[1]
    raise LookupError("no process of Ray names its address")


def unbroken(ingress: str, seconds: float, go_rate: int, python_rate: int) -> list[Finding]:
    """What callers see behind one ingress."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="forecast-grpc-bench-")))
        many.publish(folder / "store", "shop-%02d", CUSTOMERS)
        subprocess.run(["go", "build", "-o", folder / "load", "./cmd/load"], cwd=CLIENTS / "go", check=True)
        fleet = stack.enter_context(serving(folder / "store", replicas=REPLICAS, ingress=ingress))
        address = f"127.0.0.1:{fleet.port}"
        go = [str(folder / "load"), "-address", address, "-rate", str(go_rate)]
        python = [sys.executable, str(CLIENTS / "python" / "load.py"), address, str(python_rate)]
        commands = {"Go": go, "Python": python}
        callers = {name: stack.enter_context(calling(each, folder)) for name, each in commands.items()}
        started = time.monotonic()
        kills, updates = disturb(fleet, folder / "store", ingress, seconds)
        counts = {name: each.end() for name, each in callers.items()}
        took = time.monotonic() - started
    disturbances = {"replicas killed": kills, "updates in place": updates}
    findings = [Finding(what=what, measured=count) for what, count in disturbances.items()]
    for name, each in counts.items():
        failed = sum(each["failures"].values())
        findings += [
            Finding(what=f"calls from {name}", measured=each["calls"]),
            Finding(what=f"calls a second from {name}", measured=each["calls"] / took, unit="/s"),
            Finding(what=f"failed calls from {name}", measured=failed, at_most=0),
            Finding(what=f"slowest call from {name}", measured=each["slowest_s"], unit="s"),
        ]
    again = counts["Go"]["attempts"] - counts["Go"]["calls"]
    return [*findings, Finding(what="attempts beyond the first from Go", measured=again)]


def main(
    *,
    seconds: Annotated[float, typer.Option(help="How long, behind each ingress.")] = 120.0,
    go_rate: Annotated[int, typer.Option(help="Calls a second from Go.")] = 700,
    python_rate: Annotated[int, typer.Option(help="Calls a second from Python.")] = 300,
    json_folder: Annotated[Path | None, typer.Option("--json", help="Write NAME.json here too.")] = None,
) -> None:
    """Kills and updates while callers go on, behind each ingress."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    for ingress in ("haproxy", "proxy"):
        findings = unbroken(ingress, seconds, go_rate, python_rate)
        name = f"unbroken-{ingress}"
        report(name, findings, json_folder / f"{name}.json" if json_folder else None)


if __name__ == "__main__":
    typer.run(main)
