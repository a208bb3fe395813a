"""A running service whose store is a bucket, with a proxy between the two."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import pytest

from forecast_grpc.store import ModelStore, open_store
from tests import stores
from tests.service import Outcome, RunningService, serving
from tests.store.fault_proxy import FaultProxy, faulty
from tests.store.servers import moto

_numbers = count()


@dataclass(frozen=True, slots=True, kw_only=True)
class Bucketed:
    """A service, its store, and what stands between them."""

    service: RunningService
    """Reaches the store by way of the proxy."""

    proxy: FaultProxy
    """Between the two."""

    store: ModelStore
    """The same store, past the proxy."""

    def ask(self, protocol: str, customer: str) -> Outcome:
        """One forecast."""
        ask = self.service.http if protocol == "http" else self.service.grpc
        return ask(None, customer)

    def cold(self) -> str:
        """A customer with a model that the service has not been asked for yet."""
        name = f"cold-{next(_numbers)}"
        self.store.publish(name, stores.publisher(stores.trend(1.0)))
        return name


@contextmanager
def serving_bucket(ingress: str, *, store_timeout_s: float) -> Iterator[Bucketed]:
    """One replica, which gives the store so many seconds and looks for new versions five times a second."""
    options = ["--set", f"store_timeout_s={store_timeout_s}", "--set", "refresh_interval_s=0.2"]
    with moto() as server, faulty(server.endpoint) as proxy, pytest.MonkeyPatch.context() as environment:
        for name, value in server.environment.items():
            environment.setenv(name, value)
        store = open_store(server.url("models"))
        store.publish("customer_123", stores.publisher(stores.trend(1.45)))
        url = server.url("models", endpoint=proxy.endpoint)
        # The last --store counts.
        with serving(Path("unused"), ingress, "--store", url, *options) as service:
            yield Bucketed(service=service, proxy=proxy, store=store)
