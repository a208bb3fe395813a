"""What batches and streams give, in both ingress modes."""

import json
import math
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import httpx
import pytest
from google.protobuf import json_format
from google.protobuf.duration_pb2 import Duration

from forecast_grpc.v1 import forecast_pb2 as pb
from forecast_grpc.v1.forecast_pb2_grpc import ForecastServiceStub
from tests.service import TUTORIAL_FORECAST, TUTORIAL_SEQUENCE, RunningService, eventually, unpack

CUSTOMER = (("multiplexed_model_id", "customer_456"),)

ITEMS: dict[str, tuple[str, dict[str, Any]]] = {
    "tutorial": ("customer_123", {"sequence_data": TUTORIAL_SEQUENCE}),
    "of the call": ("", {"sequence_data": [1.0, 2.0, 3.0], "horizon": 2}),
    "empty": ("customer_123", {}),
    "missing": ("customer_123", {"sequence_data": [1.0, float("nan"), 3.0]}),
    "linear": ("four-lags", {"sequence_data": [0.1, 0.2, 0.3, 0.4, 0.7], "quantile_levels": [0.1, 0.9]}),
    "linear too": ("four-lags", {"sequence_data": [5.1, 0.2, 7.3, 0.4, 0.7], "quantile_levels": [0.1, 0.9]}),
    "seasonal": ("weekly", {"sequence_data": [float(n) for n in range(9)], "horizon": 10}),
    "version": ("versioned", {"sequence_data": [1.0], "model_version": 2}),
    "timed": ("monthly", {"sequence_data": [1.0], "start_time": {"seconds": 1_767_225_600}}),
    "nobody": ("nobody", {"sequence_data": [1.0]}),
    "no version": ("versioned", {"sequence_data": [1.0], "model_version": 9}),
    "damaged": ("truncated", {"sequence_data": [1.0]}),
    "malformed": ("../etc", {"sequence_data": [1.0]}),
    "infinite": ("customer_123", {"sequence_data": [1.0, float("inf")]}),
    "short": ("four-lags", {"sequence_data": [1.0]}),
    "far": ("customer_123", {"horizon": 1_001}),
    "no steps": ("customer_123", {"sequence_data": [1.0], "horizon": 0}),
    "no version 0": ("customer_123", {"sequence_data": [1.0], "model_version": 0}),
    "level": ("nobody", {"sequence_data": [1.0], "quantile_levels": [1.0]}),
}
"""Good ones and bad ones: customer and request, by tag."""


def items() -> list[pb.ForecastItem]:
    """What `ITEMS` describes."""
    return [
        pb.ForecastItem(tag=tag, customer_id=customer, request=pb.ForecastRequest(**fields))
        for tag, (customer, fields) in ITEMS.items()
    ]


@pytest.fixture
def stub(service: RunningService) -> Iterator[ForecastServiceStub]:
    """Calls of the service."""
    with grpc.insecure_channel(service.grpc_address) as channel:
        yield ForecastServiceStub(channel)


def unary(stub: ForecastServiceStub, item: pb.ForecastItem) -> pb.ForecastResult:
    """What `Forecast` answers to the item, as a result."""
    metadata = (("multiplexed_model_id", item.customer_id),) if item.customer_id else CUSTOMER
    try:
        response = stub.Forecast(item.request, metadata=metadata, timeout=20)
    except grpc.RpcError as exc:
        error: Any = exc
        details = unpack(dict(error.trailing_metadata())["grpc-status-details-bin"])
        bad = details.get("BadRequest")
        failure = pb.ForecastError(
            code=error.code().value[0],
            reason=details["ErrorInfo"].reason,
            message=error.details(),
            field=bad.field_violations[0].field if bad else "",
        )
        return pb.ForecastResult(tag=item.tag, error=failure)
    return pb.ForecastResult(tag=item.tag, response=response)


def test_a_batch_answers_each_item_as_forecast_does(stub: ForecastServiceStub) -> None:
    """Good items and bad ones, whatever they need: what `Forecast` answers, to the last bit, in order."""
    asked = items()
    response = stub.BatchForecast(pb.BatchForecastRequest(items=asked), metadata=CUSTOMER, timeout=20)
    assert list(response.results) == [unary(stub, item) for item in asked]
    assert list(response.results[0].response.forecast) == TUTORIAL_FORECAST


