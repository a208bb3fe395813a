"""What Ray's request handling does for a call is so in the direct lane too: each fact holds in both lanes."""

from collections.abc import Iterator
from functools import partial
from typing import Any

import grpc
import pytest

from forecast_grpc.v1.forecast_pb2 import ForecastRequest
from forecast_grpc.v1.forecast_pb2_grpc import ForecastServiceStub
from tests import stores
from tests.lane.held_calls import SLOTS, held, running
from tests.service import Outcome, RunningService, eventually
from tests.slow_model import CUSTOMERS, Gate

QUEUE = 2
"""Calls that may wait."""


@pytest.fixture(scope="module")
def small(lane: str, gate: Gate) -> Iterator[RunningService]:
    """One replica that handles four calls at a time and has two wait."""
    with running(lane, gate, f"max_ongoing_requests={SLOTS}", f"max_queued_requests={QUEUE}") as service:
        yield service


def in_flight(service: RunningService) -> float:
    """Calls that are being answered, as the metrics tell."""
    return service.metrics().get("ray_forecast_grpc_requests_in_flight", 0.0)


def test_the_log_says_which_lane(lane: str, small: RunningService) -> None:
    """Each replica says at its start which way its calls take."""
    (line,) = eventually(lambda: small.log_lines(event="lane"))
    assert line["lane"] == lane
    assert ("cause" in line) == (lane == "ordinary")


def test_one_too_many_is_refused(lane: str, small: RunningService, gate: Gate) -> None:
    """Beyond those that run and those that wait: RESOURCE_EXHAUSTED. Who waits is answered."""

    def refusals() -> list[Outcome]:
        outcome = small.grpc(None, "weekly")
        # Ray gives no reason, and HAProxy asks it where it takes the lane for dead, as on a busy machine.
        told = lane == "ordinary" or outcome.reason != ""
        return [outcome] if outcome.code != "OK" and told else []

    with held(small, gate, SLOTS + QUEUE + 1) as calls:
        # Whichever came last: now all places are taken, and nobody else takes one of theirs.
        eventually(lambda: any(call.done() for call in calls))
        refused = eventually(refusals, timeout_s=90)[0]
        assert refused.code == "RESOURCE_EXHAUSTED"
        assert sum(call.done() for call in calls) == 1
    results = [call.result() for call in calls]
    assert sorted(results) == ["OK"] * (SLOTS + QUEUE) + ["RESOURCE_EXHAUSTED"]
    assert small.grpc(None, "weekly").code == "OK"
    if lane == "direct":
        assert (refused.reason, refused.retry_after_s) == ("OVERLOADED", 1.0)
        assert eventually(lambda: small.log_lines(event="request", reason="OVERLOADED", customer_id="weekly"))


def test_request_ids(small: RunningService) -> None:
    """The caller's own, or a new one; with errors too."""
    own = small.grpc(None, "weekly", request_id="of-the-caller")
    assert own.metadata["request_id"] == "of-the-caller"
    new = {small.grpc(None, customer).metadata["request_id"] for customer in ("weekly", "weekly", "nobody")}
    assert len(new) == 3
    assert all(len(each) == 36 for each in new)


def test_a_deadline_ends_the_call(small: RunningService, gate: Gate) -> None:
    """A caller out of time leaves no place taken, and is counted as one who left."""
    gave_up(small, gate, lambda call: None, timeout=3, code=grpc.StatusCode.DEADLINE_EXCEEDED)


def test_cancelling_ends_the_call(small: RunningService, gate: Gate) -> None:
    """So does one who cancels."""
    gave_up(small, gate, lambda call: call.cancel(), timeout=60, code=grpc.StatusCode.CANCELLED)


def gave_up(service: RunningService, gate: Gate, act: Any, timeout: float, code: grpc.StatusCode) -> None:
    """Takes all places, gives them up so, and finds them free while the model is still at work."""
    eventually(lambda: gate.waiting == 0)
    gate.close()
    ids = [f"{code.name}-{number}" for number in range(SLOTS)]
    with grpc.insecure_channel(service.grpc_address) as channel:
        future: Any = ForecastServiceStub(channel).Forecast.future
        calls = [
            future(
                ForecastRequest(),
                metadata=(("multiplexed_model_id", customer), ("request_id", request_id)),
                timeout=timeout,
            )
            for customer, request_id in zip(CUSTOMERS, ids, strict=False)
        ]
        eventually(lambda: gate.waiting == SLOTS)
        for call in calls:
            act(call)
        assert {call.code() for call in calls} == {code}
    for request_id in ids:
        (line,) = eventually(partial(service.log_lines, event="request", request_id=request_id))
        assert line["code"] == "CANCELLED"
    assert service.grpc(None, "weekly").code == "OK"
    eventually(lambda: in_flight(service) == 0)
    gate.open()


def test_another_application_is_not_here(small: RunningService) -> None:
    """A call that names an application gets this one or NOT_FOUND."""
    assert small.grpc(None, "weekly", application="default").code == "OK"
    assert small.grpc(None, "weekly", application="another").code == "NOT_FOUND"


def test_metrics_and_log_are_the_same(small: RunningService) -> None:
    """Each call is counted by protocol and code, and leaves a line with its customer, tier, model and time."""
    name = "ray_forecast_grpc_requests_total,code=OK,protocol=grpc"
    small.grpc(None, "weekly")
    before = eventually(lambda: small.metrics().get(name))
    for number in range(5):
        small.grpc(None, "weekly", request_id=f"counted-{number}")
    eventually(lambda: small.metrics()[name] >= before + 5)
    (line,) = eventually(partial(small.log_lines, event="request", request_id="counted-4"))
    seen = {key: line[key] for key in ("protocol", "code", "cache", "customer_id", "family", "horizon")}
    assert seen == {
        "protocol": "grpc",
        "code": "OK",
        "cache": "hot",
        "customer_id": "weekly",
        "family": "seasonal_naive",
        "horizon": stores.HORIZON,
    }
