"""What callers get, over both protocols and in both ingress modes."""

import json
import math
import re
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

import grpc
import httpx
import psutil
import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from forecast_grpc.store import FolderStore
from forecast_grpc.v1.forecast_pb2 import Covariate, ForecastRequest, ForecastResponse
from forecast_grpc.v1.forecast_pb2_grpc import ForecastServiceStub
from tests.service import COMMAND, TUTORIAL_FORECAST, TUTORIAL_SEQUENCE, Outcome, RunningService, eventually
from tests.stores import HORIZON, SLOPES, publisher, trend

Ask = Callable[..., Outcome]


@pytest.fixture(params=["grpc", "http"])
def ask(request: pytest.FixtureRequest, service: RunningService) -> Ask:
    """One forecast over either protocol: the customer, and the request's fields by their proto names."""

    def over_grpc(customer: str | None, **fields: Any) -> Outcome:
        return service.grpc(ForecastRequest(**fields), customer)

    def over_http(customer: str | None, **fields: Any) -> Outcome:
        return service.http(json.dumps(fields, default=_json_time).encode(), customer)

    return over_grpc if request.param == "grpc" else over_http


def _json_time(value: datetime) -> str:
    return value.isoformat()


# --- answers ---


def test_answers_the_tutorials_numbers(ask: Ask) -> None:
    """customer_123 answers the tutorial's sequence with its documented forecast."""
    outcome = ask("customer_123", sequence_data=TUTORIAL_SEQUENCE)
    assert outcome.code == "OK"
    assert outcome.forecast == TUTORIAL_FORECAST


def test_both_protocols_agree_to_the_last_bit(service: RunningService) -> None:
    """The same request gives the same doubles, quantiles included, whichever the protocol."""
    fields: dict[str, Any] = {
        "sequence_data": [0.1, 0.2, 0.30000000000000004, 1e-17],
        "quantile_levels": [0.1, 0.9],
    }
    with grpc.insecure_channel(service.grpc_address) as channel:
        response: ForecastResponse = ForecastServiceStub(channel).Forecast(
            ForecastRequest(**fields), metadata=(("multiplexed_model_id", "four-lags"),), timeout=20
        )
    body = httpx.post(
        f"{service.http_address}/v1/forecast",
        json=fields,
        headers={"serve_multiplexed_model_id": "four-lags"},
    ).json()
    assert body["customer_id"] == response.customer_id == "four-lags"
    assert body["forecast"] == list(response.forecast)
    assert [(q["level"], q["values"]) for q in body["quantiles"]] == [
        (q.level, list(q.values)) for q in response.quantiles
    ]
    assert body["model"]["sha256"] == response.model.sha256
    assert (
        body["model"]["trained_time"] == response.model.trained_time.ToJsonString() == "2026-01-02T03:04:05Z"
    )


def test_says_where_an_answer_came_from(ask: Ask) -> None:
    """Trailing metadata and headers name the request, the replica and the tier that had the model."""
    first, second = ask("weekly"), ask("weekly")
    assert first.metadata["forecast-cache"] in {"cold", "warm", "hot"}
    assert second.metadata["forecast-cache"] == "hot"
    assert first.metadata["forecast-replica"] == second.metadata["forecast-replica"]
    assert first.metadata["request_id"] != second.metadata["request_id"]


def test_keeps_the_callers_request_id(service: RunningService) -> None:
    """A request id that the caller sends comes back, and stands in the log."""
    assert service.grpc(None, "weekly", request_id="mine-grpc").metadata["request_id"] == "mine-grpc"
    over_http = service.http({}, "weekly", **{"x-request-id": "mine-http"})
    assert over_http.metadata["request_id"] == over_http.metadata["x-request-id"] == "mine-http"
    eventually(lambda: {"mine-grpc", "mine-http"} <= set(re.findall(r"mine-\w+", service.log_text())))


def test_an_empty_sequence_goes_on_from_training(ask: Ask) -> None:
    """Without a sequence the forecast starts from the end of the training series."""
    assert ask("customer_123").forecast == pytest.approx(
        [100 + 1.45 * step for step in range(1, HORIZON + 1)]
    )


