"""A Ray cluster of three machines: the service is deployed, scaled and updated under load, and shut down."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml

from forecast_grpc.routing.haproxy import haproxy_environment
from tests import stores
from tests.conftest import FINDING, INGRESS_MODES
from tests.deploy.manifest import HEAD, WORKER, environment, mount, probes, serve_config
from tests.deploy.network import Machine, machines
from tests.deploy.ray_cluster import RayCluster, ray_on
from tests.service import eventually

pytestmark = pytest.mark.alone

ROOT = Path(__file__).resolve().parents[2]
GRPC_ADDRESS, HTTP_URL = "127.0.0.1:9000", "http://127.0.0.1:8000"
UPDATE_TIMEOUT_S = 200.0
PATIENCE = {"RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S": "30"}


@dataclass(slots=True, kw_only=True)
class Load:
    """Callers on the first machine, who ask without a pause."""

    process: "subprocess.Popen[str]"
    """`steady_load.py`."""

    def stop(self) -> dict[str, Any]:
        """Ends it. Returns how many were `answered`, by replica, or had to be `repeated`, and what `failed`."""
        said, _ = self.process.communicate("", timeout=60)
        report: dict[str, Any] = json.loads(said)
        return report


@pytest.fixture(scope="module", params=INGRESS_MODES)
def cluster(request: pytest.FixtureRequest) -> Iterator[RayCluster]:
    """Three machines: Ray's head node and two for replicas."""
    variables = haproxy_variables if request.param == "haproxy" else lambda _: PATIENCE
    with machines(3) as three, ray_on(three, variables) as ray:
        yield ray


def haproxy_variables(folder: Path) -> dict[str, str]:
    """The environment of the pods in deploy/kuberay, with a folder in place of their volume."""
    found = {name: value.replace(mount(WORKER), str(folder)) for name, value in environment(WORKER).items()}
    assert found.items() >= haproxy_environment(folder).items()
    # Replicas that go wait for half a minute, in case a load balancer still sends them requests: nobody does here.
    return found | {"RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S": "5"}


def test_is_scaled_and_updated_under_load(cluster: RayCluster, tmp_path: Path, record_property: Any) -> None:
    """Replicas are added, all replaced and taken away on two machines, and no call of anybody fails.

    Replicas that a change of number leaves in place stay as they are, with all that they have in memory.
    """
    store = tmp_path / "store"
    stores.build(store)
    deploy(cluster, tmp_path, config(store, num_replicas=2))
    first = eventually(lambda: running(cluster, 2), UPDATE_TIMEOUT_S)
    with load(cluster) as callers:
        deploy(cluster, tmp_path, config(store, num_replicas=4))
        scaled = eventually(lambda: running(cluster, 4), UPDATE_TIMEOUT_S)
        assert set(first) < set(scaled)
        assert len(set(scaled.values())) == 2, "both machines have replicas"

        deploy(cluster, tmp_path, config(store, num_replicas=4, max_hot_models=500))
        updated = eventually(lambda: others(running(cluster, 4), scaled), UPDATE_TIMEOUT_S)

        deploy(cluster, tmp_path, config(store, num_replicas=2, max_hot_models=500))
        left = eventually(lambda: running(cluster, 2), UPDATE_TIMEOUT_S)
        assert set(left) < set(updated)
        report = callers.stop()
    assert report["failed"] == {}, cluster.errors()
    assert set(left) <= set(report["answered"]), "those that are left have answered"
    calls, again = sum(report["answered"].values()), report["repeated"]
    record_property(
        FINDING, f"scaled and updated under load: {calls} calls, none failed, {again} over HTTP made again"
    )


def test_is_shut_down(cluster: RayCluster) -> None:
    """`serve shutdown` ends the application and its proxies on all machines; Ray itself stays."""
    done = cluster.serve("shutdown", "--yes")
    assert done.returncode == 0, done.stderr
    eventually(lambda: status(cluster).get("applications") == {})
    eventually(lambda: not listening(cluster))


@pytest.mark.parametrize("cluster", ["haproxy"], indirect=True)
def test_serves_as_on_kubernetes(cluster: RayCluster, tmp_path: Path) -> None:
    """The configuration of deploy/kuberay is served, with the fewest replicas, and its probes find them.

    On the first machine and on those with a replica: no others have a proxy, and on Kubernetes they get no calls.
    """
    changed = serve_config()
    (application,) = changed["applications"]
    stores.build(tmp_path / "store")
    application["args"] |= {"store": str(tmp_path / "store"), "num_cpus_per_replica": 0.2}
    fewest = application["deployments"][0]["autoscaling_config"]["min_replicas"]
    deploy(cluster, tmp_path, changed)
    placed = eventually(lambda: running(cluster, fewest), UPDATE_TIMEOUT_S).values()
    for machine, template in zip(cluster.machines, (HEAD, WORKER, WORKER), strict=True):
        for probe in probes(template) if template is HEAD or machine.address in placed else ():
            refused = in_the_end(partial(refusal, cluster, machine, probe))
            assert refused == "", (probe, status(cluster)["proxies"])


