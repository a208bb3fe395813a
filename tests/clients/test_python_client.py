"""The Python client, blocking and with asyncio, against a real service."""

import math
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import grpc
import psutil
import pytest
from google.protobuf import descriptor_pb2

from forecast_grpc_client import AsyncClient, Client, Forecast, ForecastError, Request
from forecast_grpc_client.v1.model_pb2 import GetModelRequest
from forecast_grpc_client.v1.model_pb2_grpc import ModelServiceStub
from tests.clients.toolchains import LANGUAGES, Workshop, shell
from tests.conftest import FINDING
from tests.documents import ROOT
from tests.service import TUTORIAL_FORECAST, TUTORIAL_SEQUENCE, RunningService

PACKAGE = ROOT / "clients" / "python"
PYTHON = next(language for language in LANGUAGES if language.name == "Python")
TUTORIAL = Request("customer_123", TUTORIAL_SEQUENCE)
NOBODY = Request("nobody", [1.0])


@pytest.fixture
def client(service: RunningService) -> Iterator[Client]:
    """Connected to the shared service."""
    with Client(service.grpc_address) as connected:
        yield connected


# --- forecasts ---


def test_a_forecast_has_everything(client: Client) -> None:
    """The numbers, the quantiles by level, the model and where the answer came from."""
    request = Request("customer_123", TUTORIAL_SEQUENCE, horizon=2, quantile_levels=[0.9, 0.5])
    answer = client.forecast(request, request_id="mine")
    assert answer.values == TUTORIAL_FORECAST[:2]
    assert list(answer.quantiles) == [0.9, 0.5]
    assert answer.quantiles[0.5] == answer.values
    assert (answer.model.version, answer.model.family) == (1, "trend")
    assert answer.model.trained_time == datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    assert answer.start_time is None
    assert answer.provenance.request_id == "mine"
    assert answer.provenance.replica
    assert answer.provenance.cache in {"hot", "warm", "cold"}


def test_a_request_may_hold_what_there_is(client: Client) -> None:
    """Generators, missing values, times with any offset, covariates and versions arrive as they are meant."""
    week = (math.nan if day == 2 else float(day) for day in range(1, 8))
    assert client.forecast(Request("weekly", week)).values == [1, 2, 3, 4, 5, 6, 7]
    start = datetime.fromisoformat("2026-01-31T01:00:00+01:00")
    later = client.forecast(Request("monthly", [1, 2, 3], start_time=start)).start_time
    assert later == datetime(2026, 4, 30, tzinfo=UTC)
    covariates = {"promo": [0, 1, 0], "price": (5, 5, 4)}
    assert client.forecast(Request("promoted", horizon=3, covariates=covariates)).values == [90, 100, 92]
    assert client.forecast(Request("versioned", [0], horizon=1, model_version=2)).values == [2]


def test_a_refusal_says_why(client: Client) -> None:
    """Status, reason, facts, fields and provenance; and a sentence for whoever prints it."""
    with pytest.raises(ForecastError) as caught:
        client.forecast(NOBODY)
    error = caught.value
    assert (error.code, error.reason) == (grpc.StatusCode.NOT_FOUND, "MODEL_NOT_FOUND")
    assert error.metadata == {"customer_id": "nobody"}
    assert str(error) == "NOT_FOUND: The store has no model of the customer nobody."
    assert error.provenance.request_id
    with pytest.raises(ForecastError) as caught:
        client.forecast(Request("customer_123", [1.0], horizon=0))
    assert [each.field for each in caught.value.violations] == ["horizon"]


def test_a_wrong_type_is_pythons_error(client: Client) -> None:
    """What is no number never leaves the process."""
    with pytest.raises(TypeError):
        client.forecast(Request("customer_123", ["1"]))  # type: ignore[list-item]  # that is the point


def test_nobody_listens() -> None:
    """UNAVAILABLE without a reason, before the deadline."""
    with Client("127.0.0.1:1") as client, pytest.raises(ForecastError) as caught:
        client.forecast(TUTORIAL, timeout_s=60)
    assert (caught.value.code, caught.value.reason) == (grpc.StatusCode.UNAVAILABLE, "")


def test_a_deadline_holds(client: Client) -> None:
    """A call that has no time left says so."""
    with pytest.raises(ForecastError) as caught:
        client.forecast(TUTORIAL, timeout_s=1e-6)
    assert caught.value.code is grpc.StatusCode.DEADLINE_EXCEEDED


# --- many ---

MANY = [Request("customer_456", [120.0], horizon=1), NOBODY, Request("customer_123", [120.0], horizon=1)]


def outcome(answer: Forecast | ForecastError) -> list[float] | str:
    """The numbers, or the reason."""
    return answer.reason if isinstance(answer, ForecastError) else answer.values


def test_a_batch_comes_in_order(client: Client) -> None:
    """One result a request, in the order of the requests; one that fails fails alone."""
    assert list(map(outcome, client.batch(MANY))) == [[119.5], "MODEL_NOT_FOUND", [121.45]]
    refused = client.batch([Request("customer_123", [1.0], horizon=0)])[0]
    assert isinstance(refused, ForecastError)
    assert refused.code is grpc.StatusCode.INVALID_ARGUMENT
    assert [each.field for each in refused.violations] == ["horizon"]
    assert client.batch([]) == []


