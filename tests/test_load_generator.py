"""The load generator counts what comes back, and measures as its options say."""

import asyncio
import contextlib
import shutil
import subprocess
import threading
import time
from collections.abc import AsyncIterator
from concurrent import futures
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import grpc
import pytest

from benchmarks.workload import CUSTOMER_ID, SEQUENCE
from forecast_grpc.cli import _load
from forecast_grpc.cli._common import CommandFailed, ExitCode
from forecast_grpc.cli._ports import free_port
from forecast_grpc.v1.forecast_pb2 import (
    ForecastError,
    ForecastItem,
    ForecastRequest,
    ForecastResponse,
    ForecastResult,
    StreamForecastRequest,
    StreamForecastResponse,
)
from tests.load import ANSWER, Context, Server, load, program, right, serving
from tests.service import eventually

SOURCE = Path(__file__).resolve().parent.parent / "benchmarks" / "load"
STALL_S = 0.5


def test_the_sources_are_in_order() -> None:
    """They are formatted, vetted, and their own tests pass."""
    program()
    if shutil.which("go") is None:
        pytest.skip("no Go: the generator is one that was built elsewhere")
    assert subprocess.check_output(["gofmt", "-l", "."], cwd=SOURCE, text=True) == ""
    for task in ("vet", "test"):
        subprocess.run(["go", task, "./..."], cwd=SOURCE, check=True)


def test_a_number_of_requests_is_answered_and_counted() -> None:
    """As many requests as asked for are sent, each counted once, with rate, latencies and own processor time."""
    with serving() as server:
        result = load(server, requests=200, connections=2, in_flight=2)
    assert result["outcomes"] == {"OK": 200}
    assert server.asked == {CUSTOMER_ID: 200}
    assert result["requests_per_s"] == pytest.approx(200 / result["seconds"])
    times = [result["latency_ms"][name] for name in ("p50", "p90", "p99", "p99_9", "max")]
    assert times[0] > 0
    assert times == sorted(times)
    assert result["latency_ms"]["count"] == sum(point["ok"] for point in result["series"]) == 200
    assert result["client_cpu_s"] > 0
    assert result["received_bytes"] == 200 * ANSWER.ByteSize()


def test_a_load_lasts_as_long_as_asked_for() -> None:
    """A duration bounds a closed loop, a warm-up is not counted, and each request carries the deadline."""
    with serving() as server:
        began = time.monotonic()
        result = load(server, duration="400ms", warm_up="300ms", timeout="7s")
        assert time.monotonic() - began >= 0.7
    assert result["seconds"] == pytest.approx(0.4)
    assert sum(server.asked.values()) > result["requests"] > 0
    assert all(left is not None and 5 < left <= 7 for left in server.deadlines)


def test_the_request_is_the_one_that_was_asked_for(tmp_path: Path) -> None:
    """Window, horizon and levels make the message; a file with a message takes their place."""
    file = tmp_path / "request.bin"
    file.write_bytes(ForecastRequest(sequence_data=[1.5, float("nan")], model_version=3).SerializeToString())
    with serving() as server:
        load(server, requests=1)
        load(server, requests=1, window=12, horizon=3, quantiles="0.1,0.9")
        load(server, requests=1, request_file=file)
    plain, full, read = server.requests
    assert plain == ForecastRequest(sequence_data=SEQUENCE)
    assert full == ForecastRequest(
        sequence_data=[*SEQUENCE, *SEQUENCE[:2]], horizon=3, quantile_levels=[0.1, 0.9]
    )
    assert read.SerializeToString() == file.read_bytes()


async def every_fourth_otherwise(
    server: Server, _request: ForecastRequest, context: Context
) -> ForecastResponse:
    """Every fourth answer is an error, every fourth another one of the same length."""
    number = sum(server.asked.values())
    if number % 4 == 1:
        await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "too busy")
    if number % 4 == 2:
        return ForecastResponse(customer_id="customer_321", forecast=ANSWER.forecast)
    return ANSWER


