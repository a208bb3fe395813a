"""What the benchmarks of a large fleet stand on: their bucket, their stores, their verdicts."""

import asyncio
import os
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from benchmarks import many, object_server
from benchmarks.cores import housekeeping_aside
from benchmarks.findings import Finding
from benchmarks.fleet import require
from benchmarks.generator import WrongAnswersError
from forecast_grpc.artefact import decode
from forecast_grpc.errors import ModelNotFound, ModelVersionNotFound, StoreUnavailable
from forecast_grpc.store import FolderStore, open_store


def test_the_bucket_is_the_folder(tmp_path: Path) -> None:
    """A store over HTTP gives what the folder holds, says what has not changed, and counts what it was asked."""
    many.publish(tmp_path, "c-%d", 2)
    with object_server.serving(tmp_path) as server:
        store = open_store(server.url)
        store.check()
        fetched = asyncio.run(store.fetch("c-0"))
        assert fetched is not None
        assert fetched.data == FolderStore(tmp_path).read("c-0").data
        assert asyncio.run(store.fetch("c-0", if_none_match=fetched.etag)) is None
        with pytest.raises(ModelNotFound):
            store.read("nobody")
        with pytest.raises(ModelVersionNotFound):
            store.read("c-0", version=2)
        assert server.gets["c-0/model.safetensors"] == 2


def test_the_bucket_takes_its_time_or_says_nothing(tmp_path: Path) -> None:
    """An answer comes after the delay that was asked for, none while it is silent, and at once when that ends."""
    many.publish(tmp_path, "c-%d", 1)
    with object_server.serving(tmp_path, delay_s=0.2) as server:
        store = open_store(server.url, timeout_s=3.0)
        started = time.monotonic()
        store.read("c-0")
        assert time.monotonic() - started >= 0.2
        server.fall_silent(True)
        with pytest.raises(StoreUnavailable):
            store.read("c-0")
        server.fall_silent(False)
        store.read("c-0")


def test_a_store_of_many_holds_each_family(tmp_path: Path) -> None:
    """Every customer has a model that can be served, of the families in turn; again is the next version."""
    for version in (1, 2):
        many.publish(tmp_path, "c-%02d", 12)
        models = [decode(FolderStore(tmp_path).read(f"c-{number:02}").data, "any") for number in range(12)]
        assert [each.metadata.family for each in models] == [*many.FAMILIES] * 3
        assert {each.metadata.model_version for each in models} == {version}
    assert many.size_on_disk(tmp_path, "c-%02d", 12) > 12 * len(FolderStore(tmp_path).read("c-00").data)


@pytest.mark.parametrize(
    ("at_most", "at_least", "holds"), [(2, None, "yes"), (1, None, "NO"), (None, 3, "NO"), (None, None, "")]
)
def test_a_promise_is_kept_or_not(at_most: float | None, at_least: float | None, holds: str) -> None:
    """Below or above its limit a figure breaks its promise; without a limit there is none."""
    assert Finding(what="x", measured=2.0, at_most=at_most, at_least=at_least).holds == holds


def test_a_load_with_other_answers_has_no_figures() -> None:
    """One code that was not expected, and the result is none."""
    result = {"outcomes": {"OK": 9, "UNAVAILABLE": 1}, "requests": 10}
    with pytest.raises(WrongAnswersError, match="UNAVAILABLE"):
        require(result)
    assert require(result, "OK", "UNAVAILABLE") is result


def test_housekeeping_steps_back_for_a_measurement(tmp_path: Path) -> None:
    """Threads with the names of the kernel's own get the lowest policy, and the usual one again afterwards."""
    program = shutil.copy(shutil.which("sleep") or "", tmp_path / "kdamond.test")
    with subprocess.Popen([program, "60"]) as process:
        try:
            with housekeeping_aside() as threads:
                during = os.sched_getscheduler(process.pid)
            after = os.sched_getscheduler(process.pid)
        finally:
            process.kill()
    assert (during, after) == (os.SCHED_IDLE if threads else os.SCHED_OTHER, os.SCHED_OTHER)