def test_a_stream_gives_each_request_its_answer(client: Client) -> None:
    """Each request comes back once, with its own answer, whatever the order."""
    answers = {asked.customer_id: outcome(answer) for asked, answer in client.stream(iter(MANY))}
    assert answers == {"customer_456": [119.5], "nobody": "MODEL_NOT_FOUND", "customer_123": [121.45]}
    several = [Request("weekly", [float(number)] * 7, horizon=1) for number in range(2_500)]
    for asked, answer in client.stream(several):
        assert outcome(answer) == [asked.sequence[0]]  # type: ignore[index]  # a list
    endless = (request for _ in iter(int, 1) for request in MANY)
    stream = client.stream(endless)
    assert next(stream)
    stream.close()  # type: ignore[attr-defined]  # a generator


async def test_the_same_with_asyncio(service: RunningService) -> None:
    """Calls side by side over one connection, a batch, streams of both kinds, and the same errors."""

    async def some() -> AsyncIterator[Request]:
        for request in MANY:
            yield request

    async with AsyncClient(service.grpc_address) as client:
        assert (await client.forecast(TUTORIAL)).values == TUTORIAL_FORECAST
        with pytest.raises(ForecastError, match="no model of the customer nobody"):
            await client.forecast(NOBODY)
        assert list(map(outcome, await client.batch(MANY))) == [[119.5], "MODEL_NOT_FOUND", [121.45]]
        for requests in (MANY, some()):
            answers = {asked.customer_id: outcome(answer) async for asked, answer in client.stream(requests)}
            assert answers == {"customer_456": [119.5], "nobody": "MODEL_NOT_FOUND", "customer_123": [121.45]}


def test_one_connection_serves_all_calls(service: RunningService, client: Client) -> None:
    """Many threads, one connection; other stubs use it too."""
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(client.forecast, [TUTORIAL] * 100))
    assert all(answer.values == TUTORIAL_FORECAST for answer in answers)
    model = ModelServiceStub(client.channel).GetModel(GetModelRequest(customer_id="weekly")).model
    assert model.family == "seasonal_naive"
    port = int(service.grpc_address.rpartition(":")[2])
    connections = psutil.Process().net_connections("tcp")
    assert [each.raddr[1:] for each in connections if each.status == "ESTABLISHED"].count((port,)) == 1


# --- the package ---


def fresh(code: str, *, python: str = sys.executable, path: Path | None = PACKAGE) -> str:
    """What a new interpreter prints."""
    environment = os.environ | {"PYTHONPATH": "" if path is None else str(path)}
    done = subprocess.run([python, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_it_needs_nothing_of_the_service(workshop: Workshop, record_property: Any) -> None:
    """Installed by itself it works without Ray, numpy and the service's package, and imports little."""
    python = str(workshop.built(PYTHON) / ".venv" / "bin" / "python")
    installed = shell(f"{python} -m pip list --format freeze", workshop.folder).stdout
    names = {line.partition("==")[0] for line in installed.splitlines()}
    assert names <= {
        "forecast-grpc-client", "googleapis-common-protos", "grpcio", "protobuf", "typing_extensions", "pip",
        "setuptools",
    }  # fmt: skip
    code = (
        "import sys, time; start = time.perf_counter(); import forecast_grpc_client; "
        "print(time.perf_counter() - start, 'forecast_grpc_client.v1.model_pb2' in sys.modules)"
    )
    fresh(code, python=python, path=None)
    seconds, models = min(fresh(code, python=python, path=None).split() for _ in range(3))
    assert models == "False"
    record_property(FINDING, f"importing forecast_grpc_client takes {1e3 * float(seconds):.0f} ms")


OTHER_RELEASE = """
from google.protobuf import descriptor_pool
descriptor_pool.Default().AddSerializedFile({other!r})
from forecast_grpc_client import Request
from forecast_grpc_client import _wire
print(_wire.to_message(Request("c", [1.0], horizon=3)).horizon)
"""


def test_other_stubs_cannot_conflict() -> None:
    """It works beside stubs of the same protos in another release, and beside the service's own package."""
    other = descriptor_pb2.FileDescriptorProto(name="forecast/v1/forecast.proto", package="forecast.v1")
    other.message_type.add(name="ForecastRequest")
    assert fresh(OTHER_RELEASE.format(other=other.SerializeToString())) == "3"
    both = "import forecast_grpc.v1.forecast_pb2, forecast_grpc_client.v1.forecast_pb2; print('both')"
    assert fresh(both) == "both"


STRICT_USER = """
from forecast_grpc_client import AsyncClient, Client, Forecast, ForecastError, Request


def ask(client: Client) -> list[float]:
    answer = client.forecast(Request("c", [1, 2.5], horizon=3), timeout_s=1.0)
    return answer.values


async def ask_many(client: AsyncClient) -> dict[str, str]:
    reasons: dict[str, str] = {}
    async for request, outcome in client.stream([Request("c")]):
        if isinstance(outcome, ForecastError):
            reasons[request.customer_id] = outcome.reason
    return reasons
"""


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ("", None),
        ("horizon=3->horizon='3'", "incompatible type"),
        ("answer.values->answer.forecast", "has no attribute"),
    ],
)
def test_its_users_are_typed(workshop: Workshop, tmp_path: Path, change: str, complaint: str | None) -> None:
    """A user under `mypy --strict` gets the types of the installed package, and mistakes shown."""
    python = str(workshop.built(PYTHON) / ".venv" / "bin" / "python")
    old, _, new = change.partition("->")
    (tmp_path / "user.py").write_text(STRICT_USER.replace(old, new) if change else STRICT_USER)
    mypy = [sys.executable, "-m", "mypy", "--strict", "--python-executable", python, "--no-incremental"]
    done = subprocess.run([*mypy, "user.py"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (complaint in done.stdout) if complaint else (done.returncode == 0), done.stdout