@pytest.mark.parametrize("horizon", [1, 3, 1000])
def test_the_horizon_is_the_callers(ask: Ask, horizon: int) -> None:
    """The forecast has as many steps as were asked for, beyond the fitted horizon too."""
    assert len(ask("customer_123", sequence_data=[1.0], horizon=horizon).forecast) == horizon


def test_quantiles_come_in_the_callers_order(service: RunningService) -> None:
    """One entry a level, as asked for, and higher levels are higher."""
    body = {"sequence_data": [1, 2, 3], "quantile_levels": [0.9, 0.5, 0.1, 0.001]}
    quantiles = json.loads(service.http(body, "customer_456").everything.split("} {")[0] + "}")["quantiles"]
    assert [quantile["level"] for quantile in quantiles] == body["quantile_levels"]
    for above, below in pairwise(quantiles):
        assert all(a > b for a, b in zip(above["values"], below["values"], strict=True))


def test_a_missing_observation_is_filled(service: RunningService) -> None:
    """NaN over gRPC, null and "NaN" over HTTP: filled from the neighbours."""
    filled = service.grpc(ForecastRequest(sequence_data=[1, 2, 3, 4]), "four-lags").forecast
    assert service.grpc(ForecastRequest(sequence_data=[1, math.nan, 3, 4]), "four-lags").forecast == filled
    assert service.http({"sequence_data": [1, None, 3, 4]}, "four-lags").forecast == filled
    assert service.http({"sequence_data": [1, "NaN", 3, 4]}, "four-lags").forecast == filled


@pytest.mark.parametrize(
    ("customer", "start", "wanted"),
    [
        # Three steps of a month, from the last of one to the last of another; three days over a clock change.
        ("monthly", "2026-01-31T00:00:00+00:00", "2026-04-30T00:00:00Z"),
        ("daily-in-berlin", "2026-03-27T12:00:00+01:00", "2026-03-30T10:00:00Z"),
    ],
)
def test_says_when_the_forecast_starts(ask: Ask, customer: str, start: str, wanted: str) -> None:
    """With a start time the answer says when it starts, by the calendar of the model's time zone."""
    outcome = ask(customer, sequence_data=[1.0, 2.0, 3.0], start_time=datetime.fromisoformat(start))
    assert outcome.forecast_start_time == wanted


def test_knows_when_training_ended(ask: Ask) -> None:
    """Without a sequence the forecast starts a step after the training series; without times nothing is said."""
    assert ask("monthly").forecast_start_time == "2026-02-28T00:00:00Z"
    assert ask("monthly", sequence_data=[1.0]).forecast_start_time == ""
    assert ask("customer_123").forecast_start_time == ""


PROMO, PRICE = [0.0, 1.0, 0.0], [5.0, 5.0, 4.0]


def covariates(**values: list[float]) -> list[dict[str, Any]]:
    """Covariates as a request takes them."""
    return [{"name": name, "values": numbers} for name, numbers in values.items()]


def test_covariates_change_the_steps_that_they_belong_to(ask: Ask) -> None:
    """The promotion of the second step and the lower price of the third one, after the end of training."""
    outcome = ask("promoted", horizon=3, covariates=covariates(price=PRICE, promo=PROMO))
    assert outcome.forecast == [90.0, 100.0, 92.0]


def test_covariates_along_a_sequence(ask: Ask) -> None:
    """What they explain of the sequence is not taken for its level; a missing past one is filled."""
    known = covariates(promo=[0.0, 0.0, 0.0, 1.0, *PROMO], price=[5.0, math.nan, 5.0, 5.0, *PRICE])
    outcome = ask("promoted", sequence_data=[80.0, 80.0, 80.0, 90.0], horizon=3, covariates=known)
    assert outcome.forecast == [80.0, 90.0, 82.0]