def test_errors_and_wrong_answers_do_not_count(tmp_path: Path) -> None:
    """Each outcome is counted by its code, with a message; neither they nor wrong answers are in the rate."""
    expected = tmp_path / "answer.bin"
    expected.write_bytes(ANSWER.SerializeToString())
    with serving(every_fourth_otherwise) as server:
        result = load(server, requests=40, connections=1, in_flight=1, expect_file=expected)
        by_length = load(server, requests=40, connections=1, in_flight=1, expect_bytes=ANSWER.ByteSize() + 1)
    assert result["outcomes"] == {"OK": 20, "RESOURCE_EXHAUSTED": 10, "WRONG": 10}
    assert result["messages"]["RESOURCE_EXHAUSTED"] == "too busy"
    assert result["requests_per_s"] == pytest.approx(20 / result["seconds"])
    assert (result["latency_ms"]["count"], result["failed_latency_ms"]["count"]) == (20, 20)
    assert by_length["outcomes"] == {"RESOURCE_EXHAUSTED": 10, "WRONG": 30}


async def stalls_once(server: Server, request: ForecastRequest, context: Context) -> ForecastResponse:
    """The tenth request stops the whole server for a while."""
    if sum(server.asked.values()) == 10:
        time.sleep(STALL_S)  # noqa: ASYNC251 - a server that does nothing else meanwhile
    return await right(server, request, context)


@pytest.mark.parametrize("max_in_flight", [1, 1_000])
def test_an_open_loop_counts_from_the_time_that_was_meant(max_in_flight: int) -> None:
    """A stall of the server shows in all requests that were due in it, sent or not."""
    with serving(stalls_once) as server:
        result = load(server, requests=100, rate=100, max_in_flight=max_in_flight)
    assert result["loop"] == "open"
    assert result["outcomes"] == {"OK": 100}
    # Half of the second was the stall, and the requests of its first half waited for more than half of it.
    assert result["latency_ms"]["max"] > 900 * STALL_S
    assert result["latency_ms"]["p90"] > 500 * STALL_S


def test_a_closed_loop_does_not_see_a_stall() -> None:
    """The same stall meets one request of a closed loop, which sends nothing meanwhile."""
    with serving(stalls_once) as server:
        result = load(server, requests=100, connections=1, in_flight=1)
    assert result["latency_ms"]["max"] > 900 * STALL_S
    assert result["latency_ms"]["p90"] < 500 * STALL_S


@pytest.mark.parametrize("poisson", ["false", "true"])
def test_an_open_loop_keeps_its_rate(poisson: str) -> None:
    """Requests go out at their rate whatever the server does, and the result says how late they went out."""

    async def slow(server: Server, request: ForecastRequest, context: Context) -> ForecastResponse:
        await asyncio.sleep(0.2)
        return await right(server, request, context)

    with serving(slow) as server:
        result = load(server, rate=400, duration="1s", connections=1, poisson=poisson)
    assert result["requests"] == pytest.approx(400, abs=1 if poisson == "false" else 100)
    assert result["latency_ms"]["p50"] > 200
    assert result["lateness_ms"]["count"] == result["requests"]


def test_customers_are_asked_for_as_their_distribution_says(tmp_path: Path) -> None:
    """In turn each once; by Zipf's law the first most, the second about half as often; a file names them too."""
    names = tmp_path / "names"
    names.write_text("a\nb\n\nc\n")
    with serving() as server:
        load(server, requests=100, count=100, order="turn")
        assert server.asked == dict.fromkeys((f"customer-{number:07d}" for number in range(100)), 1)
        server.asked.clear()
        load(server, requests=2_000, count=10, order="zipf", zipf=1, customers="c%d")
        assert set(server.asked) == {f"c{number}" for number in range(10)}
        assert server.asked["c0"] / server.asked["c1"] == pytest.approx(2, rel=0.3)
        server.asked.clear()
        load(server, requests=300, count=1, customer="", customers_file=names)
        assert set(server.asked) == {"a", "b", "c"}
        assert min(server.asked.values()) > 60


async def by_turns(server: Server, _request: ForecastRequest, context: Context) -> ForecastResponse:
    """The first request is cold, the others hot; unknown customers have no model."""
    customer = str(dict(context.invocation_metadata() or ())["multiplexed_model_id"])
    if customer.startswith("unknown-"):
        await context.abort(grpc.StatusCode.NOT_FOUND, "no model")
    context.set_trailing_metadata((("forecast-cache", "hot" if server.asked[customer] > 1 else "cold"),))
    return ANSWER


