"""No failed call: replicas are killed and the service is updated in place, while callers in two languages go on.

`python -m benchmarks.unbroken`, behind each ingress, and behind HAProxy in each lane. The callers are those of
clients/go and clients/python, with the retry policy that they ship; the figures are of what they see.
"""

import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Annotated

import psutil
import typer

from benchmarks.client_load import calling
from benchmarks.findings import Finding, report
from benchmarks.fleet import Fleet, serving
from forecast_grpc.demo import tutorial
from forecast_grpc.store import FolderStore

CLIENTS = Path(__file__).parent.parent / "clients"
CUSTOMERS, REPLICAS = 60, 3
WAYS: Mapping[str, tuple[str, str]] = {
    "haproxy": ("haproxy", "off"),
    "direct": ("haproxy", "auto"),
    "proxy": ("proxy", "off"),
}
"""The ingress and the `direct_lane` of each run, by name."""

UPDATE = """
import sys, ray
from ray import serve
ray.init(log_to_driver=False, logging_level="ERROR")
from forecast_grpc.app import app
from forecast_grpc.config import Settings
settings = dict(store=sys.argv[1], direct_lane=sys.argv[2], max_hot_models=int(sys.argv[3]))
serve.run(app(Settings(**settings, num_replicas=3, num_cpus_per_replica=0.1, model_service="all")))
"""
"""An update in place: the same application with another setting, which every replica has to be made anew for."""


def disturb(fleet: Fleet, store: Path, way: str, seconds: float) -> tuple[int, int]:
    """Kills a replica, another one, updates in place, and so on. Returns how many kills and updates there were."""
    kills = updates = 0
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        if (kills + updates) % 3 == 2:  # noqa: PLR2004 - every third time
            update(fleet, store, way, 1_000 + updates)
            updates += 1
        elif len(replicas := fleet.replicas()) >= REPLICAS:
            replicas[0].kill()
            kills += 1
            time.sleep(5.0)
        time.sleep(0.5)
    return kills, updates


def update(fleet: Fleet, store: Path, way: str, max_hot_models: int) -> None:
    """Updates in place, and waits until it is done."""
    ingress, lane = WAYS[way]
    haproxy = {"RAY_SERVE_ENABLE_HA_PROXY": "1", "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1"}
    ray = {"RAY_ADDRESS": ray_address(fleet.process), "RAY_AUTH_MODE": "token"}
    environment = os.environ | ray | (haproxy if ingress == "haproxy" else {})
    command = [sys.executable, "-c", UPDATE, str(store), lane, str(max_hot_models)]
    subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL)


def ray_address(process: psutil.Process) -> str:
    """Where the Ray cluster of a service is."""
    for child in process.children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            if found := re.search(r"--gcs-address=(\S+)", " ".join(child.cmdline())):
                return found[1]
    raise LookupError("no process of Ray names its address")


def unbroken(way: str, seconds: float, go_rate: int, python_rate: int) -> list[Finding]:
    """What callers see whose calls go one way."""
    ingress, lane = WAYS[way]
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="forecast-grpc-bench-")))
        (folder / "store").mkdir()
        for number in range(CUSTOMERS):
            # Three observations are enough for these.
            FolderStore(folder / "store").publish(f"shop-{number:02d}", tutorial.CUSTOMERS[0].encode)
        subprocess.run(["go", "build", "-o", folder / "load", "./cmd/load"], cwd=CLIENTS / "go", check=True)
        settings = {"ingress": ingress, "direct_lane": lane}
        fleet = stack.enter_context(serving(folder / "store", replicas=REPLICAS, **settings))
        address = f"127.0.0.1:{fleet.port}"
        go = [str(folder / "load"), "-address", address, "-rate", str(go_rate)]
        python = [sys.executable, str(CLIENTS / "python" / "load.py"), address, str(python_rate)]
        commands = {"Go": go, "Python": python}
        path = {"PYTHONPATH": str(CLIENTS / "python")}
        callers = {name: stack.enter_context(calling(each, folder, path)) for name, each in commands.items()}
        started = time.monotonic()
        kills, updates = disturb(fleet, folder / "store", way, seconds)
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
            *[Finding(what=f"{name}: {why}", measured=number) for why, number in each["failures"].items()],
            Finding(what=f"slowest call from {name}", measured=each["slowest_s"], unit="s"),
        ]
    again = counts["Go"]["attempts"] - counts["Go"]["calls"]
    return [*findings, Finding(what="attempts beyond the first from Go", measured=again)]


def main(
    ways: Annotated[list[str] | None, typer.Argument(help=f"Some of {', '.join(WAYS)}; else all.")] = None,
    *,
    seconds: Annotated[float, typer.Option(help="How long, each way.")] = 120.0,
    go_rate: Annotated[int, typer.Option(help="Calls a second from Go.")] = 700,
    python_rate: Annotated[int, typer.Option(help="Calls a second from Python.")] = 300,
    json_folder: Annotated[Path | None, typer.Option("--json", help="Write NAME.json here too.")] = None,
) -> None:
    """Kills and updates while callers go on, behind each ingress and in each lane."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    for way in ways or WAYS:
        findings = unbroken(way, seconds, go_rate, python_rate)
        name = f"unbroken-{way}"
        report(name, findings, json_folder / f"{name}.json" if json_folder else None)


if __name__ == "__main__":
    typer.run(main)
