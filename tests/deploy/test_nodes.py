"""A cluster of several nodes, each with its own HAProxy: every one of them knows where a customer lives."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import grpc
import psutil
import pytest

from forecast_grpc.routing.haproxy import haproxy_environment
from forecast_grpc.v1.forecast_pb2 import ForecastRequest
from forecast_grpc.v1.forecast_pb2_grpc import ForecastServiceStub
from tests import stores
from tests.conftest import FINDING
from tests.deploy.hosts import Host, can_be_made, network
from tests.service import eventually
from tests.stores import MANY

pytestmark = pytest.mark.skipif(
    "CI" not in os.environ and not can_be_made(), reason="no namespaces: needs root and the program ip"
)

NODES = 3
GRPC_PORT = 9_000
GCS_PORT = 6_379

RAY = "from ray.scripts.scripts import main; main()"
DEPLOY = """
import json, sys
import ray
from ray import serve
from ray.serve.config import HTTPOptions, gRPCOptions
from forecast_grpc.app import app
from forecast_grpc.cli._cluster import SERVICERS
from forecast_grpc.config import Settings

address, settings = sys.argv[1:]
ray.init(address=address, logging_level="ERROR", log_to_driver=False)
serve.start(
    proxy_location="EveryNode",
    http_options=HTTPOptions(host="0.0.0.0", port=8000),
    grpc_options=gRPCOptions(port=9000, grpc_servicer_functions=list(SERVICERS)),
)
serve.run(app(Settings(**json.loads(settings))), name="default")
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Nodes:
    """Hosts that may each be a node of one Ray cluster; the first is its head."""

    hosts: tuple[Host, ...]
    """All of them."""

    folder: Path
    """Where the nodes keep their files, and where the store is."""

    def start(self, host: Host) -> None:
        """Makes a host a node."""
        joins = (
            ["--head", f"--port={GCS_PORT}", "--include-dashboard=false"]
            if host is self.hosts[0]
            else [f"--address={self.hosts[0].address}:{GCS_PORT}"]
        )
        folder = self.folder / host.namespace
        folder.mkdir()
        options = ["--num-cpus=2", "--object-store-memory=100000000", f"--node-ip-address={host.address}"]
        self._run(host, RAY, "start", *joins, *options, f"--temp-dir={folder}")

    def stop(self, host: Host) -> None:
        """Kills all that runs on a host, as when its power fails."""
        listed = subprocess.run(
            ["ip", "netns", "pids", host.namespace], capture_output=True, text=True, check=True
        )
        found = []
        for pid in listed.stdout.split():
            with suppress(psutil.NoSuchProcess):
                found.append(psutil.Process(int(pid)))
                found[-1].kill()
        psutil.wait_procs(found, timeout=10)

    def deploy(self, replicas: int) -> None:
        """Deploys the service with so many replicas, or brings it to that number."""
        settings = {
            "store": str(self.folder / "store"),
            "num_replicas": replicas,
            "num_cpus_per_replica": 0.5,
        }
        self._run(self.hosts[0], DEPLOY, f"{self.hosts[0].address}:{GCS_PORT}", json.dumps(settings))

    def _run(self, host: Host, code: str, *arguments: str) -> None:
        log = self.folder / f"{host.namespace}.log"
        # Into a file: the processes that it leaves behind would hold a pipe open.
        with log.open("wb") as out:
            command = host.run([sys.executable, "-c", code, *arguments])
            done = subprocess.run(
                command, env=self._environment(), stdout=out, stderr=out, check=False, timeout=240
            )
        assert done.returncode == 0, log.read_text("utf-8")

    def _environment(self) -> dict[str, str]:
        kept = {
            name: value for name, value in os.environ.items() if not name.startswith(("RAY_", "FORECAST_"))
        }
        quick = {"RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S": "1", "RAY_USAGE_STATS_ENABLED": "0"}
        return kept | dict(haproxy_environment(self.folder)) | quick


@pytest.fixture
def nodes() -> Iterator[Nodes]:
    """Three hosts, of which none is a node yet."""
    with cluster() as made:
        yield made


@contextmanager
def cluster() -> Iterator[Nodes]:
    """Three hosts; whatever runs on them at the end is killed."""
    with TemporaryDirectory(prefix="nodes-", dir="/tmp") as name, network(NODES) as hosts:
        made = Nodes(hosts=hosts, folder=Path(name))
        stores.build(made.folder / "store")
        try:
            yield made
        finally:
            for host in hosts:
                made.stop(host)


def test_every_node_sends_a_customer_to_the_same_replica(
    nodes: Nodes, record_property: Callable[[str, object], None]
) -> None:
    """Two nodes, then three, then two again: whichever is asked, a customer is at one replica of the service."""
    first, second, third = nodes.hosts
    nodes.start(first)
    nodes.start(second)
    nodes.deploy(4)
    two = eventually(lambda: settled((first, second), replicas=4), timeout_s=120)
    nodes.start(third)
    nodes.deploy(6)
    three = eventually(lambda: settled((first, second, third), replicas=6), timeout_s=180)
    nodes.stop(third)
    left = eventually(lambda: settled((first, second), replicas=4), timeout_s=240)
    record_property(FINDING, f"a third node with two of six replicas joined: {moved(two, three)}")
    record_property(FINDING, f"it was lost: {moved(three, left)}")


def settled(hosts: tuple[Host, ...], replicas: int) -> dict[str, str]:
    """Each customer's replica, once all hosts say the same twice; empty until then."""
    where: dict[str, str] = {}
    for host in hosts * 2:
        for customer, replica in asked(host).items():
            if where.setdefault(customer, replica) != replica:
                return {}
    return where if len(set(where.values())) >= replicas else {}


def asked(host: Host) -> dict[str, str]:
    """The replica that answers each customer by way of this host; `nobody` where none does."""
    with grpc.insecure_channel(f"{host.address}:{GRPC_PORT}") as channel:
        forecast: Any = ForecastServiceStub(channel).Forecast
        seen = {}
        for customer in MANY:
            try:
                _, call = forecast.with_call(
                    ForecastRequest(), metadata=(("multiplexed_model_id", customer),), timeout=5
                )
                seen[customer] = dict(call.trailing_metadata())["forecast-replica"]
            except grpc.RpcError:
                return {"nobody": "answers", "": host.address}
        return seen


def moved(before: dict[str, str], after: dict[str, str]) -> str:
    """How many customers have another replica, and of how many that is more than had to."""
    stayed = [customer for customer in before if before[customer] in after.values()]
    went = [customer for customer in stayed if before[customer] != after[customer]]
    return f"{len(went)} of the {len(stayed)} customers of replicas that stayed moved"
