"""`forecast-grpc fit` with the processes of a Ray cluster: killed, interrupted, and its store taken away."""

import json
import os
import re
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import psutil
import pyarrow as pa
import pytest
from pyarrow import parquet

from forecast_grpc.artefact import decode
from forecast_grpc.fit import fit_series, read_table
from forecast_grpc.store import FolderStore
from tests.deploy.ray_cluster import ray_cluster
from tests.service import COMMAND, eventually, stop

CUSTOMERS = 2_000
DAYS = 40
BAD = "customer-0007"


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two thousand customers, of whom one has a day twice."""
    days = [date(2026, 1, 1) + timedelta(days=day) for day in range(DAYS)]
    names = np.repeat([f"customer-{number:04d}" for number in range(CUSTOMERS)], DAYS).tolist()
    sales = 100.0 + np.random.default_rng(0).normal(size=(CUSTOMERS, DAYS)).cumsum(axis=1)
    table = {
        "shop": [*names, BAD],
        "day": [*days * CUSTOMERS, days[3]],
        "sold": [*sales.ravel().tolist(), 1.0],
    }
    path: Path = tmp_path_factory.mktemp("history") / "history.parquet"
    parquet.write_table(pa.table(table), path)
    return path


@contextmanager
def fitting(file: Path, store: Path) -> Iterator[subprocess.Popen[str]]:
    """The command at work on two cores, in a session of its own. Nothing of it is left afterwards."""
    command = [COMMAND, "fit", str(file), "--family", "theta", "--processes", "2", "--store", str(store)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        try:
            yield process
        finally:
            stop(process)


def family(process: subprocess.Popen[str]) -> list[psutil.Process]:
    """All that the command has started."""
    return psutil.Process(process.pid).children(recursive=True)


def fitting_now(process: subprocess.Popen[str]) -> psutil.Process | None:
    """One of the command's workers that fits a part; None where none does at this moment."""
    for each in family(process):
        with suppress(psutil.NoSuchProcess):
            if "ray::_fit_part" in " ".join(each.cmdline()):
                return each
    return None


def published(store: Path) -> int:
    """Customers that a reader finds there."""
    return sum(1 for _ in FolderStore(store).customers()) if store.is_dir() else 0


def wait_for(store: Path, count: int) -> None:
    """Until so many customers are there."""
    eventually(lambda: published(store) >= count, timeout_s=120)


def wait_for_end(processes: list[psutil.Process]) -> None:
    """Until they are all gone; what is not is a failure, and killed."""
    try:
        eventually(lambda: not any(each.is_running() for each in processes), timeout_s=60)
    finally:
        for each in processes:
            with suppress(psutil.NoSuchProcess):
                each.kill()


def test_a_fit_that_was_killed_goes_on(file: Path, tmp_path: Path) -> None:
    """Killed half-way, started again, and one of its processes killed then: all are there, each of them once."""
    store = tmp_path / "store"
    with fitting(file, store) as first:
        wait_for(store, 400)
        started = family(first)
        os.killpg(first.pid, signal.SIGKILL)
        first.wait(30)
    wait_for_end(started)
    done = published(store)
    assert 400 <= done < CUSTOMERS - 100
    with fitting(file, store) as second:
        wait_for(store, done + 200)
        # Between two parts they have another name.
        eventually(lambda: fitting_now(second)).kill()
        said, told = second.communicate(timeout=200)
    assert second.returncode == 1
    assert f"1 of {CUSTOMERS} customers could not be fitted:\n{BAD}: there are two rows for" in told
    already = re.search(rf"^(\d+) of {CUSTOMERS} customers had a model", told, re.MULTILINE)
    assert already
    assert done <= int(already[1]) < CUSTOMERS
    assert said.splitlines()[1].split()[:2] == ["theta", str(CUSTOMERS - 1)]
    require_whole(store)
    require_same(file, store)