def test_latencies_are_split_by_tier() -> None:
    """The trailing metadata forecast-cache says which tier answered, and each has latencies of its own."""
    with serving(by_turns) as server:
        result = load(server, requests=60, count=20, order="turn", tiers="true")
    assert {tier: of["count"] for tier, of in result["latency_by_tier_ms"].items()} == {"cold": 20, "hot": 40}


def test_a_storm_asks_for_customers_that_nobody_has_heard_of() -> None:
    """Beside the load, at a rate of its own and counted on its own, each name once."""
    with serving(by_turns) as server:
        result = load(server, duration="1s", rate=50, storm_rate=100)
    unknown = {name: count for name, count in server.asked.items() if name.startswith("unknown-")}
    assert set(unknown.values()) == {1}
    assert result["outcomes"] == {"OK": 50}
    assert result["storm"]["outcomes"] == {"NOT_FOUND": len(unknown)}
    assert len(unknown) == 100


def test_a_message_larger_than_the_window_is_sent_as_the_server_takes_it(tmp_path: Path) -> None:
    """Flow control holds back what a server does not take yet, and all of it arrives."""
    file, request = tmp_path / "request.bin", ForecastRequest(sequence_data=range(100_000))
    file.write_bytes(request.SerializeToString())
    with serving() as server:
        result = load(server, requests=20, connections=1, in_flight=4, request_file=file)
    assert result["outcomes"] == {"OK": 20}
    assert all(each == request for each in server.requests)


def test_more_calls_than_a_server_takes_at_once_wait_for_their_turn() -> None:
    """A server that takes two calls at a time gets two at a time, and the waiting counts as time."""

    async def slow(server: Server, request: ForecastRequest, context: Context) -> ForecastResponse:
        await asyncio.sleep(0.1)
        return await right(server, request, context)

    with serving(slow, ("grpc.max_concurrent_streams", 2)) as server:
        result = load(server, requests=10, rate=1_000, connections=1)
    assert result["outcomes"] == {"OK": 10}
    assert result["latency_ms"]["max"] > 400


def test_a_call_out_of_time_is_given_up() -> None:
    """A server that does not keep the deadline is not waited for."""

    async def never(_server: Server, _request: ForecastRequest, _context: Context) -> ForecastResponse:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(60)
        return ANSWER

    with serving(never) as server:
        result = load(server, requests=3, timeout="300ms")
    assert result["outcomes"] == {"DEADLINE_EXCEEDED": 3}
    assert 250 < result["failed_latency_ms"]["max"] < 5_000


def test_a_lost_service_is_asked_again_when_it_is_back() -> None:
    """Calls under way when a server goes fail, those after it has come back do not; no second is missing."""
    port = free_port()
    with serving(port=port) as server, futures.ThreadPoolExecutor(1) as pool:
        running = pool.submit(load, server, duration="4s", rate=200, connections=2)
        eventually(lambda: server.asked[CUSTOMER_ID] > 50)
        server.stop()
        with serving(port=port) as again:
            result = running.result()
            assert again.asked[CUSTOMER_ID] > 50
    assert set(result["outcomes"]) <= {"OK", "UNAVAILABLE", "CANCELLED"}
    assert result["outcomes"]["OK"] > 100
    assert sum(point["ok"] + point["failed"] for point in result["series"]) == result["requests"]


class Streaming(Server):
    """Answers each message of a stream at once, the results of every seventh one being errors."""

    async def StreamForecast(  # noqa: N802 - the RPC's name
        self, requests: AsyncIterator[StreamForecastRequest], _context: Context
    ) -> AsyncIterator[StreamForecastResponse]:
        """See the proto."""
        async for number, request in enumerated(requests):
            self.asked["messages"] += 1
            good = ForecastResult(response=ANSWER)
            bad = ForecastResult(error=ForecastError(code=5))
            results = [bad if number % 7 == 6 else good for _ in request.items]
            # In two parts: a message's results need not come together.
            yield StreamForecastResponse(results=results[:1])
            yield StreamForecastResponse(results=results[1:])


