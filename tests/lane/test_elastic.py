"""Replicas come and go under load, in both lanes: no call is lost, and the load brings as many as it needs."""

import json
import os
import re
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any, Self

import pytest

from tests.lane.held_calls import DIRECT_LANE, held, running
from tests.service import Outcome, RunningService, eventually
from tests.slow_model import Gate

pytestmark = pytest.mark.alone

UPDATE_TIMEOUT_S = 240.0

ELASTIC = ("max_replicas=2", "num_cpus_per_replica=0.1")
"""What lets the load bring a second replica, on two cores."""

DEPLOY = """
import json, sys
import ray
from ray import serve
from forecast_grpc.app import app
from forecast_grpc.config import Settings

ray.init(logging_level="ERROR", log_to_driver=False)
serve.run(app(Settings(**json.loads(sys.argv[1]))), name="default")
"""


def test_the_load_brings_and_an_update_ends_replicas(lane: str, gate: Gate) -> None:
    """Calls under way bring a second replica; an update and a scale-down let each call end, and none fails."""
    with running(lane, gate, *ELASTIC, "target_ongoing_requests=1", "upscale_delay_s=0.5") as service:
        with held(service, gate, 6) as calls:
            eventually(lambda: replicas_so_far(service) == 2, UPDATE_TIMEOUT_S)
        assert {call.result() for call in calls} == {"OK"}
        with Traffic(service) as traffic:
            lets_calls_end(service, lane, gate, num_replicas=2, max_hot_models=7)
            lets_calls_end(service, lane, gate, num_replicas=1, max_hot_models=7)
        assert {each.code for each in traffic.outcomes} == {"OK"}
        assert {line["lane"] for line in service.log_lines(event="lane")} == {lane}


def test_busy_replicas_bring_another(lane: str, gate: Gate) -> None:
    """Calls that never wait, so that none is under way whenever somebody counts, bring a second replica too."""
    settings = ("target_busy_cores=0.08", "target_ongoing_requests=1000", "upscale_delay_s=0")
    with running(lane, gate, *ELASTIC, *settings) as service, ExitStack() as stack:
        traffic = [stack.enter_context(Traffic(service)) for _ in range(4)]
        eventually(lambda: replicas_so_far(service) == 2, UPDATE_TIMEOUT_S)
        stack.close()
        assert {outcome.code for each in traffic for outcome in each.outcomes} == {"OK"}


class Traffic:
    """Calls without a pause from another thread, until it is told to stop."""

    def __init__(self, service: RunningService) -> None:
        self._service, self._stop = service, threading.Event()
        self.outcomes: list[Outcome] = []
        """Of all calls that have ended."""
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.is_set():
            self.outcomes.append(self._service.grpc(None, "weekly"))


def lets_calls_end(service: RunningService, lane: str, gate: Gate, **settings: int) -> None:
    """Deploys the service with other settings, which ends replicas, while calls are under way."""
    with held(service, gate, 4) as calls, ThreadPoolExecutor(1) as pool:
        before = stopped(service)
        deployed = pool.submit(deploy, service, lane, num_cpus_per_replica=0.1, **settings)
        eventually(lambda: stopped(service) > before, UPDATE_TIMEOUT_S)
        assert not any(call.done() for call in calls)
        gate.open()
        assert {call.result() for call in calls} == {"OK"}
        deployed.result()


def deploy(service: RunningService, lane: str, **settings: Any) -> None:
    """Deploys the service anew, and returns when that is done."""
    base = {"store": str(service.store), "allow_pickles": True, "direct_lane": DIRECT_LANE[lane]}
    command = [sys.executable, "-c", DEPLOY, json.dumps(base | settings)]
    environment = os.environ | service.ray_environment | {"RAY_SERVE_ENABLE_HA_PROXY": "1"}
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=UPDATE_TIMEOUT_S, check=False, env=environment
    )
    assert done.returncode == 0, done.stderr


def replicas_so_far(service: RunningService) -> int:
    """How many have ever started."""
    return len(service.log_lines(event="lane"))


def stopped(service: RunningService) -> int:
    """How many replicas have been told to stop so far."""
    logs = service.logs.glob("controller_*.log")
    return sum(len(re.findall(r"Stopping Replica\(", path.read_text("utf-8"))) for path in logs)