def test_a_version_can_be_asked_for(ask: Ask) -> None:
    """Without a version the active one answers, with one that one does."""
    assert ask("versioned", sequence_data=[0.0], horizon=1).forecast == [3.0]
    assert ask("versioned", sequence_data=[0.0], horizon=1, model_version=1).forecast == [1.0]
    again = ask("versioned", sequence_data=[0.0], horizon=1, model_version=1)
    assert again.metadata["forecast-cache"] == "warm"


def test_both_paths_and_both_headers_answer(service: RunningService) -> None:
    """POST / and POST /v1/forecast answer, with either header, and to what `curl -d` sends as a form."""
    body = json.dumps({"sequence_data": TUTORIAL_SEQUENCE}).encode()
    for path in ("/", "/v1/forecast"):
        assert service.http(body, "customer_123", path).forecast == TUTORIAL_FORECAST
        assert (
            service.http(body, path=path, multiplexed_model_id="customer_123").forecast == TUTORIAL_FORECAST
        )
    form = {"content-type": "application/x-www-form-urlencoded"}
    assert service.http(body, "customer_123", **form).forecast == TUTORIAL_FORECAST


def test_a_published_model_is_served_soon(service: RunningService) -> None:
    """A new version is served after the refresh interval, with no request failing meanwhile."""
    name = f"fresh-{service.ingress}"
    store = FolderStore(service.store)
    store.publish(name, publisher(trend(1.0)))
    assert service.grpc(ForecastRequest(sequence_data=[0], horizon=1), name).forecast == [1.0]
    store.publish(name, publisher(trend(2.0)))

    def served() -> bool:
        outcome = service.grpc(ForecastRequest(sequence_data=[0], horizon=1), name)
        assert outcome.code == "OK"
        return outcome.forecast == [2.0]

    eventually(served)


# --- errors ---

NEW_YEAR = datetime(2026, 1, 1, tzinfo=UTC)

BAD_CUSTOMERS = [".hidden", "-x", "a/b", "../../etc/passwd", "a b", "a" * 129, "a\\b", "a%2fb"]

BAD_REQUESTS: list[tuple[str, dict[str, Any], str]] = [
    ("customer_123", {"sequence_data": [1.0, math.inf]}, "sequence_data[1]"),
    ("customer_123", {"sequence_data": [-math.inf]}, "sequence_data[0]"),
    ("customer_123", {"sequence_data": [math.nan, math.nan]}, "sequence_data"),
    ("customer_123", {"sequence_data": [0.0] * 10_001}, "sequence_data"),
    ("customer_123", {"horizon": 0}, "horizon"),
    ("customer_123", {"horizon": -1}, "horizon"),
    ("customer_123", {"horizon": 1_001}, "horizon"),
    ("customer_123", {"horizon": 2**31 - 1}, "horizon"),
    ("customer_123", {"quantile_levels": [0.5, 0.0]}, "quantile_levels[1]"),
    ("customer_123", {"quantile_levels": [1.0]}, "quantile_levels[0]"),
    ("customer_123", {"quantile_levels": [math.nan]}, "quantile_levels[0]"),
    ("customer_123", {"quantile_levels": [0.5] * 101}, "quantile_levels"),
    ("customer_123", {"model_version": 0}, "model_version"),
    ("customer_123", {"sequence_data": [1.0], "start_time": NEW_YEAR}, "start_time"),
    ("monthly", {"start_time": NEW_YEAR}, "start_time"),
    (
        "monthly",
        {"sequence_data": [1.0] * 5, "start_time": NEW_YEAR.replace(year=9999, month=12)},
        "start_time",
    ),
    ("customer_123", {"covariates": covariates(promo=[0.0] * 7)}, "covariates"),
    ("promoted", {}, "covariates"),
    ("promoted", {"covariates": covariates(promo=[0.0] * 7)}, "covariates"),
    ("promoted", {"covariates": covariates(weather=[0.0] * 7)}, "covariates[0].name"),
    ("promoted", {"covariates": covariates(promo=[0.0] * 7) * 2}, "covariates[1].name"),
    ("promoted", {"covariates": covariates(promo=[0.0] * 7, price=[0.0] * 6)}, "covariates[1].values"),
    (
        "promoted",
        {"horizon": 1, "covariates": covariates(promo=[0.0], price=[math.nan])},
        "covariates[1].values[0]",
    ),
    (
        "promoted",
        {"horizon": 1, "covariates": covariates(promo=[math.inf], price=[0.0])},
        "covariates[0].values[0]",
    ),
    (
        "promoted",
        {"sequence_data": [1.0] * 4, "horizon": 1, "covariates": covariates(promo=[0.0], price=[0.0])},
        "covariates[0].values",
    ),
    ("promoted", {"covariates": covariates(promo=[0.0] * 50_001)}, "covariates"),
    ("promoted", {"covariates": covariates(promo=[]) * 101}, "covariates"),
    ("four-lags", {"sequence_data": [1.0, 2.0, 3.0]}, "sequence_data"),
    ("four-lags", {"sequence_data": [1e308, -1e308, 1e308, -1e308]}, "sequence_data"),
]

