"""serve_config.yaml is what Ray Serve accepts, and what `serve run` really runs."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx
import psutil
import pytest
import yaml
from pydantic import ValidationError
from ray.serve.schema import ServeDeploySchema

from forecast_grpc.cli._cluster import NODE_ENVIRONMENT, SERVICERS
from forecast_grpc.cli._ports import free_port
from forecast_grpc.config import Settings
from forecast_grpc.names import APPLICATION_NAME, GRPC_PORT, HTTP_PORT
from forecast_grpc.routing.haproxy import PORT_VARIABLES, haproxy_environment
from tests import stores
from tests.service import TUTORIAL_FORECAST, TUTORIAL_SEQUENCE, eventually, grpc_forecast

ROOT = Path(__file__).resolve().parents[2]
START_TIMEOUT_S = 150.0
STOP_TIMEOUT_S = 150.0


@pytest.fixture
def config() -> dict[str, Any]:
    """What serve_config.yaml says."""
    read: dict[str, Any] = yaml.safe_load((ROOT / "serve_config.yaml").read_text("utf-8"))
    return read


@pytest.fixture
def short_path() -> Iterator[Path]:
    """A folder for HAProxy, which refuses a socket whose path is as long as those of pytest's folders."""
    with TemporaryDirectory(prefix="serve-run-") as folder:
        yield Path(folder)


def test_ray_accepts_it(config: dict[str, Any]) -> None:
    """Ray Serve's model of the file takes it, and sees our ports, servicers and application in it."""
    accepted = ServeDeploySchema.model_validate(config)
    assert (accepted.http_options.port, accepted.grpc_options.port) == (HTTP_PORT, GRPC_PORT)
    assert tuple(accepted.grpc_options.grpc_servicer_functions) == SERVICERS
    (application,) = accepted.applications
    assert (application.name, application.import_path) == (APPLICATION_NAME, "forecast_grpc.app:app")


def test_ray_refuses_mistakes(config: dict[str, Any]) -> None:
    """A port that is no number, or an application without its import path, is refused."""
    with pytest.raises(ValidationError):
        ServeDeploySchema.model_validate(config | {"grpc_options": {"port": "nine thousand"}})
    with pytest.raises(ValidationError):
        ServeDeploySchema.model_validate(config | {"applications": [{"name": "default"}]})


def test_its_args_are_settings(config: dict[str, Any]) -> None:
    """What stands under `args` are settings of ours."""
    args = config["applications"][0]["args"]
    assert Settings(**args).model_dump(include=set(args)) == args


def test_the_docs_export_what_serve_sets() -> None:
    """Whoever starts Ray by hand sets on each node what `forecast-grpc serve` sets."""
    exported = re.findall(r"^export (\w+)=(\S+)", (ROOT / "docs/deploy-ray.md").read_text(), re.MULTILINE)
    assert NODE_ENVIRONMENT.items() <= dict(exported).items()


@pytest.mark.parametrize("ingress", ["proxy", "haproxy"])
def test_serve_run_serves_it_and_ends(
    ingress: str, config: dict[str, Any], tmp_path: Path, short_path: Path
) -> None:
    """`serve run` serves gRPC and HTTP, behind HAProxy where its environment says so; Ctrl-C ends it all."""
    store = tmp_path / "store"
    stores.build(store)
    config["http_options"]["port"], config["grpc_options"]["port"] = free_port(), free_port()
    config["applications"][0]["args"] = {"store": str(store), "num_replicas": 1, "num_cpus_per_replica": 0.1}
    changed = tmp_path / "serve_config.yaml"
    changed.write_text(yaml.safe_dump(config))
    haproxy = ingress == "haproxy"
    with serve_run(changed, haproxy_settings(short_path) if haproxy else {}) as process:
        url = f"http://127.0.0.1:{config['http_options']['port']}"
        over_http = eventually(lambda: http_forecast(process, url), START_TIMEOUT_S)
        assert over_http == TUTORIAL_FORECAST
        assert grpc_forecast(f"127.0.0.1:{config['grpc_options']['port']}") == TUTORIAL_FORECAST
        names = {child.name() for child in psutil.Process(process.pid).children(recursive=True)}
        assert ("haproxy" in names) == haproxy


def haproxy_settings(folder: Path) -> dict[str, str]:
    """The environment of docs/deploy-ray.md, with ports that are free."""
    return {**haproxy_environment(folder), **{name: str(free_port()) for name in PORT_VARIABLES}}


@contextmanager
def serve_run(config: Path, settings: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """`serve run` in a session of its own, on a Ray of its own; ended by Ctrl-C."""
    command = [str(Path(sys.executable).with_name("serve")), "run", "--address", "local", str(config)]
    ours = {name: value for name, value in os.environ.items() if not name.startswith(("RAY_", "FORECAST_"))}
    environment = ours | settings | {"RAY_USAGE_STATS_ENABLED": "0"}
    with (config.parent / "serve_run.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env=environment, start_new_session=True)
    try:
        yield process
    finally:
        if process.poll() is None:
            stop(process)


def stop(process: subprocess.Popen[bytes]) -> None:
    """Ctrl-C, which has to end the process with exit code 0 and all that it started; what it has not is killed."""
    everything = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
    try:
        os.killpg(process.pid, signal.SIGINT)
        assert process.wait(STOP_TIMEOUT_S) == 0
        eventually(lambda: not [each for each in everything if each.is_running()])
    finally:
        for each in everything:
            with suppress(psutil.NoSuchProcess):
                each.kill()
        process.wait(STOP_TIMEOUT_S)


def http_forecast(process: subprocess.Popen[bytes], url: str) -> list[float] | None:
    """The forecast over HTTP; None while the service is not up."""
    assert process.poll() is None, "serve run has ended"
    headers = {"serve_multiplexed_model_id": "customer_123"}
    try:
        reply = httpx.post(f"{url}/", json={"sequence_data": TUTORIAL_SEQUENCE}, headers=headers, timeout=20)
    except httpx.TransportError:
        return None
    forecast: list[float] | None = reply.json()["forecast"] if reply.is_success else None
    return forecast
