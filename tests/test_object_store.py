"""The service on a bucket, over both protocols and in both ingress modes, and what a failing bucket does to it."""

import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import count, pairwise
from pathlib import Path

import grpc
import pytest

from forecast_grpc.store import ModelStore, open_store
from forecast_grpc.v1.forecast_pb2 import ForecastRequest
from forecast_grpc.v1.forecast_pb2_grpc import ForecastServiceStub
from tests import stores
from tests.conftest import INGRESS_MODES
from tests.service import Outcome, RunningService, eventually, serving
from tests.store.fault_proxy import Fault, FaultProxy, faulty
from tests.store.servers import moto

STORE_TIMEOUT_S = 2.0
SLOW_S = 0.4
"""What a GET can take without being given up for another attempt."""

GRACE_S = 2.0
"""What a busy machine may add."""

FAULTS = (Fault.ERROR, Fault.DENIED, Fault.RESET, Fault.HANG, Fault.TRUNCATED)

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


@pytest.fixture(scope="module", params=INGRESS_MODES)
def bucketed(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bucketed]:
    """One replica, which gives the store two seconds and looks for new versions five times a second."""
    folder: Path = tmp_path_factory.mktemp("unused")
    options = ["--set", f"store_timeout_s={STORE_TIMEOUT_S}", "--set", "refresh_interval_s=0.2"]
    with moto() as server, faulty(server.endpoint) as proxy, pytest.MonkeyPatch.context() as environment:
        for name, value in server.environment.items():
            environment.setenv(name, value)
        store = open_store(server.url("models"))
        store.publish("customer_123", stores.publisher(stores.trend(1.45)))
        url = server.url("models", endpoint=proxy.endpoint)
        # The last --store counts.
        with serving(folder, request.param, "--store", url, *options) as service:
            yield Bucketed(service=service, proxy=proxy, store=store)


@pytest.fixture(params=["grpc", "http"])
def protocol(request: pytest.FixtureRequest) -> str:
    """Each protocol in turn."""
    chosen: str = request.param
    return chosen


def test_a_cold_load_is_one_get(bucketed: Bucketed, protocol: str) -> None:
    """The first request for a customer costs one GET, and is answered by the model in the bucket."""
    customer = bucketed.cold()
    outcome = bucketed.ask(protocol, customer)
    assert outcome.code == "OK"
    assert outcome.metadata["forecast-cache"] == "cold"
    seen = [each.method for each in bucketed.proxy.seen if f"/{customer}/" in each.path]
    assert seen == ["GET"]
    assert bucketed.ask(protocol, customer).metadata["forecast-cache"] == "hot"


def test_a_new_version_and_the_way_back(bucketed: Bucketed, protocol: str) -> None:
    """What is published is served soon after, and so is what is rolled back to."""
    customer = bucketed.cold()
    first = bucketed.ask(protocol, customer).forecast
    bucketed.store.publish(customer, stores.publisher(stores.trend(2.0)))
    eventually(lambda: bucketed.ask(protocol, customer).forecast != first)
    bucketed.store.activate(customer, 1)
    eventually(lambda: bucketed.ask(protocol, customer).forecast == first)


def test_nobody(bucketed: Bucketed, protocol: str) -> None:
    """A customer without a model is not found, as in a folder."""
    outcome = bucketed.ask(protocol, "nobody")
    assert (outcome.code, outcome.reason) == ("NOT_FOUND", "MODEL_NOT_FOUND")
    assert outcome.http_status in {None, 404}


def test_half_an_artefact(bucketed: Bucketed, protocol: str) -> None:
    """Bytes that were truncated before they came into the bucket are corrupt, not unavailable."""
    customer = f"half-{protocol}"
    half = stores.encode(stores.trend(1.0), 1)[:-100]
    bucketed.store.publish(customer, partial(_as_it_is, half))
    outcome = bucketed.ask(protocol, customer)
    assert (outcome.code, outcome.reason) == ("DATA_LOSS", "MODEL_CORRUPT")


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_a_failing_store(bucketed: Bucketed, protocol: str, fault: Fault) -> None:
    """Cold models are UNAVAILABLE within the time for the store; hot ones go on; then all is as before."""
    customer, hot = bucketed.cold(), "customer_123"
    eventually(lambda: bucketed.ask(protocol, hot).metadata["forecast-cache"] == "hot")
    bucketed.proxy.fault = fault
    try:
        started = time.monotonic()
        outcome = bucketed.ask(protocol, customer)
        took_s = time.monotonic() - started
        still = bucketed.ask(protocol, hot)
    finally:
        bucketed.proxy.fault = Fault.NONE
    assert (outcome.code, outcome.reason) == ("UNAVAILABLE", "STORE_UNAVAILABLE")
    assert outcome.http_status in {None, 503}
    assert outcome.retry_after_s
    assert took_s < STORE_TIMEOUT_S + GRACE_S
    assert not any(hint in outcome.everything for hint in ("127.0.0.1", "s3://", "safetensors", "Traceback"))
    assert (still.code, still.metadata["forecast-cache"]) == ("OK", "hot")
    assert bucketed.ask(protocol, customer).code == "OK"


