"""serve_config.yaml and service.yaml, sent to a Ray cluster as `serve deploy` and Anyscale send them."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from forecast_grpc.cli._cluster import READY_TIMEOUT_S, wait_until_serving
from forecast_grpc.cli._ports import free_port
from tests import stores
from tests.deploy.ray_cluster import RayCluster, ray_cluster
from tests.service import TUTORIAL_FORECAST, TUTORIAL_SEQUENCE, eventually, grpc_forecast

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def cluster() -> Iterator[RayCluster]:
    """A head node, whose Python has the package by PYTHONPATH alone: as deploy/anyscale/Containerfile has it."""
    with ray_cluster() as running:
        yield running


@pytest.fixture
def serve_stopped(cluster: RayCluster) -> Iterator[None]:
    """Serve ends with the test, so that the next one finds neither its ports nor its application."""
    yield
    done = cluster.serve("shutdown", "--yes")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", ["serve_config.yaml", "service.yaml"])
def test_serve_deploy_serves_it(name: str, cluster: RayCluster, serve_stopped: None, tmp_path: Path) -> None:
    """What the file says of Serve is deployed by `serve deploy`, and gRPC and HTTP give the known forecast."""
    store, grpc_port, http_port = tmp_path / "store", free_port(), free_port()
    stores.build(store)
    config = tmp_path / name
    config.write_text(yaml.safe_dump(serve_part(ROOT / name, store, grpc_port, http_port)))
    done = cluster.serve("deploy", config)
    assert done.returncode == 0, done.stderr
    wait_until_serving(f"127.0.0.1:{grpc_port}", READY_TIMEOUT_S)
    assert grpc_forecast(f"127.0.0.1:{grpc_port}") == TUTORIAL_FORECAST
    assert http_forecast(f"http://127.0.0.1:{http_port}") == TUTORIAL_FORECAST
    eventually(lambda: "status: RUNNING" in cluster.serve("status").stdout)


def test_the_commands_need_the_token_mode(cluster: RayCluster) -> None:
    """Without RAY_AUTH_MODE in its environment `serve` sends no token, and such a cluster refuses it."""
    done = cluster.serve("status", without="RAY_AUTH_MODE")
    assert done.returncode != 0
    assert "AuthenticationError" in done.stderr


def serve_part(file: Path, store: Path, grpc_port: int, http_port: int) -> dict[str, Any]:
    """What Ray Serve gets of the file, on these ports, with a store that is there and a small replica."""
    config = yaml.safe_load(file.read_text("utf-8"))
    (application,) = config["applications"]
    application["args"] |= {"store": str(store), "num_cpus_per_replica": 0.1}
    return {
        "applications": [application],
        "grpc_options": config["grpc_options"] | {"port": grpc_port},
        "http_options": {"host": "127.0.0.1", "port": http_port},
    }


def http_forecast(url: str) -> list[float]:
    """The forecast over HTTP."""
    headers = {"serve_multiplexed_model_id": "customer_123"}
    reply = httpx.post(f"{url}/", json={"sequence_data": TUTORIAL_SEQUENCE}, headers=headers, timeout=20)
    forecast: list[float] = reply.json()["forecast"]
    return forecast
