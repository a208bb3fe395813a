"""Every error has its place on both wires."""

import json
import pickle
from collections.abc import Iterator
from typing import Any

import grpc
import pytest
from google.rpc import status_pb2

from forecast_grpc import errors
from forecast_grpc.errors import Code, FieldViolation, ForecastError, InternalError, RequestInvalid
from forecast_grpc.v1.error_reason_pb2 import ErrorReason
from forecast_grpc.wire import error_to_json, error_to_status
from forecast_grpc.wire.failures import MAX_STATUS_BYTES
from tests.service import unpack

TABLE = {
    "CUSTOMER_ID_MISSING": (Code.INVALID_ARGUMENT, 400),
    "CUSTOMER_ID_INVALID": (Code.INVALID_ARGUMENT, 400),
    "REQUEST_INVALID": (Code.INVALID_ARGUMENT, 400),
    "MODEL_NOT_FOUND": (Code.NOT_FOUND, 404),
    "MODEL_VERSION_NOT_FOUND": (Code.NOT_FOUND, 404),
    "MODEL_FORMAT_FORBIDDEN": (Code.FAILED_PRECONDITION, 400),
    "MODEL_FORMAT_UNSUPPORTED": (Code.FAILED_PRECONDITION, 400),
    "MODEL_CORRUPT": (Code.DATA_LOSS, 500),
    "STORE_UNAVAILABLE": (Code.UNAVAILABLE, 503),
    "OVERLOADED": (Code.RESOURCE_EXHAUSTED, 429),
    "DEADLINE_EXCEEDED": (Code.DEADLINE_EXCEEDED, 504),
    "INTERNAL": (Code.INTERNAL, 500),
    "MODEL_VERSION_CHANGED": (Code.ABORTED, 409),
    "MODEL_SERVICE_DISABLED": (Code.PERMISSION_DENIED, 403),
}
"""The contract: code and HTTP status by reason."""


def leaves(kind: type[ForecastError] = ForecastError) -> Iterator[type[ForecastError]]:
    """The errors that are raised: those that nothing inherits from."""
    below = kind.__subclasses__()
    if not below:
        yield kind
    for each in below:
        yield from leaves(each)


def example(kind: type[ForecastError]) -> ForecastError:
    """An error with all that it can carry."""
    if kind is InternalError:
        return InternalError("some-id")
    violation = FieldViolation(field="sequence_data[3]", description="must be a finite number")
    return kind("It went wrong.", violations=(violation,), metadata={"customer_id": "c"}, retry_after_s=1.5)


kinds = pytest.mark.parametrize("kind", list(leaves()), ids=lambda kind: kind.__name__)


def test_the_tree_the_table_and_the_proto_agree() -> None:
    """Each leaf has a reason of its own, each reason its row in the contract and its value in the proto."""
    reasons = [kind.reason for kind in leaves()]
    declared = {name.removeprefix("ERROR_REASON_") for name in ErrorReason.keys()} - {"UNSPECIFIED"}  # noqa: SIM118
    assert len(reasons) == len(set(reasons))
    assert set(reasons) == set(TABLE) == declared


@kinds
def test_each_error_has_its_code_and_status(kind: type[ForecastError]) -> None:
    """As in the contract's table."""
    assert (kind.code, example(kind).http_status) == TABLE[kind.reason]


@kinds
def test_both_wires_say_the_same(kind: type[ForecastError]) -> None:
    """`grpc-status-details-bin` and the JSON body carry the same code, message and details."""
    error = example(kind)
    status = status_pb2.Status.FromString(error_to_status(error))
    details = unpack(error_to_status(error))
    body = error_to_json(error)["error"]
    by_type = {detail["@type"].rpartition(".")[2]: detail for detail in body["details"]}
    assert (status.code, status.message) == (error.code, body["message"])
    assert body["status"] == error.code.name
    assert details["ErrorInfo"].reason == by_type["ErrorInfo"]["reason"] == kind.reason
    assert details["ErrorInfo"].domain == by_type["ErrorInfo"]["domain"] == errors.DOMAIN
    assert dict(details["ErrorInfo"].metadata) == by_type["ErrorInfo"]["metadata"]
    assert set(details) == set(by_type)
    if kind is not InternalError:
        assert details["BadRequest"].field_violations[0].field == "sequence_data[3]"
        assert details["RetryInfo"].retry_delay.ToJsonString() == "1.500s"
        assert by_type["RetryInfo"]["retryDelay"] == "1.5s"
    assert json.loads(json.dumps(body)) == body


@kinds
def test_errors_travel_between_processes(kind: type[ForecastError]) -> None:
    """Ray pickles what a handle's call raises: nothing is lost on the way."""
    error = example(kind)
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is kind
    assert vars(copy) == vars(error)
    assert str(copy) == str(error)


def test_an_internal_error_says_nothing_but_its_request() -> None:
    """A fixed sentence and the request id."""
    message = "The server failed to answer. Report this with the request id some-id."
    assert InternalError("some-id").message == message


def test_long_details_are_cut_to_what_trailing_metadata_holds() -> None:
    """Of too many violations the first go over gRPC; code, reason and message are whole."""
    violations = tuple(FieldViolation(field=f"field-{n}", description="x" * 200) for n in range(100))
    error = RequestInvalid("It went wrong.", violations=violations)
    packed = error_to_status(error)
    assert 1_000 < len(packed) <= MAX_STATUS_BYTES
    details = unpack(packed)
    sent = details["BadRequest"].field_violations
    assert [each.field for each in sent] == [f"field-{n}" for n in range(len(sent))]
    assert details["ErrorInfo"].reason == "REQUEST_INVALID"
    assert status_pb2.Status.FromString(packed).message == error.message


def test_a_long_request_id_is_cut_in_an_error() -> None:
    """A caller may send a request id of kilobytes; an internal error, which repeats it, stays short."""
    assert len(error_to_status(InternalError("r" * 8_000))) < 1_000


async def test_the_largest_details_arrive() -> None:
    """A gRPC client with default limits gets as much as we send at most, beside a message and provenance."""
    violations = tuple(FieldViolation(field=f"field-{n}", description="x" * 50) for n in range(1_000))
    packed = error_to_status(RequestInvalid("It went wrong.", violations=violations))
    sent = (("forecast-replica", "r" * 64), ("request_id", "i" * 128), ("grpc-status-details-bin", packed))

    async def fail(_request: bytes, context: Any) -> bytes:
        context.set_code(grpc.StatusCode.INVALID_ARGUMENT)
        context.set_details("m" * 1_000)
        context.set_trailing_metadata(sent)
        return b""

    server = grpc.aio.server()
    handlers = {"Call": grpc.unary_unary_rpc_method_handler(fail)}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("test.Service", handlers),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            call: Any = channel.unary_unary("/test.Service/Call", bytes, bytes)
            for _ in range(20):  # Between its two limits a client throws dice.
                with pytest.raises(grpc.aio.AioRpcError) as error:
                    await call(b"", timeout=20)
                assert error.value.code() is grpc.StatusCode.INVALID_ARGUMENT
                metadata: Any = error.value.trailing_metadata()
                assert dict(metadata)["grpc-status-details-bin"] == packed
    finally:
        await server.stop(None)