def test_a_batch_needs_no_customer_of_its_own(stub: ForecastServiceStub) -> None:
    """Without a customer in the metadata only the items that name none are in error."""
    asked = items()[:2]
    named, unnamed = stub.BatchForecast(pb.BatchForecastRequest(items=asked), timeout=20).results
    assert list(named.response.forecast) == TUTORIAL_FORECAST
    assert unnamed.error.reason == "CUSTOMER_ID_MISSING"


def test_a_batch_says_where_it_was_answered(stub: ForecastServiceStub) -> None:
    """The call ends with the caller's request id, the replica, and how far away the furthest model was."""
    asked = pb.BatchForecastRequest(items=items()[:1])
    _, call = stub.BatchForecast.with_call(asked, metadata=(*CUSTOMER, ("request_id", "a-batch")), timeout=20)
    trailing = dict(call.trailing_metadata())
    assert trailing["request_id"] == "a-batch"
    assert trailing["forecast-replica"]
    assert trailing["forecast-cache"] in {"hot", "warm", "cold"}


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        (pb.BatchForecastRequest(items=[pb.ForecastItem()] * 10_001), "items"),
        (pb.BatchForecastRequest(time_limit=Duration(seconds=-1)), "time_limit"),
        (
            pb.BatchForecastRequest(
                items=[pb.ForecastItem(request=pb.ForecastRequest(sequence_data=[0.0] * 10_000))] * 501
            ),
            "items",
        ),
    ],
)
def test_what_a_batch_may_not_ask(stub: ForecastServiceStub, request_: Any, field: str) -> None:
    """Too many items, too many values and an impossible limit are errors of the call, which name the field."""
    with pytest.raises(grpc.RpcError) as caught:
        stub.BatchForecast(request_, metadata=CUSTOMER, timeout=20)
    error: Any = caught.value
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    details = unpack(dict(error.trailing_metadata())["grpc-status-details-bin"])
    assert details["ErrorInfo"].reason == "REQUEST_INVALID"
    assert details["BadRequest"].field_violations[0].field == field


def test_a_stream_answers_each_item_as_forecast_does(stub: ForecastServiceStub) -> None:
    """Each item is answered once, under its tag, as `Forecast` answers; bad ones do not end the stream."""
    asked = items()
    messages = iter([pb.StreamForecastRequest(items=asked[:9]), pb.StreamForecastRequest(items=asked[9:])])
    replies = stub.StreamForecast(messages, metadata=CUSTOMER, timeout=20)
    results = {result.tag: result for reply in replies for result in reply.results}
    assert results == {item.tag: unary(stub, item) for item in asked}


def test_a_stream_says_where_it_was_answered(stub: ForecastServiceStub) -> None:
    """The stream ends with the caller's request id, the replica and the tier."""
    messages = iter([pb.StreamForecastRequest(items=items()[:1])])
    replies: Any = stub.StreamForecast(messages, metadata=(*CUSTOMER, ("request_id", "a-stream")), timeout=20)
    assert len(list(replies)) == 1
    trailing = dict(replies.trailing_metadata())
    assert trailing["request_id"] == "a-stream"
    assert trailing["forecast-replica"]
    assert trailing["forecast-cache"] in {"hot", "warm", "cold"}


def test_a_batch_over_http_answers_each_item_as_a_request_does(service: RunningService) -> None:
    """The same items as JSON: the response, or the error, that each would get alone at `/v1/forecast`."""
    asked = [(each.tag, each.customer_id, as_json(each.request)) for each in items()]
    bodies = [{"tag": tag, "customer_id": customer, "request": body} for tag, customer, body in asked]
    answer = post(service, "/v1/forecast:batch", {"items": bodies}, "customer_456")
    assert answer.status_code == 200
    assert answer.headers["forecast-replica"]
    results = answer.json()["results"]
    assert [result["tag"] for result in results] == list(ITEMS)
    for result, (tag, customer, body) in zip(results, asked, strict=True):
        alone = post(service, "/v1/forecast", body, customer or "customer_456").json()
        assert result == {"tag": tag, **(alone if "error" in alone else {"response": alone})}


