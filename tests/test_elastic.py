"""Replicas come and go under load, in both lanes: no call is lost, and the load brings as many as it needs."""

import json
import os
import re
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from typing import Any, Self

from tests.service import Outcome, RunningService, eventually
from tests.slow_model import Gate
from tests.test_lanes import gate, held, lane, lines, running

__all__ = ["gate", "lane"]

DRIVER = """
import json, sys
import ray
from ray import serve
from forecast_grpc.app import app
from forecast_grpc.config import Settings

ray.init(logging_level="ERROR", log_to_driver=False)
serve.run(app(Settings(**json.loads(sys.argv[1]))), name="default")
"""


def deploy(service: RunningService, lane: str, **settings: Any) -> None:
    """Deploys the service anew, and returns when that is done."""
    base = {
        "store": str(service.store),
        "allow_pickles": True,
        "direct_lane": "auto" if lane == "direct" else "off",
    }
    command = [sys.executable, "-c", DRIVER, json.dumps(base | settings)]
    environment = os.environ | service.ray_environment | {"RAY_SERVE_ENABLE_HA_PROXY": "1"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False, env=environment)
    assert done.returncode == 0, done.stderr


class Traffic:
    """Calls without a pause from another thread, until it is told to stop."""

    def __init__(self, service: RunningService) -> None:
        self._service, self._stop = service, threading.Event()
        self.outcomes: list[Outcome] = []
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


def test_replicas_come_and_go_with_the_load(lane: str, gate: Gate) -> None:
    """Calls under way bring a second replica; an update and a scale-down let each call end, and none fails."""
    elastic = (
        "max_replicas=2",
        "target_ongoing_requests=1",
        "upscale_delay_s=0.5",
        "num_cpus_per_replica=0.1",
    )
    with running(lane, gate, *elastic) as service:
        with held(service, gate, 6) as calls:
            eventually(lambda: len(lines(service, event="lane")) == 2, timeout_s=90)
        assert {call.result() for call in calls} == {"OK"}
        with Traffic(service) as traffic:
            for replicas, hot in ((2, 7), (1, 7)):
                with held(service, gate, 4) as calls, ThreadPoolExecutor(1) as pool:
                    before = stopped(service)
                    options = {"num_replicas": replicas, "max_hot_models": hot, "num_cpus_per_replica": 0.1}
                    deployed = pool.submit(deploy, service, lane, **options)
                    eventually(partial(more_stopped, service, before), timeout_s=120)
                    assert not any(call.done() for call in calls)
                    gate.open()
                    assert {call.result() for call in calls} == {"OK"}
                    deployed.result()
        assert {each.code for each in traffic.outcomes} == {"OK"}
        assert {line["lane"] for line in lines(service, event="lane")} == {lane}


def test_busy_replicas_bring_another(lane: str, gate: Gate) -> None:
    """Calls that never wait, so that none is under way whenever somebody counts, bring a second replica too."""
    settings = (
        "max_replicas=2",
        "target_busy_cores=0.08",
        "target_ongoing_requests=1000",
        "upscale_delay_s=0",
    )
    with running(lane, gate, *settings, "num_cpus_per_replica=0.1") as service, ExitStack() as stack:
        traffic = [stack.enter_context(Traffic(service)) for _ in range(4)]
        eventually(lambda: len(lines(service, event="lane")) == 2, timeout_s=120)
        stack.close()
        assert {outcome.code for each in traffic for outcome in each.outcomes} == {"OK"}


def stopped(service: RunningService) -> int:
    """How many replicas have been told to stop so far."""
    logs = service.logs.glob("controller_*.log")
    return sum(len(re.findall(r"Stopping Replica\(", path.read_text("utf-8"))) for path in logs)


def more_stopped(service: RunningService, before: int) -> bool:
    """Whether another replica has been told to stop since."""
    return stopped(service) > before