MODEL_ERRORS = [
    ("nobody", {}, "NOT_FOUND", "MODEL_NOT_FOUND", 404),
    ("nobody", {"model_version": 1}, "NOT_FOUND", "MODEL_NOT_FOUND", 404),
    ("versioned", {"model_version": 4}, "NOT_FOUND", "MODEL_VERSION_NOT_FOUND", 404),
    ("versioned", {"model_version": 2**62}, "NOT_FOUND", "MODEL_VERSION_NOT_FOUND", 404),
    ("pickled", {}, "FAILED_PRECONDITION", "MODEL_FORMAT_FORBIDDEN", 400),
    ("pickle-renamed", {}, "FAILED_PRECONDITION", "MODEL_FORMAT_FORBIDDEN", 400),
    ("future-family", {}, "FAILED_PRECONDITION", "MODEL_FORMAT_UNSUPPORTED", 400),
    ("future-format", {}, "FAILED_PRECONDITION", "MODEL_FORMAT_UNSUPPORTED", 400),
    ("truncated", {}, "DATA_LOSS", "MODEL_CORRUPT", 500),
    ("flipped", {}, "DATA_LOSS", "MODEL_CORRUPT", 500),
    ("empty", {}, "DATA_LOSS", "MODEL_CORRUPT", 500),
]


def test_a_missing_customer_is_named(ask: Ask) -> None:
    """No customer: CUSTOMER_ID_MISSING."""
    outcome = ask(None)
    assert (outcome.code, outcome.reason) == ("INVALID_ARGUMENT", "CUSTOMER_ID_MISSING")
    assert outcome.http_status in {None, 400}


@pytest.mark.parametrize("customer", BAD_CUSTOMERS)
def test_a_malformed_customer_is_refused(ask: Ask, customer: str) -> None:
    """What cannot name a customer never reaches the store."""
    outcome = ask(customer)
    assert (outcome.code, outcome.reason) == ("INVALID_ARGUMENT", "CUSTOMER_ID_INVALID")
    assert outcome.http_status in {None, 400}
    assert "passwd" not in outcome.everything


@pytest.mark.parametrize(("customer", "fields", "field"), BAD_REQUESTS)
def test_a_bad_field_is_named(ask: Ask, customer: str, fields: dict[str, Any], field: str) -> None:
    """Each field out of range is REQUEST_INVALID, with the field's name."""
    outcome = ask(customer, **fields)
    assert (outcome.code, outcome.reason, outcome.fields) == ("INVALID_ARGUMENT", "REQUEST_INVALID", (field,))
    assert outcome.http_status in {None, 400}
    assert field in outcome.message
    assert_discreet(outcome)


def test_replicas_have_their_share_of_a_busy_machine(service: RunningService) -> None:
    """They run at the niceness of whoever started the service, and not behind all others, as Ray has it."""
    niceness = psutil.Process(service.process.pid).nice()
    assert {process.nice() for process in service.replica_processes()} == {niceness}


