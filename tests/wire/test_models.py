"""The model service on both wires: requests are judged alike, answers have the same fields."""

import json
from datetime import UTC, datetime
from typing import Any, get_args

import pytest
from google.protobuf.message import Message
from pydantic import BaseModel

from forecast_grpc import wire
from forecast_grpc.domain import CacheTier, ModelMetadata
from forecast_grpc.errors import RequestInvalid
from forecast_grpc.loading import AccessLog
from forecast_grpc.records import (
    Activated,
    Activation,
    CustomersQuery,
    Explanation,
    Holding,
    LoadCause,
    LoadFailure,
    ModelPage,
    ModelRecord,
    Problem,
    ReplicaModel,
    VersionsQuery,
    WarmedReplica,
    Warming,
)
from forecast_grpc.usage import Usage
from forecast_grpc.v1 import model_pb2 as pb
from forecast_grpc.wire import model_bodies as bodies
from forecast_grpc.wire.usage_bodies import GetAccessStatisticsBody
from tests.fake_usage import usage_of

AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
METADATA = ModelMetadata(
    family="theta",
    model_version=2**53 + 1,
    horizon=7,
    min_length=3,
    season_length=12,
    frequency="P1M",
    time_zone="Europe/Berlin",
    digest=bytes.fromhex("0123456789abcdef" * 4),
    trained_time=AT,
    state_time="2025-12-31T00:00:00Z",
    accuracy={"mase": 0.5},
    covariates=("price", "promo"),
)
RECORD = ModelRecord(customer_id="c", version=2**53 + 1, active=True, metadata=METADATA, max_horizon=24)
BROKEN = ModelRecord(
    customer_id="d", version=3, active=False, problem=Problem(reason="MODEL_CORRUPT", message="Damaged.")
)
HELD = ReplicaModel(
    replica="r1",
    holding=Holding(tier=CacheTier.WARM, version=3, load_time=AT, load_cause=LoadCause.WARM, check_time=AT),
    last_failure=LoadFailure(
        time=AT, cause=LoadCause.REFRESH, problem=Problem(reason="STORE_UNAVAILABLE", message="Away.")
    ),
)
NOT_HELD = ReplicaModel(replica="r2", holding=None, last_failure=None)

ACCESSES = AccessLog()
for _customer in ("a", "b", "a"):
    ACCESSES.record(_customer, 1_000, hit=_customer == "a")
USAGE = usage_of("r1", ACCESSES, 20)

BODIES: dict[type[Message], type[BaseModel]] = {
    pb.GetModelResponse: bodies.GetModelBody,
    pb.ListModelsResponse: bodies.ListModelsBody,
    pb.ListModelVersionsResponse: bodies.ListModelsBody,
    pb.WarmModelsResponse: bodies.WarmModelsBody,
    pb.ActivateModelVersionResponse: bodies.ActivateModelVersionBody,
    pb.ExplainModelResponse: bodies.ExplainModelBody,
    pb.WarmModelsRequest: bodies.WarmModelsRequestBody,
    pb.GetAccessStatisticsResponse: GetAccessStatisticsBody,
}

ANSWERS: dict[str, tuple[Message, type[BaseModel]]] = {
    "get": (wire.model_response(RECORD), bodies.GetModelBody),
    "list": (
        wire.customers_response(ModelPage(models=(RECORD, BROKEN), has_more=True, scope="c")),
        bodies.ListModelsBody,
    ),
    "versions": (
        wire.versions_response(ModelPage(models=(BROKEN,), has_more=True, scope="d")),
        bodies.ListModelsBody,
    ),
    "warm": (
        wire.warming_response(
            Warming(
                replicas=(
                    WarmedReplica(
                        replica="r1",
                        loaded=1,
                        present=2,
                        failures=(("nobody", Problem(reason="MODEL_NOT_FOUND", message="None.")),),
                    ),
                ),
                unanswered=1,
            )
        ),
        bodies.WarmModelsBody,
    ),
    "activate": (
        wire.activation_response(
            Activated(model=RECORD, previous_version=1, replicas=(HELD, NOT_HELD), unanswered=1)
        ),
        bodies.ActivateModelVersionBody,
    ),
    "explain": (
        wire.explanation_response(Explanation(model=BROKEN, replicas=(HELD, NOT_HELD), unanswered=2)),
        bodies.ExplainModelBody,
    ),
    "usage": (
        wire.usage_response(Usage(replicas=(USAGE,), unanswered=1, max_top=20)),
        GetAccessStatisticsBody,
    ),
}


def fields_of(body: type[BaseModel]) -> dict[str, type[BaseModel] | None]:
    """The fields of a body, each with the body in it, if there is one."""
    found: dict[str, type[BaseModel] | None] = {}
    for name, field in body.model_fields.items():
        kinds = [field.annotation, *get_args(field.annotation)]
        within = [each for each in kinds if isinstance(each, type) and issubclass(each, BaseModel)]
        found[name] = within[0] if within else None
    return found


def assert_alike(message: Any, body: type[BaseModel]) -> None:
    """The body has the message's fields, and so have those within."""
    fields = fields_of(body)
    assert set(fields) == {field.name for field in message.fields}, body.__name__
    for field in message.fields:
        within = fields[field.name]
        if within is not None:
            assert_alike(field.message_type, within)