def config(store: Path, *, num_replicas: int, **args: Any) -> dict[str, Any]:
    """serve_config.yaml as an operator changes it: a store, and the number of replicas under `deployments`."""
    changed: dict[str, Any] = yaml.safe_load((ROOT / "serve_config.yaml").read_text("utf-8"))
    (application,) = changed["applications"]
    application["args"] = {"store": str(store), "num_cpus_per_replica": 0.2, **args}
    application["deployments"] = [{"name": "ForecastingService", "num_replicas": num_replicas}]
    return changed


def deploy(cluster: RayCluster, folder: Path, changed: dict[str, Any]) -> None:
    """`serve deploy` of this configuration."""
    file = folder / "serve_config.yaml"
    file.write_text(yaml.safe_dump(changed))
    done = cluster.serve("deploy", file)
    assert done.returncode == 0, done.stderr


def status(cluster: RayCluster) -> dict[str, Any]:
    """What Ray's dashboard says of Serve, which `serve status` shows a part of."""
    command = [*cluster.on_the_first(), sys.executable, "-c", _ASK, cluster.dashboard]
    done = subprocess.run(
        command, env=cluster.environment, capture_output=True, text=True, check=True, timeout=60
    )
    found: dict[str, Any] = json.loads(done.stdout)
    return found


_ASK = """
import sys, urllib.request
from pathlib import Path
request = urllib.request.Request(sys.argv[1] + "/api/serve/applications/")
request.add_header("authorization", "Bearer " + (Path.home() / ".ray" / "auth_token").read_text().strip())
print(urllib.request.urlopen(request, timeout=20).read().decode())
"""


def running(cluster: RayCluster, number: int) -> dict[str, str]:
    """The replicas, each with the address of its machine, once there are so many and all is well; else none."""
    application = status(cluster)["applications"].get("default", {})
    replicas = application.get("deployments", {}).get("ForecastingService", {}).get("replicas", [])
    if application.get("status") != "RUNNING" or len(replicas) != number:
        return {}
    return {each["replica_id"]: each["node_ip"] for each in replicas if each["state"] == "RUNNING"}


def in_the_end(refused: Callable[[], str]) -> str:
    """What is refused when a proxy has had its time to start; empty as soon as nothing is."""
    with suppress(AssertionError):
        eventually(lambda: not refused(), UPDATE_TIMEOUT_S)
    return refused()


def refusal(cluster: RayCluster, machine: Machine, probe: dict[str, Any]) -> str:
    """How a machine fails a probe of Kubernetes, asked from another one without a token; empty where it passes."""
    if "grpc" in probe:
        code = _HEALTH.format(address=f"{machine.address}:{probe['grpc']['port']}")
    else:
        get = probe["httpGet"]
        url = f"http://{machine.address}:{get['port']}{get['path']}"
        code = f"import httpx; httpx.get({url!r}).raise_for_status()"
    asking = next(each for each in cluster.machines if each is not machine)
    command = [*asking.inside, sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    return "" if done.returncode == 0 else done.stderr


_HEALTH = """
import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
stub = health_pb2_grpc.HealthStub(grpc.insecure_channel("{address}"))
assert stub.Check(health_pb2.HealthCheckRequest(), timeout=5).status == health_pb2.HealthCheckResponse.SERVING
"""


def others(now: dict[str, str], before: dict[str, str]) -> dict[str, str]:
    """The replicas of now, where none of them was there before; else none."""
    return {} if set(now) & set(before) else now


def listening(cluster: RayCluster) -> bool:
    """Whether anything listens on the service's ports on one of the machines."""
    listed = "".join(
        subprocess.run([*each.inside, "ss", "-ltnH"], capture_output=True, text=True, check=True).stdout
        for each in cluster.machines
    )
    return any(f":{port} " in listed for port in ("8000", "9000"))


@contextmanager
def load(cluster: RayCluster) -> Iterator[Load]:
    """The callers, who have had their first answers."""
    script = str(Path(__file__).with_name("steady_load.py"))
    command = [*cluster.on_the_first(), sys.executable, script, GRPC_ADDRESS, HTTP_URL]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT,
        env=cluster.environment | {"PYTHONPATH": str(ROOT)},
    ) as process:  # fmt: skip
        try:
            yield Load(process=process)
        finally:
            process.kill()