def test_an_overflow_leaves_no_warning(ask: Ask, service: RunningService) -> None:
    """Its caller is told, and nobody else: numpy's warning is not printed by the replica's process."""
    assert ask("four-lags", sequence_data=[1e308, -1e308, 1e308, -1e308]).code == "INVALID_ARGUMENT"
    files = {path.stem.rpartition("-")[2]: path for path in service.logs.parent.glob("worker-*.err")}
    printed = [files[str(process.pid)].read_text() for process in service.replica_processes()]
    assert printed
    assert not any("RuntimeWarning" in each for each in printed)


@pytest.mark.parametrize(("customer", "fields", "code", "reason", "http_status"), MODEL_ERRORS)
def test_a_model_that_cannot_be_had(  # noqa: PLR0917 - a row of the table
    ask: Ask, customer: str, fields: dict[str, Any], code: str, reason: str, http_status: int
) -> None:
    """Each way in which a model can be missing or bad has its code and reason, every time it is asked for."""
    for _ in range(2):
        outcome = ask(customer, **fields)
        assert (outcome.code, outcome.reason) == (code, reason)
        assert outcome.http_status in {None, http_status}
        assert_discreet(outcome)


def test_no_pickle_was_run(service: RunningService) -> None:
    """Whatever was asked of the pickled models, neither of them was loaded."""
    for customer in ("pickled", "pickle-renamed"):
        service.grpc(None, customer)
        service.http({}, customer)
    assert not (service.store / "pickle-was-run").exists()


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b"", "body"),
        (b"not json", "body"),
        (b"[1, 2]", "body"),
        (b'{"sequence_data": 3}', "sequence_data"),
        (b'{"sequence_data": [1, "2"]}', "sequence_data[1]"),
        (b'{"sequence_data": [1, true]}', "sequence_data[1]"),
        (b'{"horizon": 1.5}', "horizon"),
        (b'{"horizon": "7"}', "horizon"),
        (b'{"sequence_data": [1], "start_time": "2026-01-01T00:00:00"}', "start_time"),
        (b'{"sequence_data": [1], "start_time": "yesterday"}', "start_time"),
        (b'{"horizon": 99999999999999999999999}', "horizon"),
        (b'{"historical_values": [1, 2]}', "historical_values"),
        (b'{"sequence_data": [' + b"1," * 700_000 + b"1]}", "body"),
        (b"\xff\xfe", "body"),
        (b'{"sequence_data": ' + b"[" * 5_000 + b"]" * 5_000 + b"}", None),
    ],
)
def test_bad_json_is_refused(service: RunningService, body: bytes, field: str | None) -> None:
    """JSON that is not a request is REQUEST_INVALID, with the field's name where there is one."""
    outcome = service.http(body, "customer_123")
    assert (outcome.http_status, outcome.reason) == (400, "REQUEST_INVALID")
    assert field is None or outcome.fields == (field,)
    assert_discreet(outcome)


@pytest.mark.parametrize(("method", "path", "status"), [("GET", "/", 405), ("POST", "/nothing/here", 404)])
def test_wrong_paths_are_errors_like_all_others(
    service: RunningService, method: str, path: str, status: int
) -> None:
    """A wrong path or method gets the JSON error object too."""
    response = httpx.request(method, service.http_address + path)
    assert response.status_code == response.json()["error"]["code"] == status


def test_an_error_says_where_it_came_from(ask: Ask) -> None:
    """An error names the request and the replica too, and no tier where no model was reached."""
    outcome = ask("nobody")
    assert outcome.metadata["request_id"]
    assert outcome.metadata["forecast-replica"]
    assert "forecast-cache" not in outcome.metadata


def test_bad_models_evict_nobody(service: RunningService) -> None:
    """Requests for models that cannot be had leave the good ones hot."""
    for customer in SLOPES:
        service.grpc(None, customer)
    for number in range(50):
        service.grpc(None, f"unknown-{number}")
        service.grpc(None, "truncated")
    tiers = {service.grpc(None, customer).metadata["forecast-cache"] for customer in SLOPES}
    assert tiers == {"hot"}


