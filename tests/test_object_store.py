"""The service on a bucket, over both protocols and in both ingress modes, and what a failing bucket does to it."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest

from tests import stores
from tests.bucketed import Bucketed, serving_bucket
from tests.conftest import INGRESS_MODES
from tests.service import Outcome, eventually
from tests.store.fault_proxy import Fault

STORE_TIMEOUT_S = 2.0
GRACE_S = 2.0
"""What a busy machine may add."""

FAULTS = (Fault.ERROR, Fault.DENIED, Fault.RESET, Fault.HANG, Fault.TRUNCATED)


@pytest.fixture(scope="module", params=INGRESS_MODES)
def bucketed(request: pytest.FixtureRequest) -> Iterator[Bucketed]:
    """One replica, which gives up a store that does not answer after two seconds."""
    with serving_bucket(request.param, store_timeout_s=STORE_TIMEOUT_S) as running:
        yield running


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