@pytest.mark.alone
def test_many_callers_of_one_cold_customer_make_one_get(bucketed: Bucketed) -> None:
    """200 at once are all answered, by one GET."""
    customer = bucketed.cold()
    bucketed.proxy.delay_s = SLOW_S
    try:
        codes = codes_of(bucketed, customer, 200, timeout_s=20.0)
    finally:
        bucketed.proxy.delay_s = 0.0
    assert codes == {"OK": 200}
    assert loads(bucketed, customer) == 1


@pytest.mark.alone
def test_callers_that_give_up_leave_a_load_that_ends(bucketed: Bucketed) -> None:
    """1,000 with deadlines shorter than the load: it is made once, it ends, the next one hits, nothing is left."""
    customer = bucketed.cold()
    bucketed.proxy.delay_s = SLOW_S
    try:
        codes = codes_of(bucketed, customer, 1_000, timeout_s=SLOW_S / 2)
    finally:
        bucketed.proxy.delay_s = 0.0
    # More than a replica takes at a time may be refused before their deadlines. On a busy machine
    # some come only when the load has ended, and are answered.
    assert codes["DEADLINE_EXCEEDED"] >= 100
    assert set(codes) <= {"DEADLINE_EXCEEDED", "RESOURCE_EXHAUSTED", "OK"}
    # The replica may refuse for a moment yet, with no word of its cache, while it works off the thousand.
    eventually(lambda: bucketed.ask("grpc", customer).metadata.get("forecast-cache") in {"warm", "hot"})
    assert loads(bucketed, customer) == 1
    names = ("requests_in_flight", "loads_in_flight")
    # A scrape may come before the replica has told of them.
    eventually(
        lambda: [bucketed.service.metrics().get(f"ray_forecast_grpc_{name}") for name in names] == [0.0, 0.0]
    )


def test_a_silent_store_under_load(bucketed: Bucketed) -> None:
    """Warm customers notice nothing; cold ones are refused, each with the time to try again; then all is well."""
    warm = [bucketed.cold() for _ in range(5)]
    for customer in warm:
        assert bucketed.ask("grpc", customer).code == "OK"
    cold = [bucketed.cold() for _ in range(20)]
    bucketed.proxy.fault = Fault.HANG
    try:
        with ThreadPoolExecutor(len(cold)) as pool:
            refused = [pool.submit(bucketed.ask, "grpc", customer) for customer in cold]
            served: list[Outcome] = []
            while not all(each.done() for each in refused):
                served += [bucketed.ask("grpc", customer) for customer in warm]
    finally:
        bucketed.proxy.fault = Fault.NONE
    assert {each.result().reason for each in refused} == {"STORE_UNAVAILABLE"}
    assert all(each.result().retry_after_s for each in refused)
    assert {each.code for each in served} == {"OK"}
    assert {each.metadata["forecast-cache"] for each in served} <= {"hot", "warm"}
    for customer in cold:
        assert bucketed.ask("grpc", customer).code == "OK"


def codes_of(bucketed: Bucketed, customer: str, callers: int, timeout_s: float) -> Counter[str]:
    """How many of so many callers at once got which code."""
    metadata = (("multiplexed_model_id", customer),)
    with grpc.insecure_channel(bucketed.service.grpc_address) as channel:
        ask = ForecastServiceStub(channel).Forecast.future
        calls = [ask(ForecastRequest(), metadata=metadata, timeout=timeout_s) for _ in range(callers)]
        return Counter(call.code().name for call in calls)


def loads(bucketed: Bucketed, customer: str) -> int:
    """GETs of the customer's objects that came to the proxy, of those that do not look for a newer one.

    What comes when the one before has had its time is that one, made again by the client of the store: on a
    busy machine the proxy, which is in the process of all the callers, may answer too late for it.
    """
    seen = (each for each in bucketed.proxy.seen if f"/{customer}/" in each.path and not each.conditional)
    came = [each.at for each in seen if each.method == "GET"]
    return bool(came) + sum(later - before < SLOW_S for before, later in pairwise(came))


def test_the_operator_is_told(bucketed: Bucketed) -> None:
    """The log names the request that failed, and how, where the caller is told neither."""
    customer = bucketed.cold()
    bucketed.proxy.fault = Fault.DENIED
    try:
        bucketed.ask("grpc", customer)
    finally:
        bucketed.proxy.fault = Fault.NONE
    line = eventually(
        lambda: [
            line for line in bucketed.service.log_text().splitlines() if customer in line and "cause" in line
        ]
    )[0]
    assert "StoreFault" in line
    assert "AccessDenied" in line
    assert f"{customer}/model.safetensors" in line


def _as_it_is(data: bytes, _version: int) -> bytes:
    return data
