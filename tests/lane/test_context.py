"""The context of the direct lane, on a real server."""

import json
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest

from forecast_grpc.lane.context import DirectContext

POLICY = {"maxAttempts": 3, "initialBackoff": "0.01s", "maxBackoff": "0.01s", "backoffMultiplier": 1}
RETRIES = {"name": [{}], "retryPolicy": POLICY | {"retryableStatusCodes": ["UNAVAILABLE"]}}


@pytest.fixture
async def call() -> AsyncIterator[Any]:
    """From the code that a call is to fail with, "" for none, to that call. Its client has a retry policy."""
    calls = 0

    async def handler(request: bytes, context: Any) -> bytes:
        nonlocal calls
        calls += 1
        door = DirectContext(context)
        door.set_trailing_metadata((("calls", str(calls)),))
        if request:
            door.set_code(grpc.StatusCode[request.decode()])
            door.set_details("Not now.")
        if door.failed():
            await door.end()
        return b"answer"

    server = grpc.aio.server()
    handlers = {"call": grpc.unary_unary_rpc_method_handler(handler)}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("t", handlers),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    options = [("grpc.service_config", json.dumps({"methodConfig": [RETRIES]}))]
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}", options) as channel:
        unary: Any = channel.unary_unary
        yield lambda code: unary("/t/call")(code.encode(), timeout=20)
    await server.stop(None)


@pytest.mark.parametrize(("code", "attempts"), [("UNAVAILABLE", "3"), ("NOT_FOUND", "1")])
async def test_an_error_can_be_tried_again(call: Any, code: str, attempts: str) -> None:
    """A retry policy makes its attempts; status, sentence and trailing metadata are those that were set."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call(code)
    error: Any = caught.value
    assert (error.code().name, error.details()) == (code, "Not now.")
    trailing = dict(error.trailing_metadata())
    assert trailing["calls"] == attempts
    assert trailing["request_id"]


async def test_an_answer_is_left_alone(call: Any) -> None:
    """Without a status nothing happens."""
    assert await call("") == b"answer"
