"""The model service from outside: over both protocols, behind both ingresses, in three replicas."""

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import grpc
import httpx
import psutil
import pytest
from google.protobuf import json_format
from google.protobuf.message import Message

from forecast_grpc.store import FolderStore
from forecast_grpc.v1 import model_pb2 as pb
from forecast_grpc.v1.forecast_pb2 import ForecastRequest
from forecast_grpc.v1.model_pb2_grpc import ModelServiceStub
from tests import stores
from tests.service import RunningService, eventually, serving, unpack
from tests.stores import MANY, publisher, trend

PATHS: dict[str, tuple[str, Callable[[Any], str]]] = {
    "GetModel": ("GET", lambda r: f"/v1/models/{r.customer_id}"),
    "ListModels": ("GET", lambda _: "/v1/models"),
    "ListModelVersions": ("GET", lambda r: f"/v1/models/{r.customer_id}/versions"),
    "WarmModels": ("POST", lambda _: "/v1/models:warm"),
    "ActivateModelVersion": ("POST", lambda r: f"/v1/models/{r.customer_id}:activate"),
    "ExplainModel": ("GET", lambda r: f"/v1/models/{r.customer_id}:explain"),
    "GetAccessStatistics": ("GET", lambda _: "/v1/models:accessStatistics"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What came back, whichever the protocol."""

    message: Any
    """The answer; empty where it is an error."""

    code: str
    """The name of the gRPC status."""

    reason: str
    """`ErrorInfo.reason`."""

    fields: tuple[str, ...]
    """`BadRequest` fields."""

    metadata: dict[str, Any]
    """`ErrorInfo.metadata`."""

    trailing: dict[str, Any]
    """Trailing metadata, or headers."""


Ask = Callable[[Message], Reply]


def over_grpc(service: RunningService, request: Message, customer: str | None = None) -> Reply:
    """One call over gRPC."""
    name = request.DESCRIPTOR.name.removesuffix("Request")
    empty = getattr(pb, f"{name}Response")()
    metadata = [] if customer is None else [("multiplexed_model_id", customer)]
    with grpc.insecure_channel(service.grpc_address) as channel:
        method: Any = getattr(ModelServiceStub(channel), name)
        try:
            message, call = method.with_call(request, metadata=metadata, timeout=60)
        except grpc.RpcError as exc:
            error: Any = exc
            trailing = dict(error.trailing_metadata() or ())
            found = unpack(trailing.get("grpc-status-details-bin", b""))
            bad = found["BadRequest"].field_violations if "BadRequest" in found else ()
            return Reply(
                message=empty,
                code=error.code().name,
                reason=found["ErrorInfo"].reason if "ErrorInfo" in found else "",
                fields=tuple(violation.field for violation in bad),
                metadata=dict(found["ErrorInfo"].metadata) if "ErrorInfo" in found else {},
                trailing=trailing,
            )
    trailing = dict(call.trailing_metadata())
    return Reply(message=message, code="OK", reason="", fields=(), metadata={}, trailing=trailing)


def over_http(service: RunningService, request: Message) -> Reply:
    """The same call over HTTP, its answer read back as the message."""
    name = request.DESCRIPTOR.name.removesuffix("Request")
    method, path = PATHS[name]
    fields = json_format.MessageToDict(request, preserving_proto_field_name=True)
    url = service.http_address + path(request)
    if "{" not in path(request) and name not in {"ListModels", "WarmModels"}:
        fields.pop("customer_id", None)
    sent = {"params": fields} if method == "GET" else {"json": fields}
    response = httpx.request(method, url, timeout=60, **sent)  # type: ignore[arg-type]
    body, headers = response.json(), dict(response.headers)
    empty = getattr(pb, f"{name}Response")()
    if response.is_success:
        message = json_format.ParseDict(body, empty)
        return Reply(message=message, code="OK", reason="", fields=(), metadata={}, trailing=headers)
    error = body["error"]
    assert error["code"] == response.status_code
    details = {detail["@type"].rpartition(".")[2]: detail for detail in error["details"]}
    bad = details.get("BadRequest", {}).get("fieldViolations", ())
    return Reply(
        message=empty,
        code=error["status"],
        reason=details["ErrorInfo"]["reason"],
        fields=tuple(violation["field"] for violation in bad),
        metadata=details["ErrorInfo"]["metadata"],
        trailing=headers,
    )


@pytest.fixture(params=["grpc", "http"])
def ask(request: pytest.FixtureRequest, service: RunningService) -> Ask:
    """One call over either protocol."""
    call = over_grpc if request.param == "grpc" else over_http
    return lambda message: call(service, message)


def fresh(service: RunningService, name: str) -> str:
    """A customer of this test and ingress alone, with versions 1 and 2."""
    customer = f"{name}-{service.ingress}"
    store = FolderStore(service.store)
    if customer not in store.customers(prefix=customer):
        for slope in (1.0, 2.0):
            store.publish(customer, publisher(trend(slope)))
    store.activate(customer, 2)
    return customer


def forecast(service: RunningService, customer: str) -> float:
    """The first step after 0: the slope of the model that answers."""
    (value,) = service.grpc(ForecastRequest(sequence_data=[0.0], horizon=1), customer).forecast
    return value


def replicas(message: Any) -> dict[str, int | None]:
    """Each replica of an answer with the version that it holds."""
    return {each.replica: each.version if each.tier else None for each in message.replicas}


def test_gets_a_model(ask: Ask) -> None:
    """The active version, or another, with the artefact's facts."""
    active = ask(pb.GetModelRequest(customer_id="versioned")).message.model
    assert (active.version, active.active, active.family) == (3, True, "trend")
    assert active.trained_time.ToJsonString() == "2026-01-02T03:04:05Z"
    first = ask(pb.GetModelRequest(customer_id="versioned", version=1)).message.model
    assert (first.version, first.active) == (1, False)
    assert first.sha256 != active.sha256


def test_lists_customers_page_by_page(ask: Ask) -> None:
    """All customers of a prefix, each once, in order; full or by name alone; the last page has no token."""
    for view in (pb.MODEL_VIEW_UNSPECIFIED, pb.MODEL_VIEW_BASIC):
        names: list[str] = []
        token = ""
        while True:
            reply = ask(pb.ListModelsRequest(prefix="shop-", page_size=25, page_token=token, view=view))
            assert all(
                model.HasField("version") == (view != pb.MODEL_VIEW_BASIC) for model in reply.message.models
            )
            names += (model.customer_id for model in reply.message.models)
            token = reply.message.next_page_token
            if not token:
                break
            assert len(reply.message.models) == 25
        # Other tests may have published more of them.
        assert names == sorted(set(names))
        assert set(MANY) <= set(names)


def test_lists_models_that_cannot_be_served(ask: Ask) -> None:
    """With the reason, in place of an error of the list."""
    models = ask(pb.ListModelsRequest(prefix="p")).message.models
    problems = {model.customer_id: model.problem.reason for model in models}
    assert problems["pickled"] == problems["pickle-renamed"] == "MODEL_FORMAT_FORBIDDEN"


def test_lists_versions_page_by_page(ask: Ask) -> None:
    """The newest first, the active one marked."""
    first = ask(pb.ListModelVersionsRequest(customer_id="versioned", page_size=2)).message
    assert [(model.version, model.active) for model in first.models] == [(3, True), (2, False)]
    token = first.next_page_token
    last = ask(pb.ListModelVersionsRequest(customer_id="versioned", page_token=token)).message
    assert [model.version for model in last.models] == [1]
    assert last.next_page_token == ""


def test_warms_every_replica(service: RunningService, ask: Ask) -> None:
    """Each of the three says that it has the model, and the next forecast does not go to the store."""
    customer = fresh(service, f"warm-{id(ask)}")
    warmed = ask(pb.WarmModelsRequest(customer_ids=[customer, "nobody", customer])).message
    assert warmed.unanswered_replica_count == 0
    assert len(warmed.replicas) == 3
    for replica in warmed.replicas:
        assert (replica.loaded_count, replica.present_count) == (1, 0)
        (failure,) = replica.failures
        assert (failure.customer_id, failure.problem.reason) == ("nobody", "MODEL_NOT_FOUND")
    explained = ask(pb.ExplainModelRequest(customer_id=customer)).message
    assert replicas(explained) == dict.fromkeys((each.replica for each in warmed.replicas), 2)
    assert {each.load_cause for each in explained.replicas} == {pb.LOAD_CAUSE_WARM}
    assert service.grpc(None, customer).metadata["forecast-cache"] == "warm"
    again = ask(pb.WarmModelsRequest(customer_ids=[customer])).message
    assert [each.present_count for each in again.replicas] == [1, 1, 1]


def test_activates_in_every_replica(service: RunningService, ask: Ask) -> None:
    """When the call is answered every replica that had the model has the new version, and forecasts are its."""
    customer = fresh(service, f"activate-{id(ask)}")
    ask(pb.WarmModelsRequest(customer_ids=[customer]))
    assert forecast(service, customer) == 2.0
    order = pb.ActivateModelVersionRequest(customer_id=customer, version=1, expected_version=2)
    done = ask(order).message
    assert (done.model.version, done.model.active, done.previous_version) == (1, True, 2)
    assert list(replicas(done).values()) == [1, 1, 1]
    assert forecast(service, customer) == 1.0
    late = ask(order)
    assert (late.code, late.reason) == ("ABORTED", "MODEL_VERSION_CHANGED")
    assert late.metadata == {"customer_id": customer, "active_version": "1"}
    assert forecast(service, customer) == 1.0
    assert ask(pb.ActivateModelVersionRequest(customer_id=customer, version=2)).code == "OK"
    assert forecast(service, customer) == 2.0


def test_explains_a_failure(ask: Ask, service: RunningService) -> None:
    """What a forecast failed of stands where it failed, and nothing is in memory anywhere."""
    service.grpc(None, "truncated")
    explained = ask(pb.ExplainModelRequest(customer_id="truncated")).message
    assert explained.model.problem.reason == "MODEL_CORRUPT"
    assert set(replicas(explained).values()) == {None}
    failures = [each.last_failure for each in explained.replicas if each.HasField("last_failure")]
    assert "MODEL_CORRUPT" in {failure.problem.reason for failure in failures}
    assert pb.LOAD_CAUSE_REQUEST in {failure.cause for failure in failures}


def test_explaining_takes_the_way_of_the_forecasts(service: RunningService) -> None:
    """With the customer in the metadata the answer comes from the replica that has answered its forecasts."""
    home = service.grpc(None, "customer_789").metadata["forecast-replica"]
    reply = over_grpc(service, pb.ExplainModelRequest(), "customer_789")
    assert reply.trailing["forecast-replica"] == home
    (at_home,) = (each for each in reply.message.replicas if each.replica == home)
    assert (at_home.tier, at_home.version) == (pb.CACHE_TIER_HOT, 1)
    assert at_home.load_cause == pb.LOAD_CAUSE_REQUEST
    assert at_home.load_time.ToNanoseconds() <= at_home.check_time.ToNanoseconds()


def test_the_metadata_may_name_the_customer(service: RunningService) -> None:
    """As for a forecast; a field of the request comes before it."""
    assert over_grpc(service, pb.GetModelRequest(), "four-lags").message.model.customer_id == "four-lags"
    both = over_grpc(service, pb.GetModelRequest(customer_id="weekly"), "four-lags")
    assert both.message.model.customer_id == "weekly"
    assert over_grpc(service, pb.GetModelRequest()).reason == "CUSTOMER_ID_MISSING"


def test_tells_who_asks(service: RunningService, ask: Ask) -> None:
    """The requests of every replica, with the customer who asks most, whichever replica is asked."""
    for _ in range(40):
        assert service.grpc(None, "customer_456").code == "OK"
    told = ask(pb.GetAccessStatisticsRequest(top_size=3)).message
    assert (len(told.replicas), told.unanswered_replica_count) == (3, 0)
    counts = {each.customer_id: each.request_count for each in told.top_customers}
    assert counts["customer_456"] > 35
    assert len(counts) <= 3
    assert sum(each.request_count for each in told.replicas) >= sum(counts.values())
    rates = [point.hit_rate for point in told.hit_rates_by_bytes]
    assert rates == sorted(rates)
    assert rates[-1] + told.first_request_share == pytest.approx(1.0)
    assert len({each.node for each in told.replicas}) == 1
    for replica in told.replicas:
        assert replica.core_seconds > 0
        assert 50e6 < replica.process_bytes < replica.node_memory_bytes
        assert replica.max_hot_models == 8


BAD: list[tuple[Message, str, str, tuple[str, ...]]] = [
    (pb.GetModelRequest(customer_id="nobody"), "NOT_FOUND", "MODEL_NOT_FOUND", ()),
    (pb.GetModelRequest(customer_id="versioned", version=9), "NOT_FOUND", "MODEL_VERSION_NOT_FOUND", ()),
    (
        pb.GetModelRequest(customer_id="versioned", version=-1),
        "INVALID_ARGUMENT",
        "REQUEST_INVALID",
        ("version",),
    ),
    (pb.GetModelRequest(customer_id="-x"), "INVALID_ARGUMENT", "CUSTOMER_ID_INVALID", ()),
    (pb.GetModelRequest(customer_id="truncated"), "DATA_LOSS", "MODEL_CORRUPT", ()),
    (pb.GetModelRequest(customer_id="pickled"), "FAILED_PRECONDITION", "MODEL_FORMAT_FORBIDDEN", ()),
    (pb.ListModelsRequest(page_size=-1), "INVALID_ARGUMENT", "REQUEST_INVALID", ("page_size",)),
    (pb.ListModelsRequest(page_token="x"), "INVALID_ARGUMENT", "REQUEST_INVALID", ("page_token",)),  # noqa: S106
    (pb.ListModelVersionsRequest(customer_id="nobody"), "NOT_FOUND", "MODEL_NOT_FOUND", ()),
    (pb.WarmModelsRequest(), "INVALID_ARGUMENT", "REQUEST_INVALID", ("customer_ids",)),
    (pb.WarmModelsRequest(customer_ids=["a/b"]), "INVALID_ARGUMENT", "CUSTOMER_ID_INVALID", ()),
    (
        pb.ActivateModelVersionRequest(customer_id="versioned"),
        "INVALID_ARGUMENT",
        "REQUEST_INVALID",
        ("version",),
    ),
    (
        pb.ActivateModelVersionRequest(customer_id="versioned", version=9),
        "NOT_FOUND",
        "MODEL_VERSION_NOT_FOUND",
        (),
    ),
    (pb.ActivateModelVersionRequest(customer_id="nobody", version=1), "NOT_FOUND", "MODEL_NOT_FOUND", ()),
    (pb.ExplainModelRequest(customer_id=".x"), "INVALID_ARGUMENT", "CUSTOMER_ID_INVALID", ()),
    (pb.GetAccessStatisticsRequest(top_size=-1), "INVALID_ARGUMENT", "REQUEST_INVALID", ("top_size",)),
]


@pytest.mark.parametrize(("request_", "code", "reason", "fields"), BAD, ids=[str(n) for n in range(len(BAD))])
def test_errors(ask: Ask, request_: Message, code: str, reason: str, fields: tuple[str, ...]) -> None:
    """Each has its code, its reason and the field at fault, and names the request and the replica."""
    reply = ask(request_)
    assert (reply.code, reply.reason, reply.fields) == (code, reason, fields)
    assert reply.trailing["request_id"]
    assert reply.trailing["forecast-replica"]
    assert "forecast-cache" not in reply.trailing


@pytest.mark.parametrize(
    ("method", "path", "body", "field"),
    [
        ("GET", "/v1/models?page_size=many", b"", "page_size"),
        ("GET", "/v1/models?colour=red", b"", "colour"),
        ("GET", "/v1/models?view=1", b"", "view"),
        ("GET", "/v1/models/versioned?version=1.5", b"", "version"),
        ("POST", "/v1/models:warm", b'{"customer_ids": "a"}', "customer_ids"),
        ("POST", "/v1/models:warm", b"[" * 10_000, "body"),
        ("POST", "/v1/models:warm", b'{"customer_ids": ["' + b"a" * 300_000 + b'"]}', "body"),
        ("POST", "/v1/models/versioned:activate", b'{"version": "one"}', "version"),
    ],
)
def test_what_http_alone_can_get_wrong(
    service: RunningService, method: str, path: str, body: bytes, field: str
) -> None:
    """Types and names that gRPC's messages do not let through are REQUEST_INVALID with the field's name."""
    response = httpx.request(method, service.http_address + path, content=body, timeout=60)
    details = {detail["@type"].rpartition(".")[2]: detail for detail in response.json()["error"]["details"]}
    assert response.status_code == 400
    assert details["ErrorInfo"]["reason"] == "REQUEST_INVALID"
    assert [violation["field"] for violation in details["BadRequest"]["fieldViolations"]] == [field]


def test_an_order_is_no_customers_name(service: RunningService) -> None:
    """GET where only POST answers is 405, and says what would: it is not taken for a customer with a colon."""
    for path in ("/v1/models:warm", "/v1/models/versioned:activate"):
        response = httpx.get(service.http_address + path)
        assert (response.status_code, response.headers["allow"]) == (405, "POST")
        assert response.json()["error"]["status"] == "UNIMPLEMENTED"


def test_is_in_the_openapi_document(service: RunningService) -> None:
    """Every call with its path, its parameters, its body and its errors."""
    paths = httpx.get(f"{service.http_address}/openapi.json").json()["paths"]
    operations = {
        (method.upper(), path): operation
        for path, methods in paths.items()
        for method, operation in methods.items()
    }
    wanted = {
        (method, path(pb.GetModelRequest(customer_id="{customer_id}"))) for method, path in PATHS.values()
    }
    assert wanted <= set(operations)
    activate = operations["POST", "/v1/models/{customer_id}:activate"]
    assert {"400", "403", "404", "409"} <= set(activate["responses"])
    parameters = operations["GET", "/v1/models"]["parameters"]
    listed = {each["name"] for each in parameters if each["in"] == "query"}
    assert listed == {field.name for field in pb.ListModelsRequest.DESCRIPTOR.fields}


@contextmanager
def stopped(pid: int) -> Iterator[None]:
    """The process does nothing in the body."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


@pytest.mark.parametrize("ingress", ["proxy"])
def test_a_replica_that_hangs_is_counted(ingress: str, tmp_path: Any) -> None:
    """The others' answers come, the silent one is counted; woken up it follows. What is off stays off."""
    stores.build(tmp_path / "store")
    options = ("--num-replicas", "3", "--set", "num_cpus_per_replica=0.1", "--set", "request_timeout_s=2")
    with serving(tmp_path / "store", ingress, *options) as service:
        over_grpc(service, pb.WarmModelsRequest(customer_ids=["versioned"]))
        explained = over_grpc(service, pb.ExplainModelRequest(), "versioned")
        home = explained.trailing["forecast-replica"]
        silent = next(each.replica for each in explained.message.replicas if each.replica != home)
        with stopped(process_of(service, silent)):
            order = pb.ActivateModelVersionRequest(version=1)
            done = over_grpc(service, order, "versioned").message
            assert done.unanswered_replica_count == 1
            assert silent not in replicas(done)
            assert list(replicas(done).values()) == [1, 1]
        eventually(
            lambda: len(over_grpc(service, pb.ExplainModelRequest(), "versioned").message.replicas) == 3
        )


def process_of(service: RunningService, replica: str) -> int:
    """The process of a replica: the one that has its log open."""
    for process in psutil.Process(service.process.pid).children(recursive=True):
        if any(file.path.endswith(f"forecast_grpc_{replica}.log") for file in process.open_files()):
            return process.pid
    raise AssertionError(replica)


@pytest.mark.parametrize(
    ("options", "off"),
    [
        (("--set", "model_service=read"), {"WarmModels"}),
        (("--set", "model_service=off"), {"WarmModels", "ListModels"}),
    ],
)
def test_the_operator_decides(tmp_path: Any, options: tuple[str, ...], off: set[str]) -> None:
    """What the setting switches off is PERMISSION_DENIED; forecasts go on."""
    stores.build(tmp_path / "store")
    with serving(tmp_path / "store", "haproxy", *options) as service:
        for request in (pb.WarmModelsRequest(customer_ids=["weekly"]), pb.ListModelsRequest()):
            reply = over_grpc(service, request)
            refused = request.DESCRIPTOR.name.removesuffix("Request") in off
            assert (reply.code, reply.reason) == (
                ("PERMISSION_DENIED", "MODEL_SERVICE_DISABLED") if refused else ("OK", "")
            )
        assert service.grpc(None, "weekly").code == "OK"