@pytest.mark.parametrize("kind", BODIES, ids=lambda kind: kind.__name__)
def test_bodies_have_the_fields_of_the_protos(kind: type[Message]) -> None:
    """What OpenAPI shows are the messages, field by field."""
    assert_alike(kind.DESCRIPTOR, BODIES[kind])


def test_the_body_of_an_activation_has_all_but_the_customer() -> None:
    """The customer stands in the path."""
    names = {field.name for field in pb.ActivateModelVersionRequest.DESCRIPTOR.fields}
    assert set(bodies.ActivateModelVersionRequestBody.model_fields) == names - {"customer_id"}


@pytest.mark.parametrize("answer", ANSWERS)
def test_json_says_what_the_message_says(answer: str) -> None:
    """The JSON of each answer, read back as the message, is the message: nothing is lost, numbers are numbers."""
    message, body = ANSWERS[answer]
    told = json.loads(json.dumps(wire.message_to_json(message, body)))
    assert wire.message_of(type(message), told) == message


def test_a_model_is_described_whole() -> None:
    """Every fact of the artefact arrives."""
    model = wire.message_to_json(wire.model_response(RECORD), bodies.GetModelBody)["model"]
    assert model == {
        "customer_id": "c",
        "version": 2**53 + 1,
        "active": True,
        "family": "theta",
        "sha256": "0123456789abcdef" * 4,
        "trained_time": "2026-01-02T03:04:05Z",
        "state_time": "2025-12-31T00:00:00Z",
        "horizon": 7,
        "max_horizon": 24,
        "min_length": 3,
        "season_length": 12,
        "frequency": "P1M",
        "time_zone": "Europe/Berlin",
        "covariates": ["price", "promo"],
        "accuracy": {"mase": 0.5},
    }


def test_a_replica_without_the_model_says_nothing_more() -> None:
    """Neither a tier nor a version of what is not in memory."""
    message, body = ANSWERS["explain"]
    assert wire.message_to_json(message, body)["replicas"][1] == {"replica": "r2"}


def test_pages_follow_each_other() -> None:
    """The token of a page leads behind its last entry, in the same list."""
    listed = wire.customers_response(ModelPage(models=(RECORD, BROKEN), has_more=True, scope="c"))
    request = pb.ListModelsRequest(prefix="c", page_token=listed.next_page_token)
    assert wire.customers_query(request) == CustomersQuery(prefix="c", start_after="d", size=50)
    versions = wire.versions_response(ModelPage(models=(RECORD, BROKEN), has_more=True, scope="d"))
    asked = pb.ListModelVersionsRequest(page_token=versions.next_page_token, page_size=2)
    assert wire.versions_query(asked, "d") == VersionsQuery(customer_id="d", before=3, size=2)


def test_the_last_page_has_no_token() -> None:
    """Nor has an empty one."""
    for models in ((RECORD,), ()):
        page = ModelPage(models=models, has_more=False, scope="")
        assert wire.customers_response(page).next_page_token == ""
        assert wire.versions_response(page).next_page_token == ""


@pytest.mark.parametrize(("asked", "size"), [(0, 50), (1, 1), (1_000, 1_000), (2**31 - 1, 1_000)])
def test_page_sizes(asked: int, size: int) -> None:
    """None is fifty, too many are a thousand."""
    assert wire.customers_query(pb.ListModelsRequest(page_size=asked)).size == size


@pytest.mark.parametrize(("asked", "size"), [(0, 20), (1, 1), (1_000, 1_000), (2**31 - 1, 1_000)])
def test_how_many_are_named(asked: int, size: int) -> None:
    """Of the customers who ask most: none is twenty, too many are a thousand."""
    assert wire.top_size(pb.GetAccessStatisticsRequest(top_size=asked)) == size


def test_shares_of_those_who_ask() -> None:
    """Two of three requests are the first of their customer; the third finds its model in a cache of both."""
    message, _ = ANSWERS["usage"]
    assert isinstance(message, pb.GetAccessStatisticsResponse)
    assert message.first_request_share == pytest.approx(2 / 3)
    (point,) = message.hit_rates_by_models
    assert (point.size, round(point.hit_rate, 9)) == (2, round(1 / 3, 9))
    assert [(each.customer_id, each.request_count) for each in message.top_customers] == [("a", 2), ("b", 1)]
    assert [each.share for each in message.top_customers] == pytest.approx([2 / 3, 1 / 3])
    assert (message.replicas[0].request_count, message.replicas[0].miss_count) == (3.0, 1.0)


def test_nobody_has_asked() -> None:
    """No shares of nothing."""
    idle = wire.usage_response(Usage(replicas=(usage_of("r", AccessLog(), 20),), unanswered=0, max_top=20))
    assert (len(idle.hit_rates_by_bytes), len(idle.top_customers), idle.first_request_share) == (0, 0, 0.0)


