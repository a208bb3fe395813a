"""The retry policy: a replica dies while it answers, and no caller sees an error, in two languages at once."""

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from ray import cloudpickle

from benchmarks.client_load import calling
from forecast_grpc.artefact import encode_pickle
from forecast_grpc.store import FolderStore
from forecast_grpc_client import Client, Connection, ForecastError, Request
from tests.clients.toolchains import LANGUAGES, Workshop, require
from tests.conftest import INGRESS_MODES
from tests.service import RunningService, eventually, serving
from tests.stores import MANY

# Replicas start anew beside callers in two languages, who wait for twenty seconds at most.
pytestmark = pytest.mark.alone

REPLICAS = 3
KILLS = {"haproxy": 2, "proxy": 6}
"""How many replicas are killed at most."""

ENOUGH = 3
"""Calls that were tried again, after which nobody else is killed."""

PYTHON, GO = (next(each for each in LANGUAGES if each.name == name) for name in ("Python", "Go"))


class Slow:
    """A model that takes its time, so that some call is always on its way."""

    def predict(self, sequence: list[float]) -> list[float]:
        """The last value, a moment later."""
        time.sleep(0.05)
        return [float(sequence[-1])]


@pytest.fixture(scope="module", params=INGRESS_MODES)
def fleet(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningService]:
    """Three replicas of slow models."""
    store: Path = tmp_path_factory.mktemp("slow")
    # A replica does not have this module.
    cloudpickle.register_pickle_by_value(sys.modules[__name__])  # type: ignore[no-untyped-call]
    by_value: Callable[[object], bytes] = cloudpickle.dumps
    slow = by_value(Slow())
    for customer in MANY:
        FolderStore(store).publish(customer, lambda version: encode_pickle(slow, version))
    options = ("--num-replicas", str(REPLICAS), "--set", "num_cpus_per_replica=0.1", "--allow-pickles")
    with serving(store, request.param, *options) as running:
        yield running


@pytest.mark.timeout(600)
def test_a_dying_replica_costs_no_caller_anything(fleet: RunningService, workshop: Workshop) -> None:
    """Replicas are killed, behind Ray's proxy until calls were cut off and tried again; all are answered."""
    require(GO)
    folder, interpreter = workshop.built(GO), workshop.built(PYTHON) / ".venv" / "bin" / "python"
    subprocess.run(["go", "build", "-o", f"load-{fleet.ingress}", "./cmd/load"], cwd=folder, check=True)
    with ExitStack() as stack:
        python = [str(interpreter), "load.py", fleet.grpc_address, "30"]
        from_python = stack.enter_context(calling(python, workshop.built(PYTHON)))
        go = [f"./load-{fleet.ingress}", "-address", fleet.grpc_address, "-rate", "60"]
        from_go = stack.enter_context(calling(go, folder))
        eventually(lambda: from_go.counts.get("calls", 0) > 100)
        for _ in range(KILLS[fleet.ingress]):
            kill_one(fleet)
            if from_go.counts["attempts"] - from_go.counts["calls"] >= ENOUGH:
                break
        counts = {"Python": from_python.end(), "Go": from_go.end()}
    assert {language: each["failures"] for language, each in counts.items()} == {"Python": {}, "Go": {}}
    assert counts["Python"]["calls"] > 100
    if fleet.ingress == "proxy":
        # Else no call was on its way when its replica died. HAProxy itself asks another replica, as a rule.
        assert counts["Go"]["attempts"] > counts["Go"]["calls"]


def kill_one(fleet: RunningService) -> None:
    """Kills a replica, and waits until another has taken its place and answers."""
    before = fleet.replica_processes()
    before[0].kill()
    before[0].wait(30)
    with Client(Connection(fleet.grpc_address, options={"grpc.enable_retries": 0})) as client:
        eventually(lambda: len(answering(client)) == REPLICAS, timeout_s=120)


def answering(client: Client) -> set[str]:
    """The replicas that answer now; empty where one does not."""
    try:
        return {client.forecast(Request(customer, [1])).provenance.replica for customer in MANY}
    except ForecastError:
        return set()