async def enumerated(requests: AsyncIterator[StreamForecastRequest]) -> AsyncIterator[Any]:
    """`enumerate` for what comes one by one."""
    number = 0
    async for request in requests:
        yield number, request
        number += 1


@pytest.mark.parametrize("bound", [{"requests": 70}, {"duration": "400ms"}])
def test_messages_of_a_stream_are_kept_under_way(tmp_path: Path, bound: dict[str, object]) -> None:
    """One stream a connection; each message counts when all its results are there; an error among them shows."""
    file = tmp_path / "message.bin"
    item = ForecastItem(tag="1", request=ForecastRequest(sequence_data=SEQUENCE))
    file.write_bytes(StreamForecastRequest(items=[item] * 3).SerializeToString())
    options = {"request_file": file, "items": 3, "method": "/forecast.v1.ForecastService/StreamForecast"}
    with serving(kind=Streaming) as server:  # type: ignore[type-abstract]  # BatchForecast is UNIMPLEMENTED.
        result = load(server, stream="true", connections=1, in_flight=8, **options, **bound)
    assert result["loop"] == "stream"
    assert result["requests"] == server.asked["messages"] >= 70
    assert result["outcomes"]["FAILED_ITEM"] == result["requests"] // 7
    assert result["outcomes"]["OK"] == result["requests"] - result["requests"] // 7
    assert result["forecasts_per_s"] == pytest.approx(3 * result["requests_per_s"])


def test_a_stream_that_breaks_off_fails_what_was_under_way(tmp_path: Path) -> None:
    """The messages that a service without streams never answers are failures, with its code."""
    file = tmp_path / "message.bin"
    file.write_bytes(StreamForecastRequest(items=[ForecastItem()]).SerializeToString())
    with serving() as server:
        method = "/forecast.v1.ForecastService/StreamForecast"
        result = load(
            server, stream="true", connections=1, in_flight=4, request_file=file, method=method, requests=9
        )
    assert result["outcomes"] == {"UNIMPLEMENTED": 4}


def test_http_is_asked_as_the_tutorial_asks(tmp_path: Path) -> None:
    """Over HTTP/1.1: path, customer and body; what comes back is compared, and errors are counted."""
    body, expected = tmp_path / "body.json", tmp_path / "expected.json"
    body.write_text('{"sequence_data": [1, 2]}')
    expected.write_text('["right"]')
    seen: list[tuple[str, str, bytes]] = []

    class Door(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            data = self.rfile.read(int(self.headers["content-length"]))
            seen.append((self.path, self.headers["serve_multiplexed_model_id"], data))
            self.send_response(503 if len(seen) % 2 else 200)
            self.send_header("content-length", str(len(b'["right"]')))
            self.end_headers()
            self.wfile.write(b'["right"]')

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name in the base class
            """Nothing."""

    with HTTPServer(("127.0.0.1", 0), Door) as door:
        threading.Thread(target=door.serve_forever, daemon=True).start()
        options = {"http": "true", "method": "/v1", "request-file": body, "expect-file": expected}
        address = {"address": f"127.0.0.1:{door.server_port}", "customer": "alpha", "requests": 10}
        result = _load.run(program(), {**options, **address, "connections": 1, "in-flight": 1})
        door.shutdown()
    assert result["outcomes"] == {"OK": 5, "UNAVAILABLE": 5}
    assert set(seen) == {("/v1", "alpha", body.read_bytes())}


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"rate": -1}, ExitCode.USAGE),
        ({"order": "backwards", "customer": "", "count": 3}, ExitCode.USAGE),
        ({"customer": "", "count": 0}, ExitCode.USAGE),
        ({"address": "127.0.0.1:1"}, ExitCode.UNAVAILABLE),
    ],
)
def test_what_cannot_be_sent_is_said(options: dict[str, object], code: ExitCode) -> None:
    """Options that make no load, and a service that is not there, end in one sentence and an exit code."""
    with serving() as server, pytest.raises(CommandFailed) as failure:
        load(server, **{"requests": 1, **options})
    assert failure.value.code == code
    assert "\n" not in str(failure.value)