def test_the_customer_of_the_metadata_stands_in() -> None:
    """A request names its customer, or the metadata does."""
    assert wire.model_query(pb.GetModelRequest(), "m") == ("m", None)
    assert wire.model_query(pb.GetModelRequest(customer_id="c", version=2), "m") == ("c", 2)
    assert wire.explained_customer(pb.ExplainModelRequest(), "m") == "m"
    assert wire.versions_query(pb.ListModelVersionsRequest(), "m").customer_id == "m"
    order = pb.ActivateModelVersionRequest(version=2, expected_version=3)
    assert wire.activation(order, "m") == Activation(customer_id="m", version=2, expected_version=3)


def test_who_is_named_twice_is_warmed_once() -> None:
    """In the order in which they were named first."""
    assert wire.warmed_customers(pb.WarmModelsRequest(customer_ids=["b", "a", "b"])) == ("b", "a")


def token_of(scope: str) -> str:
    """The token of a list's second page."""
    page = ModelPage(models=(RECORD,), has_more=True, scope=scope)
    return wire.customers_response(page).next_page_token


def listed(page_token: str) -> pb.ListModelsRequest:
    """A request for another page."""
    return pb.ListModelsRequest(page_token=page_token)


BAD: list[tuple[str, Any, str]] = [
    ("page_size", lambda: wire.customers_query(pb.ListModelsRequest(page_size=-1)), "-1"),
    ("page_token", lambda: wire.customers_query(listed("?")), "next_page_token"),
    ("page_token", lambda: wire.customers_query(listed("YQ==")), "next_page_token"),
    ("page_token", lambda: wire.customers_query(listed("/w==")), "next_page_token"),
    (
        "page_token",
        lambda: wire.customers_query(pb.ListModelsRequest(prefix="b", page_token=token_of("a"))),
        "next_page_token",
    ),
    (
        "page_token",
        lambda: wire.versions_query(pb.ListModelVersionsRequest(page_token=token_of("a")), "a"),
        "next_page_token",
    ),
    ("page_token", lambda: wire.customers_query(listed("A" * 10**6)), "next"),
    ("prefix", lambda: wire.customers_query(pb.ListModelsRequest(prefix="a" * 129)), "128"),
    ("top_size", lambda: wire.top_size(pb.GetAccessStatisticsRequest(top_size=-1)), "got -1"),
    ("view", lambda: wire.customers_query(pb.ListModelsRequest(view=7)), "7"),  # type: ignore[arg-type]
    ("customer_ids", lambda: wire.warmed_customers(pb.WarmModelsRequest()), "got 0"),
    ("customer_ids", lambda: wire.warmed_customers(pb.WarmModelsRequest(customer_ids=["a"] * 1_001)), "1001"),
    ("version", lambda: wire.model_query(pb.GetModelRequest(version=0), "a"), "got 0"),
    ("version", lambda: wire.activation(pb.ActivateModelVersionRequest(), "a"), "got 0"),
    (
        "expected_version",
        lambda: wire.activation(pb.ActivateModelVersionRequest(version=1, expected_version=0), "a"),
        "got 0",
    ),
    ("page_size", lambda: wire.message_of(pb.ListModelsRequest, {"page_size": "many"}), "whole number"),
    ("view", lambda: wire.message_of(pb.ListModelsRequest, {"view": "ALL"}), "MODEL_VIEW_FULL"),
    ("customer_ids", lambda: wire.message_of(pb.WarmModelsRequest, {"customer_ids": "a"}), "list of texts"),
    ("customer_ids", lambda: wire.message_of(pb.WarmModelsRequest, {"customer_ids": [1]}), "list of texts"),
    ("prefix", lambda: wire.message_of(pb.ListModelsRequest, {"prefix": 1}), "a text"),
    ("version", lambda: wire.message_of(pb.GetModelRequest, {"version": 2**63}), "whole number"),
    ("colour", lambda: wire.message_of(pb.GetModelRequest, {"colour": 1}), "customer_id, version"),
    ("body", lambda: wire.message_of_json(pb.WarmModelsRequest, b"{", {}), "JSON"),
    ("body", lambda: wire.message_of_json(pb.WarmModelsRequest, b"[]", {}), "JSON object"),
    ("body", lambda: wire.message_of_json(pb.WarmModelsRequest, b"[" * 100_000, {}), "JSON"),
    ("body", lambda: wire.message_of_json(pb.WarmModelsRequest, b"\xff", {}), "JSON"),
]


@pytest.mark.parametrize(("field", "call", "said"), BAD, ids=[f"{each[0]}-{n}" for n, each in enumerate(BAD)])
def test_a_bad_field_is_named(field: str, call: Any, said: str) -> None:
    """Whatever is out of range or of another type is REQUEST_INVALID with the field's name, and what it takes."""
    with pytest.raises(RequestInvalid) as caught:
        call()
    assert [violation.field for violation in caught.value.violations] == [field]
    assert said in caught.value.message


def test_the_path_wins_over_the_body() -> None:
    """A customer in the body does not stand for the one in the URL."""
    order = wire.message_of_json(
        pb.ActivateModelVersionRequest, b'{"customer_id": "a", "version": 2}', {"customer_id": "b"}
    )
    assert (order.customer_id, order.version) == ("b", 2)