def assert_discreet(outcome: Outcome) -> None:
    """Nothing that leaves the process may hold a traceback, a path or an address."""
    text = outcome.everything
    assert "Traceback" not in text
    assert ".py" not in text
    assert "/tmp" not in text  # noqa: S108 - looked for, not used
    assert "store/" not in text
    assert not re.search(r"\d+\.\d+\.\d+\.\d+", text)
    # The name of a replica, which is made of letters and digits, may hold it by chance.
    assert "0x" not in text.replace(outcome.metadata.get("forecast-replica", ""), "")


# --- health, reflection, documentation ---


@pytest.mark.parametrize("name", ["", "forecast.v1.ForecastService"])
def test_is_healthy(service: RunningService, name: str) -> None:
    """`grpc.health.v1` says SERVING for the server and for the service, without metadata, as a probe asks."""
    with grpc.insecure_channel(service.grpc_address) as channel:
        stub: Any = health_pb2_grpc.HealthStub(channel)
        reply = stub.Check(health_pb2.HealthCheckRequest(service=name), timeout=20)
        assert reply.status == health_pb2.HealthCheckResponse.SERVING
        everything = health_pb2.HealthListRequest()  # type: ignore[attr-defined]  # types-grpcio has no List yet
        listed = stub.List(everything, timeout=20).statuses
        assert listed[name].status == health_pb2.HealthCheckResponse.SERVING
        watch = stub.Watch(health_pb2.HealthCheckRequest(service=name), timeout=20)
        assert next(watch).status == health_pb2.HealthCheckResponse.SERVING
        watch.cancel()


def test_health_of_an_unknown_service(service: RunningService) -> None:
    """An unknown service is NOT_FOUND to Check and SERVICE_UNKNOWN to Watch, as the protocol says."""
    request = health_pb2.HealthCheckRequest(service="nothing.like.it")
    with grpc.insecure_channel(service.grpc_address) as channel:
        stub: Any = health_pb2_grpc.HealthStub(channel)
        with pytest.raises(grpc.RpcError) as error:
            stub.Check(request, timeout=20)
        assert error.value.code() is grpc.StatusCode.NOT_FOUND
        watch = stub.Watch(request, timeout=20)
        assert next(watch).status == health_pb2.HealthCheckResponse.SERVICE_UNKNOWN
        watch.cancel()


def test_describes_itself(service: RunningService) -> None:
    """Reflection lists the services and has the file of the wire, so that grpcurl needs none."""
    ask = [
        reflection_pb2.ServerReflectionRequest(list_services=""),
        reflection_pb2.ServerReflectionRequest(file_containing_symbol="forecast.v1.ForecastService"),
    ]
    with grpc.insecure_channel(service.grpc_address) as channel:
        listed, found = reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo(
            iter(ask), timeout=20
        )
    names = {each.name for each in listed.list_services_response.service}
    assert {"forecast.v1.ForecastService", "grpc.health.v1.Health"} <= names
    files = [FileDescriptorProto.FromString(b) for b in found.file_descriptor_response.file_descriptor_proto]
    assert "forecast/v1/forecast.proto" in {each.name for each in files}


def test_documents_its_http_api(service: RunningService) -> None:
    """/docs shows the OpenAPI document, which names the header and the body's fields."""
    page = httpx.get(f"{service.http_address}/docs").text
    # From this service, not from elsewhere: a private network has no elsewhere.
    script = re.search(r'<script src="(/[^"]*swagger-ui-bundle.js)"', page)
    assert script
    assert httpx.get(service.http_address + script[1]).status_code == 200
    document = httpx.get(f"{service.http_address}/openapi.json").json()
    post = document["paths"]["/v1/forecast"]["post"]
    assert post["parameters"][0]["name"] == "serve_multiplexed_model_id"
    schemas = document["components"]["schemas"]
    for name, message in (
        ("ForecastBody", ForecastRequest), ("CovariateBody", Covariate), ("AnswerBody", ForecastResponse)
    ):  # fmt: skip
        assert set(schemas[name]["properties"]) == {field.name for field in message.DESCRIPTOR.fields}
    references = set(re.findall(r'"\$ref": "([^"]*)"', json.dumps(document)))
    assert references <= {f"#/components/schemas/{name}" for name in schemas}


# --- what an operator sees ---


