"""Cores that replicas have to themselves: who gets one, who keeps off, and what cannot be set aside."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import psutil
import pytest

from forecast_grpc.own_core import beside, leave_to_replicas
from tests import stores
from tests.service import RunningService, eventually, serving

REPLICA = """
import asyncio, os, sys
from forecast_grpc import own_core

def say(core):
    print(core, os.sched_getaffinity(0), flush=True)

own_core.RETRY_S = 0.01
own = own_core.OwnCore([int(core) for core in sys.argv[1:]], say)
asyncio.run(own.run())
sys.stdin.read()
"""
CORES = sorted(os.sched_getaffinity(0))


@pytest.fixture(autouse=True)
def apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Services of other tests have no say in which cores are taken."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))


@contextmanager
def replica(*cores: int) -> Iterator[subprocess.Popen[str]]:
    """A process that wants one of these cores, prints which it got, and ends after the body."""
    command = [sys.executable, "-c", REPLICA, *map(str, cores)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def got(process: subprocess.Popen[str]) -> str:
    """What it prints when it has one."""
    assert process.stdout
    return process.stdout.readline().strip()


def test_each_has_its_own() -> None:
    """Two cores for two, and a third waits until one of them ends: the new replica of an update does."""
    first, second = CORES[:2]
    with replica(first, second) as one:
        assert got(one) == f"{first} {{{first}}}"
        with replica(first, second) as other, replica(first) as waiting:
            assert got(other) == f"{second} {{{second}}}"
            assert waiting.poll() is None
            one.kill()
            assert got(waiting) == f"{first} {{{first}}}"


def test_a_core_that_the_machine_has_not_is_passed_over() -> None:
    """Machines of one cluster may differ."""
    with replica(4_000, CORES[0]) as process:
        assert got(process).startswith(f"{CORES[0]} ")


def in_a_thread(*steps: Callable[[], None]) -> set[int]:
    """Where a thread may run that has done this; the others keep what they had."""
    with ThreadPoolExecutor(1) as pool:
        for step in steps:
            pool.submit(step).result()
        return pool.submit(os.sched_getaffinity, 0).result()


def test_others_keep_off() -> None:
    """What is started from now on runs elsewhere."""
    keep_off = partial(leave_to_replicas, CORES[:1])
    assert in_a_thread(keep_off) == set(CORES[1:])
    assert in_a_thread(keep_off, keep_off) == set(CORES[1:])


def test_threads_of_a_replica_run_beside_it() -> None:
    """Those that load and predict are started by the loop's thread, and would inherit its core."""
    to_one = partial(os.sched_setaffinity, 0, CORES[:1])
    assert in_a_thread(to_one) == {CORES[0]}
    assert in_a_thread(to_one, beside) == set(CORES)


@pytest.mark.parametrize(
    ("cores", "wrong"), [([4_000], "no core 4000 that we may use"), (CORES, "at least one core must be left")]
)
def test_what_cannot_be_set_aside(cores: list[int], wrong: str) -> None:
    """Cores that are not there, and all that are: a sentence, and nothing is changed."""
    with pytest.raises(ValueError, match=wrong):
        leave_to_replicas(cores)
    assert sorted(os.sched_getaffinity(0)) == CORES


@pytest.fixture
def service(tmp_path: Path) -> Iterator[RunningService]:
    """A service whose replica has the first core to itself."""
    stores.build(tmp_path / "store")
    with serving(tmp_path / "store", "haproxy", "--replica-cores", str(CORES[0])) as running:
        yield running


def test_a_service(service: RunningService) -> None:
    """The replica's loop runs on its core and nothing else there; elsewhere Ray's observers come last."""
    (line,) = eventually(lambda: service.log_lines(event="own_core"))
    assert line["core"] == CORES[0]
    alone, later = set[str](), set[str]()
    for process in [(found := psutil.Process(service.process.pid)), *found.children(recursive=True)]:
        for thread in process.threads():
            if os.getpriority(os.PRIO_PROCESS, thread.id) > 0:
                later.add(process.name())
            where = os.sched_getaffinity(thread.id)
            assert where in ({CORES[0]}, set(CORES[1:])), process.cmdline()
            if where == {CORES[0]}:
                alone.add(process.cmdline()[0])
    assert alone == {"ray::ServeReplica:default:ForecastingService"}
    assert {"ray::DashboardAgent", "ray::ServeController", "gcs_server"} <= later
    assert not {"raylet", "haproxy", "ray::HAProxyManager", *alone} & later
