"""The load brings as many replicas as it needs, in both lanes."""

import threading
from contextlib import ExitStack
from typing import Self

import pytest

from tests.lane.held_calls import held, running
from tests.service import RunningService, eventually
from tests.slow_model import Gate

pytestmark = pytest.mark.alone

START_TIMEOUT_S = 240.0


def test_calls_under_way_bring_another(lane: str, gate: Gate) -> None:
    """More calls under way than a replica is to have bring a second one, and each of them is answered."""
    settings = ("max_replicas=2", "target_ongoing_requests=1", "upscale_delay_s=0.5")
    with running(lane, gate, *settings, "num_cpus_per_replica=0.1") as service:
        with held(service, gate, 6) as calls:
            eventually(lambda: replicas_so_far(service) == 2, START_TIMEOUT_S)
        assert {call.result() for call in calls} == {"OK"}


def test_busy_replicas_bring_another(lane: str, gate: Gate) -> None:
    """Calls that never wait, so that none is under way whenever somebody counts, bring a second replica too."""
    settings = (
        "max_replicas=2",
        "target_busy_cores=0.08",
        "target_ongoing_requests=1000",
        "upscale_delay_s=0",
        "num_cpus_per_replica=0.1",
    )
    with running(lane, gate, *settings) as service, ExitStack() as stack:
        for _ in range(4):
            stack.enter_context(Traffic(service))
        eventually(lambda: replicas_so_far(service) == 2, START_TIMEOUT_S)


class Traffic:
    """Calls without a pause from another thread, until it is told to stop."""

    def __init__(self, service: RunningService) -> None:
        self._service, self._stop = service, threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.is_set():
            self._service.grpc(None, "weekly")


def replicas_so_far(service: RunningService) -> int:
    """How many have ever started."""
    return len(service.log_lines(event="lane"))
