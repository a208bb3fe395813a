"""Errors leave so that clients can try again."""

import json
from collections.abc import AsyncIterator
from typing import Any
from unittest.mock import Mock

import grpc
import pytest
from grpc_health.v1.health_pb2 import HealthCheckRequest
from grpc_health.v1.health_pb2_grpc import HealthStub, add_HealthServicer_to_server
from ray.exceptions import ActorDiedError, ActorUnavailableError
from ray.serve._private import proxy
from ray.serve._private.grpc_util import gRPCGenericServer
from ray.serve._private.proxy_request_response import gRPCStreamingType
from ray.serve.exceptions import BackPressureError

from forecast_grpc.cli._cluster import SERVICERS
from forecast_grpc.routing import retryable


class Ray:
    """What handles calls in a server of Ray's: it answers OK, or fails as it is asked to, in Ray's way."""

    calls = 0

    def __call__(self, service_method: str, streaming_type: gRPCStreamingType) -> Any:
        """The handler of a method; all are the same."""
        if streaming_type is not gRPCStreamingType.UNARY_UNARY:
            return None

        async def handler(request: Any, context: Any) -> bytes:
            self.calls += 1
            context.set_trailing_metadata((("request_id", "mine"), ("calls", str(self.calls))))
            context.set_code(grpc.StatusCode[request.service or "OK"])
            context.set_details("Ünavailable." if request.service else "")
            return b""

        return handler


GONE = (ActorDiedError(), ActorUnavailableError("gone", None))


@pytest.fixture(autouse=True)
def as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ray's own judgement is back after each test."""
    for name in ("get_grpc_response_status", "get_http_response_status"):
        monkeypatch.setattr(proxy, name, getattr(proxy, name))
    monkeypatch.delenv("RAY_SERVE_ENABLE_HA_PROXY", raising=False)


def judged(exc: BaseException) -> tuple[Any, Any]:
    """What the proxy of this process makes of an exception, over gRPC and over HTTP."""
    return (
        proxy.get_grpc_response_status(exc, 1.0, "id"),  # type: ignore[attr-defined]  # Ray exports nothing of this
        proxy.get_http_response_status(exc, 1.0, "id"),  # type: ignore[attr-defined]
    )


@pytest.mark.parametrize("exc", GONE, ids=lambda exc: type(exc).__name__)
def test_a_lost_replica_is_unavailable(exc: Exception) -> None:
    """UNAVAILABLE and 503 with a fixed sentence, however often the function is called; Ray's own are others."""
    over_grpc, over_http = judged(exc)
    assert (over_grpc.code, over_http.code) == (grpc.StatusCode.INTERNAL, 500)
    for _ in range(2):
        retryable.prepare(None, Mock())
        over_grpc, over_http = judged(exc)
        assert (over_grpc.code, over_http.code) == (grpc.StatusCode.UNAVAILABLE, 503)
        assert over_grpc.message == over_http.message == retryable.MESSAGE


def test_everything_else_is_rays_to_judge() -> None:
    """Time limits, back-pressure and faults come out as Ray has them."""
    errors = (
        TimeoutError(),
        BackPressureError(num_queued_requests=1, max_queued_requests=1),
        ValueError("x"),
    )
    before = [judged(exc) for exc in errors]
    retryable.prepare(None, Mock())
    assert [judged(exc) for exc in errors] == before


def test_behind_haproxy_nothing_is_touched(monkeypatch: pytest.MonkeyPatch) -> None:
    """There are no Python proxies there, and the function runs in replicas."""
    monkeypatch.setenv("RAY_SERVE_ENABLE_HA_PROXY", "1")
    retryable.prepare(None, Mock())
    assert judged(GONE[0])[0].code is grpc.StatusCode.INTERNAL


def test_serve_runs_it() -> None:
    """`forecast-grpc serve` names the function to Ray, before all others."""
    assert SERVICERS[0] == f"{retryable.__name__}.{retryable.prepare.__name__}"


@pytest.fixture(params=[True, False], ids=["prepared", "plain"])
async def health(request: pytest.FixtureRequest) -> AsyncIterator[Any]:
    """A server of Ray's with one service, prepared or not: from the code of an error, "" for none, to the call."""
    server: Any = gRPCGenericServer(Ray())
    for add in [retryable.prepare] * request.param + [add_HealthServicer_to_server]:
        add(Mock(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    policy = {"maxAttempts": 3, "initialBackoff": "0.01s", "maxBackoff": "0.01s", "backoffMultiplier": 1}
    retries = {"name": [{}], "retryPolicy": policy | {"retryableStatusCodes": ["UNAVAILABLE"]}}
    options = [("grpc.service_config", json.dumps({"methodConfig": [retries]}))]
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}", options) as channel:
        stub: Any = HealthStub(channel)
        yield lambda code: stub.Check(HealthCheckRequest(service=code), timeout=20)
    await server.stop(None)


async def failure(call: Any) -> tuple[grpc.StatusCode, str, dict[str, str]]:
    """How a call fails: its code, details and trailing metadata."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    error: Any = caught.value
    return error.code(), error.details(), dict(error.trailing_metadata())


async def test_an_error_goes_out_as_it_was_set(health: Any) -> None:
    """Its code, details and trailing metadata are those that were set; an answer is as it was."""
    for code in (grpc.StatusCode.INTERNAL, grpc.StatusCode.NOT_FOUND):
        found, details, trailing = await failure(health(code.name))
        assert (found, details, trailing["request_id"]) == (code, "Ünavailable.", "mine")
    answered = health("")
    await answered
    assert dict(await answered.trailing_metadata())["request_id"] == "mine"


async def test_an_error_is_tried_again(health: Any, request: pytest.FixtureRequest) -> None:
    """A retry policy makes its attempts; at an error in Ray's way it makes none."""
    _, _, trailing = await failure(health("UNAVAILABLE"))
    assert trailing["calls"] == ("1" if "plain" in request.node.name else "3")
