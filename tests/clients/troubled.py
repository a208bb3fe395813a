"""A service in trouble: its store has stopped to answer, a model of its fails, and its limits are tight."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from ray import cloudpickle

from forecast_grpc.artefact import encode_pickle
from forecast_grpc.store import open_store
from tests.service import RunningService, eventually, serving
from tests.store.fault_proxy import Fault, faulty
from tests.store.servers import moto

LIMITS = ("max_waiting_loads=1", "request_timeout_s=0.2", "store_timeout_s=3600", "model_service=read")


class Failing:
    """A model with a fault."""

    def predict(self, sequence: list[float]) -> list[float]:
        """Fails."""
        raise RuntimeError


@contextmanager
def troubled_service(ingress: str, unused: Path) -> Iterator[RunningService]:
    """One replica with the model of `failing` in memory; that of `stuck` loads for ever, so that no other may."""
    # A replica does not have this module.
    cloudpickle.register_pickle_by_value(sys.modules[__name__])  # type: ignore[no-untyped-call]
    by_value: Callable[[object], bytes] = cloudpickle.dumps
    options = [f"--set={limit}" for limit in LIMITS]
    with moto() as server, faulty(server.endpoint) as proxy, pytest.MonkeyPatch.context() as environment:
        for name, value in server.environment.items():
            environment.setenv(name, value)
        store = open_store(server.url("models"))
        store.publish("failing", lambda version: encode_pickle(by_value(Failing()), version))
        url = server.url("models", endpoint=proxy.endpoint)
        # The last --store counts.
        options += ["--store", url, "--allow-pickles", "--prewarm", "failing"]
        with serving(unused, ingress, *options) as service:
            proxy.fault = Fault.HANG
            eventually(lambda: service.grpc(None, "stuck").reason == "DEADLINE_EXCEEDED")
            yield service
