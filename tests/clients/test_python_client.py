"""The Python client, blocking and with asyncio, against a real service."""

import asyncio
import math
import os
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import grpc
import psutil
import pytest
from google.protobuf import descriptor_pb2

from forecast_grpc_client import AsyncClient, Client, Forecast, ForecastError, Request, _aio, _sync
from forecast_grpc_client._pending import MAX_PENDING
from forecast_grpc_client.v1.forecast_pb2 import ForecastResult, StreamForecastResponse
from forecast_grpc_client.v1.forecast_pb2_grpc import (
    ForecastServiceServicer,
    add_ForecastServiceServicer_to_server,
)
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
    """A call whose time has passed says so. gRPC's timer may be late: what has a moment left may be answered."""
    with pytest.raises(ForecastError) as caught:
        client.forecast(TUTORIAL, timeout_s=-1.0)
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


# --- a stream whose answers wait ---

PATIENCE_S = 30.0


class Asked:
    """Requests that know how many of them have been taken beyond the answers that the user has."""

    def __init__(self, number: int = 1_000_000) -> None:
        self.number = number
        self.answered = 0
        """How many answers the user has."""
        self.most = 0
        """The most that were taken beyond those."""
        self.sender = threading.current_thread()
        """The thread that takes them."""

    def __iter__(self) -> Iterator[Request]:
        self.sender = threading.current_thread()
        for number in range(self.number):
            self.most = max(self.most, number + 1 - self.answered)
            yield Request("weekly", [float(number)] * 100, horizon=1)

    def check(self, asked: Request, answer: Forecast | ForecastError) -> None:
        """Counts an answer, which has to be right."""
        assert outcome(answer) == [asked.sequence[0]]  # type: ignore[index]  # a list
        self.answered += 1


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Set when the sender of a stream has to wait until it may send more."""
    waiting = threading.Event()

    class Noted(threading.Semaphore):
        def acquire(self, blocking: bool = True, timeout: float | None = None) -> bool:
            if super().acquire(blocking=False):
                return True
            waiting.set()
            return super().acquire(blocking, timeout)

    class NotedAsyncio(asyncio.Semaphore):
        async def acquire(self) -> Literal[True]:
            if self.locked():
                waiting.set()
            return await super().acquire()

    monkeypatch.setattr(_sync, "Semaphore", Noted)
    monkeypatch.setattr(_aio, "Semaphore", NotedAsyncio)
    return waiting


@pytest.mark.parametrize("service", ["haproxy"], indirect=True)
def test_a_stream_waits_for_its_user(client: Client, waits: threading.Event) -> None:
    """At most 500 requests are taken whose answers the user has not; a slow user gets all answers in the end."""
    requests = Asked(5_000)
    for asked, answer in client.stream(requests):
        requests.check(asked, answer)
        if requests.answered == 1:
            assert waits.wait(PATIENCE_S)
            time.sleep(2)  # A slow user.
    assert (requests.answered, requests.most) == (5_000, MAX_PENDING)


@pytest.mark.parametrize("service", ["haproxy"], indirect=True)
async def test_a_stream_waits_for_its_user_with_asyncio(
    service: RunningService, waits: threading.Event
) -> None:
    """The same."""
    requests = Asked(5_000)
    async with AsyncClient(service.grpc_address) as client:
        async for asked, answer in client.stream(requests):
            requests.check(asked, answer)
            if requests.answered == 1:
                assert await asyncio.to_thread(waits.wait, PATIENCE_S)
                await asyncio.sleep(2)  # A slow user.
    assert (requests.answered, requests.most) == (5_000, MAX_PENDING)


@pytest.fixture
def failing(waits: threading.Event) -> Iterator[str]:
    """A server that answers the first request of a stream, and fails once no more can be sent."""

    class Failing(ForecastServiceServicer):
        def StreamForecast(  # noqa: N802 - the name of the wire
            self, request_iterator: Iterator[Any], context: grpc.ServicerContext
        ) -> Iterator[StreamForecastResponse]:
            for number, _ in enumerate(request_iterator):
                if number == 0:
                    yield StreamForecastResponse(results=[ForecastResult(tag="0")])
                if number == MAX_PENDING:
                    waits.wait(PATIENCE_S)
                    context.abort(grpc.StatusCode.INTERNAL, "failed")

    server = grpc.server(ThreadPoolExecutor(1))
    add_ForecastServiceServicer_to_server(Failing(), server)  # type: ignore[abstract]  # nobody calls the others
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"127.0.0.1:{port}"
    server.stop(None).wait()


@pytest.mark.parametrize("fails", [False, True])
def test_the_end_of_a_stream_ends_its_thread(failing: str, waits: threading.Event, fails: bool) -> None:
    """The thread that waits until it may send more ends where the user closes the stream, or it fails."""
    requests = Asked()
    with Client(failing) as client:
        stream = client.stream(requests)
        next(stream)
        assert waits.wait(PATIENCE_S)
        waits.clear()
        if fails:
            with pytest.raises(ForecastError, match="failed"):
                next(stream)
        stream.close()  # type: ignore[attr-defined]  # a generator
        requests.sender.join(PATIENCE_S)
        assert not requests.sender.is_alive()


@pytest.mark.parametrize("fails", [False, True])
async def test_the_end_of_a_stream_ends_its_task(failing: str, waits: threading.Event, fails: bool) -> None:
    """The same with asyncio."""
    before = asyncio.all_tasks()
    async with AsyncClient(failing) as client:
        stream = client.stream(Asked())
        await anext(stream)
        assert await asyncio.to_thread(waits.wait, PATIENCE_S)
        waits.clear()
        started = asyncio.all_tasks() - before
        if fails:
            with pytest.raises(ForecastError, match="failed"):
                await anext(stream)
        await stream.aclose()  # type: ignore[attr-defined]  # a generator
        _, left = await asyncio.wait(started, timeout=PATIENCE_S)
        assert not left


# --- the connection ---


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