def post(service: RunningService, path: str, body: Any, customer: str) -> httpx.Response:
    """One call over HTTP; an infinity is sent as such, which is no JSON, but which some programs do."""
    headers = {"serve_multiplexed_model_id": customer}
    return httpx.post(service.http_address + path, content=json.dumps(body), headers=headers, timeout=20)


def as_json(request: pb.ForecastRequest) -> dict[str, Any]:
    """The request as the HTTP door takes it."""
    body: dict[str, Any] = json_format.MessageToDict(request, preserving_proto_field_name=True)
    if "model_version" in body:
        # JSON of a message has 64-bit integers as texts.
        body["model_version"] = int(body["model_version"])
    if "sequence_data" in body:
        body["sequence_data"] = [math.inf if each == "Infinity" else each for each in body["sequence_data"]]
    return body


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b"[]", "body"),
        (b'{"items": 1}', "items"),
        (b'{"items": [{"request": 1}]}', "items[0].request"),
        (b'{"items": [{"customer": "a"}]}', "items[0].customer"),
        (b'{"things": []}', "things"),
        (b'{"time_limit": "0s"}', "time_limit"),
        (b'{"time_limit": "soon"}', "time_limit"),
        (b'{"time_limit": 1}', "time_limit"),
        (b'{"items": [' + b",".join([b"{}"] * 10_001) + b"]}", "items"),
        (b'{"items": [{"request": {"sequence_data": [' + b"1," * 70_000 + b"1]}}]}", "body"),
    ],
)
def test_what_a_batch_over_http_may_not_be(service: RunningService, body: bytes, field: str) -> None:
    """What is no batch, or too much of one, is an error of the call, which names the field."""
    outcome = service.http(body, path="/v1/forecast:batch")
    assert (outcome.http_status, outcome.reason) == (400, "REQUEST_INVALID")
    assert outcome.fields == (field,)


@pytest.mark.parametrize("leaves", [False, True])
def test_who_does_not_read_is_not_read(service: RunningService, leaves: bool) -> None:
    """A caller who sends without end and takes no results comes to a standstill, holds up nobody, and is cut off.

    Also one who goes away: HAProxy, whose buffers are full, reads nothing more from there. Where they have room,
    as on a busy machine, it passes on that the caller has left, and the stream ends at once.
    """
    if service.ingress == "proxy":
        pytest.skip("Ray's proxy takes results as fast as they come: see docs/batches.md")
    request = pb.ForecastRequest(sequence_data=[1.0] * 100)
    item = pb.ForecastItem(customer_id="customer_123", request=request)
    sent, request_id = 0, f"stalled-{leaves}"

    def messages() -> Iterator[pb.StreamForecastRequest]:
        nonlocal sent
        while True:
            sent += 1
            yield pb.StreamForecastRequest(items=[item] * 100)

    def stands_still() -> bool:
        before = sent
        time.sleep(1.0)
        return sent == before

    # A connection of its own: gRPC gives channels to one address in one process the same.
    own = [("grpc.use_local_subchannel_pool", 1)]
    with grpc.insecure_channel(service.grpc_address, options=own) as channel:
        metadata = (*CUSTOMER, ("request_id", request_id))
        replies: Any = ForecastServiceStub(channel).StreamForecast(messages(), metadata=metadata)
        next(replies)
        eventually(stands_still, timeout_s=60)
        with ThreadPoolExecutor(16) as others:
            codes = others.map(lambda _: service.grpc(None, "customer_456").code, range(64))
            assert set(codes) == {"OK"}
        if leaves:
            replies.cancel()
        (line,) = eventually(lambda: service.log_lines(event="request", request_id=request_id))
    cut_off = ("DEADLINE_EXCEEDED", "No results were taken for 3 s.")
    left = ("CANCELLED", None)
    assert (line["code"], line.get("message")) in ([cut_off, left] if leaves else [cut_off])