def require_whole(folder: Path) -> None:
    """Every customer but the bad one has one version, which is active, and can be decoded."""
    store = FolderStore(folder)
    customers = list(store.customers())
    assert customers == [
        f"customer-{number:04d}" for number in range(CUSTOMERS) if f"customer-{number:04d}" != BAD
    ]
    for customer in customers:
        assert store.versions(customer) == (1,)
        data = store.read(customer).data
        assert data == store.read(customer, version=1).data
        assert decode(data, customer).metadata.fit_digest


def require_same(file: Path, folder: Path) -> None:
    """What was fitted somewhere is what would have been fitted here."""
    table, store = read_table(file), FolderStore(folder)
    for customer in ("customer-0000", "customer-0999", f"customer-{CUSTOMERS - 1}"):
        there = decode(store.read(customer).data, customer)
        here = fit_series(table.series(customer), family="theta")
        assert there.metadata.accuracy == here.metadata.accuracy
        for name, values in here.forecaster.arrays().items():
            assert there.forecaster.arrays()[name].tolist() == values.tolist()


def run(command: list[str], folder: Path, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """The command, run to its end in a folder: Ray lets its processes import what lies there."""
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=120, check=False
    )


def test_fitting_on_a_cluster_that_is_there(tmp_path: Path) -> None:
    """On a cluster that asks for a token its nodes fit, and go on running; without the package, one sentence."""
    file, store = tmp_path / "few.csv", tmp_path / "store"
    rows = [f"shop-{shop},{day},{(7 * shop + day * day) % 23}" for shop in range(6) for day in range(30)]
    file.write_text("\n".join(["shop,day,sold", *rows]))
    with ray_cluster() as cluster:
        started = (cluster.folder / "start.log").read_text("utf-8")
        (address,) = set(re.findall(r"--address='(\S+)'", started))
        command = [
            COMMAND,
            "fit",
            str(file),
            "--family",
            "trend",
            "--store",
            str(store),
            "--ray-address",
            address,
        ]
        package, aside = cluster.folder / "package", cluster.folder / "aside"
        package.rename(aside)
        done = run(command, tmp_path, cluster.environment)
        assert (done.returncode, done.stdout) == (1, "")
        assert "Error: The cluster's processes cannot fit, do they have this release?" in done.stderr
        assert "Traceback" not in done.stderr
        aside.rename(package)
        for status in ("published", "unchanged"):
            done = run([*command, "--json"], tmp_path, cluster.environment)
            assert done.returncode == 0, done.stderr
            assert [json.loads(line)["status"] for line in done.stdout.splitlines()] == [status] * 6


def test_a_cluster_that_is_not_there(file: Path, tmp_path: Path) -> None:
    """One sentence, and the code of what may succeed later."""
    command = [COMMAND, "fit", str(file), "--store", str(tmp_path / "store"), "--ray-address", "127.0.0.1:1"]
    done = run(command, tmp_path, dict(os.environ))
    assert (done.returncode, done.stdout) == (4, "")
    assert done.stderr.splitlines()[-1].startswith("Error: There is no Ray cluster at 127.0.0.1:1")


def test_an_interrupted_fit_leaves_no_process_behind(file: Path, tmp_path: Path) -> None:
    """Ctrl-C ends all that was started, with the exit code of an interrupted command and no traceback."""
    with fitting(file, tmp_path / "store") as process:
        wait_for(tmp_path / "store", 100)
        started = family(process)
        assert "raylet" in {each.name() for each in started}
        os.killpg(process.pid, signal.SIGINT)
        _, told = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in told
    wait_for_end(started)


def test_a_store_that_is_gone_ends_the_fit(file: Path, tmp_path: Path) -> None:
    """One sentence and the code of what may succeed later, not two thousand failures."""
    store = tmp_path / "store"
    with fitting(file, store) as process:
        wait_for(store, 100)
        store.rename(tmp_path / "elsewhere")
        said, told = process.communicate(timeout=60)
    assert (process.returncode, said) == (4, "")
    assert re.search(r"^Error: The store of models does not answer\..*No such file", told, re.MULTILINE), told
    assert published(tmp_path / "elsewhere") < CUSTOMERS
