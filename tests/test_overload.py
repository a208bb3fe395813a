"""Too busy and out of time, over both protocols and in both ingress modes, on a service with tiny limits."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import grpc
import httpx
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from tests import stores
from tests.conftest import INGRESS_MODES
from tests.service import Outcome, RunningService, eventually, serving

SLOTS = 4


@pytest.fixture(scope="module", params=INGRESS_MODES)
def tiny(request: pytest.FixtureRequest) -> Iterator[RunningService]:
    """A service that gives a load no time, lets one model wait, and takes four requests at a time."""
    # No model is at hand: each takes the time that it is not given.
    with stores.folder_on_no_disk() as folder:
        store = folder / "store"
        stores.build(store)
        yield from _with_tiny_limits(store, request.param)


def _with_tiny_limits(store: Path, ingress: str) -> Iterator[RunningService]:
    limits = ["request_timeout_s=0.000001", "max_waiting_loads=1", f"max_ongoing_requests={SLOTS}"]
    # Else a customer whose load has ended meanwhile is known to have no model.
    limits += ["max_queued_requests=1", "not_found_ttl_s=0"]
    options = [f"--set={limit}" for limit in limits]
    with serving(store, ingress, *options) as running:
        yield running


@pytest.fixture(params=["grpc", "http"])
def ask(request: pytest.FixtureRequest, tiny: RunningService) -> Callable[[str], Outcome]:
    """One forecast over either protocol."""
    over_http: Callable[[str], Outcome] = lambda customer: tiny.http({}, customer)  # noqa: E731
    return over_http if request.param == "http" else lambda customer: tiny.grpc(None, customer)


def test_out_of_time(ask: Callable[[str], Outcome]) -> None:
    """A model that is not loaded in time: DEADLINE_EXCEEDED, 504. The load goes on, and a later call hits."""
    first = ask("nobody")
    assert (first.code, first.reason) == ("DEADLINE_EXCEEDED", "DEADLINE_EXCEEDED")
    assert first.http_status in {None, 504}
    eventually(lambda: ask("weekly").code == "OK")


def test_too_many_loads(ask: Callable[[str], Outcome]) -> None:
    """More cold models than may wait: RESOURCE_EXHAUSTED, 429, OVERLOADED, and when to try again."""

    def overloaded() -> list[Outcome]:
        with ThreadPoolExecutor(SLOTS) as pool:
            outcomes = list(pool.map(ask, [f"unknown-{number}" for number in range(SLOTS)]))
        # Ray itself refuses one that comes before it knows that earlier ones have ended: in text, over HTTP.
        ours = [each for each in outcomes if (each.code, each.http_status) != ("UNKNOWN", 429)]
        assert {each.code for each in ours} <= {"RESOURCE_EXHAUSTED", "DEADLINE_EXCEEDED"}, ours
        return [each for each in outcomes if each.code == "RESOURCE_EXHAUSTED" and each.reason]

    outcome = eventually(overloaded)[0]
    assert outcome.reason == "OVERLOADED"
    assert outcome.retry_after_s == 1.0
    assert outcome.http_status in {None, 429}


def test_too_many_requests(tiny: RunningService) -> None:
    """More requests than Ray Serve may hold: RESOURCE_EXHAUSTED over gRPC, 429 with Retry-After over HTTP."""
    with ExitStack() as stack:
        for _ in range(SLOTS):
            _occupy(tiny, stack)

        def refused() -> bool:
            with ThreadPoolExecutor(8) as pool:
                over_grpc = [pool.submit(_grpc_code, tiny) for _ in range(4)]
                over_http = [pool.submit(_http_status, tiny) for _ in range(4)]
                codes = {each.result() for each in over_grpc}
                statuses = {each.result() for each in over_http}
            return grpc.StatusCode.RESOURCE_EXHAUSTED in codes and 429 in statuses

        eventually(refused)
    eventually(lambda: tiny.grpc(None, "weekly").code == "OK")


def _occupy(service: RunningService, stack: ExitStack) -> None:
    """Takes one of the slots with a health watch, which stays open."""
    channel = stack.enter_context(grpc.insecure_channel(service.grpc_address))
    watch = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest())  # type: ignore[attr-defined]
    stack.callback(watch.cancel)
    assert next(watch).status == health_pb2.HealthCheckResponse.SERVING


def _grpc_code(service: RunningService) -> grpc.StatusCode:
    with grpc.insecure_channel(service.grpc_address) as channel:
        try:
            health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=2)  # type: ignore[attr-defined]
        except grpc.RpcError as error:
            return error.code()
    return grpc.StatusCode.OK


def _http_status(service: RunningService) -> int:
    headers = {"serve_multiplexed_model_id": "weekly"}
    try:
        response = httpx.post(service.http_address, json={}, headers=headers, timeout=2)
    except httpx.TimeoutException:
        return 0
    assert response.status_code != 429 or response.headers["retry-after"] == "1"
    return response.status_code
