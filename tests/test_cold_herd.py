"""Many callers of one cold customer: one load, by one GET, whether they wait for it or give up."""

from collections import Counter
from collections.abc import Iterator

import grpc
import pytest

from forecast_grpc.v1.forecast_pb2 import ForecastRequest
from forecast_grpc.v1.forecast_pb2_grpc import ForecastServiceStub
from tests.bucketed import Bucketed, serving_bucket
from tests.conftest import INGRESS_MODES
from tests.service import eventually

STORE_TIMEOUT_S = 60.0
"""So long that the client of the store does not make a GET again that the proxy, busy with the callers in the same
process, is slow to answer: each GET that comes is then a load's."""

SLOW_S = 0.4
"""What a GET takes here."""


@pytest.fixture(scope="module", params=INGRESS_MODES)
def bucketed(request: pytest.FixtureRequest) -> Iterator[Bucketed]:
    """One replica, which waits long for its store."""
    with serving_bucket(request.param, store_timeout_s=STORE_TIMEOUT_S) as running:
        yield running


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
    assert gets(bucketed, customer) == 1


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
    assert gets(bucketed, customer) == 1
    names = ("requests_in_flight", "loads_in_flight")
    # A scrape may come before the replica has told of them.
    eventually(
        lambda: [bucketed.service.metrics().get(f"ray_forecast_grpc_{name}") for name in names] == [0.0, 0.0]
    )


def codes_of(bucketed: Bucketed, customer: str, callers: int, timeout_s: float) -> Counter[str]:
    """How many of so many callers at once got which code."""
    metadata = (("multiplexed_model_id", customer),)
    with grpc.insecure_channel(bucketed.service.grpc_address) as channel:
        ask = ForecastServiceStub(channel).Forecast.future
        calls = [ask(ForecastRequest(), metadata=metadata, timeout=timeout_s) for _ in range(callers)]
        return Counter(call.code().name for call in calls)


def gets(bucketed: Bucketed, customer: str) -> int:
    """GETs of the customer's objects that came to the proxy, but those that look for a newer version."""
    seen = (each for each in bucketed.proxy.seen if f"/{customer}/" in each.path and not each.conditional)
    return sum(each.method == "GET" for each in seen)
