"""Publishers and readers of one bucket at the same time, as processes of their own."""

import os
import subprocess
import sys
import time

import pytest

from forecast_grpc import artefact
from forecast_grpc.store import ModelStore, open_store
from tests.store.servers import ROOT, ObjectServer
from tests.stores import publisher, trend

RACES = 500

PUBLISHER = """
import sys
from forecast_grpc.store import open_store
from tests.stores import publisher, trend
store = open_store(sys.argv[1], timeout_s=60)
encode = publisher(trend(float(sys.argv[2])))
print("ready", flush=True)
for customer in sys.stdin:
    print(store.publish(customer.strip(), encode), flush=True)
"""
"""Publishes a model of its own slope for each customer that it reads."""

READER = """
import asyncio, os, sys
from forecast_grpc import artefact
from forecast_grpc.store import open_store
async def main():
    store = open_store(sys.argv[1], timeout_s=60)
    seen, etag = [], None
    print("ready", flush=True)
    while not seen or seen[-1] < int(sys.argv[2]):
        fetched = await store.fetch("a", if_none_match=etag)
        if fetched is None:
            continue
        model, etag = artefact.decode(fetched.data, "a"), fetched.etag
        assert model.forecaster.slope in (1.0, 2.0)
        seen.append(model.metadata.model_version)
    print(*seen, flush=True)
asyncio.run(main())
os._exit(0)
"""
"""Reads the active artefact until it is the version named; prints the versions that it saw. All of them decode.

Ends without Python's finalization: a thread of obstore's that comes back to Python then, from the answer to a call
that was awaited, may abort the process (pyo3-async-runtimes, issue 40).
"""


ACTIVATOR = """
import sys
from forecast_grpc.errors import ModelVersionChanged
from forecast_grpc.store import open_store
store = open_store(sys.argv[1], timeout_s=60)
print("ready", flush=True)
for line in sys.stdin:
    version, etag = line.split(" ", 1)
    try:
        store.activate("a", int(version), over=etag.strip())
        print(version, flush=True)
    except ModelVersionChanged:
        print(0, flush=True)
"""
"""Makes a version active over an etag, for each line with both on its input; prints it, or 0 where it may not."""


def start(program: str, *args: object) -> subprocess.Popen[str]:
    """The program in a process of its own, once it has said that it is ready."""
    command = [sys.executable, "-c", program, *map(str, args)]
    process = subprocess.Popen(
        command, cwd=ROOT, env=os.environ.copy(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout
    assert process.stdout.readline() == "ready\n"
    return process


def ask(process: subprocess.Popen[str], customer: str) -> None:
    """Tells a publisher to publish once."""
    assert process.stdin
    process.stdin.write(f"{customer}\n")
    process.stdin.flush()


def answer(process: subprocess.Popen[str]) -> int:
    """The version that it got."""
    assert process.stdout
    return int(process.stdout.readline())


@pytest.mark.timeout(900)
def test_two_publishers_race_500_times(s3: ObjectServer, credentials: None, prefix: str) -> None:
    """Each race gives both their version, none twice; the highest ends active; a reader sees whole models only.

    Every 25 races, while the next one runs, all versions but the newest ten are checked and removed: moto takes
    longer for a list the longer it is.
    """
    url = s3.url(prefix)
    store = open_store(url, timeout_s=60)
    store.publish("a", publisher(trend(1.0)))
    pair = [start(PUBLISHER, url, slope) for slope in (1.0, 2.0)]
    reader = start(READER, url, 2 * RACES + 1)
    kept: list[int] = []
    started = time.monotonic()
    for number in range(RACES):
        for process in pair:
            ask(process, "a")
        if number % 25 == 0:
            kept += check_and_prune(store, keep=10)
        assert sorted(answer(process) for process in pair) == [2 * number + 2, 2 * number + 3]
    print(f"{RACES} races in {time.monotonic() - started:.1f} s")  # noqa: T201 - for pytest -s
    seen = [int(version) for version in reader.communicate()[0].split()]
    for process in pair:
        process.communicate()
    assert reader.returncode == 0
    assert seen == sorted(seen)
    assert len(set(seen)) > RACES // 2
    assert active_version(store) == 2 * RACES + 1
    assert kept + check_and_prune(store, keep=0) + [2 * RACES + 1] == list(range(1, 2 * RACES + 2))


def check_and_prune(store: ModelStore, keep: int) -> list[int]:
    """Removes all versions but the newest `keep`, the highest in any case, once it is seen to be whole."""
    versions = store.versions("a")
    old = versions[: len(versions) - max(keep, 1)]
    for version in old:
        data = store.read("a", version=version).data
        assert artefact.decode(data, "a").metadata.model_version == version
        store.remove("a", version)
    return list(old)


def active_version(store: ModelStore) -> int:
    """The version that the active artefact says it is."""
    return artefact.decode(store.read("a").data, "a").metadata.model_version


def test_one_of_many_replaces_what_they_saw(s3: ObjectServer, credentials: None, prefix: str) -> None:
    """In each of fifty races over one etag one wins, and its version is the active one.

    Etags are digests of the bytes here, so nobody may make active what is: that would win without a change.
    """
    url = s3.url(prefix)
    store = open_store(url, timeout_s=60)
    for slope in range(4):
        store.publish("a", publisher(trend(slope)))
    crowd = [start(ACTIVATOR, url) for _ in range(3)]
    for _ in range(50):
        seen = active_version(store)
        others = [version for version in (1, 2, 3, 4) if version != seen]
        etag = store.read("a").etag
        for version, process in zip(others, crowd, strict=True):
            ask(process, f"{version} {etag}")
        answers = [answer(process) for process in crowd]
        assert sorted(answers)[:2] == [0, 0]
        assert active_version(store) == max(answers) != seen
    for process in crowd:
        process.communicate()


@pytest.mark.parametrize("count", [6])
def test_many_publishers_at_once(s3: ObjectServer, credentials: None, prefix: str, count: int) -> None:
    """Six publishers that never wait for each other get ten versions each, and the sixtieth ends active."""
    url = s3.url(prefix)
    crowd = [start(PUBLISHER, url, slope) for slope in range(count)]
    for process in crowd:
        for _ in range(10):
            ask(process, "a")
    given = [int(line) for process in crowd for line in process.communicate()[0].split()]
    store = open_store(url)
    assert sorted(given) == list(range(1, 10 * count + 1)) == list(store.versions("a"))
    assert active_version(store) == 10 * count