def test_each_request_leaves_one_line(service: RunningService) -> None:
    """One canonical line a request: its id, customer, tier, code and time as fields."""
    asked = service.grpc(
        ForecastRequest(sequence_data=[1]), "customer_abc", request_id=f"line-{service.ingress}"
    )
    request_id = asked.metadata["request_id"]
    lines = eventually(lambda: [line for line in service.log_text().splitlines() if request_id in line])
    assert len(lines) == 1
    line = json.loads(lines[0])
    assert line["event"] == "request"
    assert (line["customer_id"], line["code"], line["protocol"]) == ("customer_abc", "OK", "grpc")
    assert (line["cache"], line["replica"]) == (
        asked.metadata["forecast-cache"],
        asked.metadata["forecast-replica"],
    )
    assert line["duration_ms"] > 0


def test_metrics_know_no_customer(service: RunningService) -> None:
    """Our metrics are there, and no series, ours or Ray's, has a label that grows with the customers."""
    service.grpc(None, "nobody")
    service.grpc(None, "customer_123")
    wanted = {
        "ray_forecast_grpc_requests_total,code=OK,protocol=grpc",
        "ray_forecast_grpc_errors_total,protocol=grpc,reason=MODEL_NOT_FOUND",
        "ray_forecast_grpc_model_requests_total,tier=hot",
        "ray_forecast_grpc_model_requests_total,tier=cold",
        "ray_forecast_grpc_loads_total,outcome=ok",
        "ray_forecast_grpc_requests_in_flight",
        "ray_forecast_grpc_models,tier=hot",
        "ray_forecast_grpc_load_duration_ms_count,outcome=ok",
        "ray_forecast_grpc_request_duration_ms_count,protocol=grpc",
        "ray_serve_num_multiplexed_models",
        "ray_serve_multiplexed_models_load_counter_total",
    }

    def all_there() -> bool:
        found = service.metrics()
        # Counters stand at 0 from the start: it is their rise that tells.
        risen = (found.get(name, 0) > 0 for name in wanted if "_total" in name)
        return wanted <= set(found) and all(risen)

    eventually(all_there, timeout_s=60)
    text = httpx.get(service.metrics_url).text
    assert not [line for line in text.splitlines() if "customer_123" in line or "nobody" in line]


def test_warms_the_customers_it_was_told_to(service: RunningService) -> None:
    """Each replica loads the customers of --prewarm before traffic; one that is not there is logged."""

    def replicas(event: str, customer: str) -> set[str]:
        return {line["replica"] for line in service.log_lines(event=event, customer_id=customer)}

    eventually(lambda: len(replicas("model_loaded", "customer_123")) >= 3)
    eventually(lambda: len(replicas("model_load_failed", "nobody")) >= 3)


def test_a_store_that_is_gone_stops_cold_models_only(service: RunningService) -> None:
    """A store that does not answer: UNAVAILABLE with RetryInfo for cold models; the others serve on."""
    away = service.store.with_name("away")
    assert service.grpc(None, "weekly").code == "OK"
    service.store.rename(away)
    try:
        for cold in (service.grpc(None, "cold-one"), service.http({}, "cold-one")):
            assert (cold.code, cold.reason) == ("UNAVAILABLE", "STORE_UNAVAILABLE")
            assert cold.http_status in {None, 503}
            assert cold.retry_after_s
            assert_discreet(cold)
        for warm in (service.grpc(None, "weekly"), service.http({}, "weekly")):
            assert warm.code == "OK"
    finally:
        away.rename(service.store)
    assert service.grpc(None, "cold-one").reason == "MODEL_NOT_FOUND"


def test_the_wrong_port_is_named(service: RunningService) -> None:
    """`forecast-grpc forecast` on the HTTP port: one sentence that says so, and an exit code that is not 0."""
    address = service.http_address.removeprefix("http://")
    command = [COMMAND, "forecast", "customer_123", "1,2,3", "--address", address]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert re.search(f"Error: (No service answers gRPC at|What answers at) {address}.*", done.stderr)
    assert len(done.stderr.splitlines()) == 1
    assert done.returncode != 0
