"""Metrics and log lines come together in a replica and leave it together."""

import asyncio
import json
from typing import Any

import pytest

from forecast_grpc.telemetry import Telemetry
from forecast_grpc.telemetry.collect import CHUNK, MAX_OBSERVATIONS
from tests.telemetry.fake_sink import ListSink


def telemetry(sink: ListSink, *, log_requests: bool = True) -> Telemetry:
    """A collector with a gauge and a clock that stands still."""
    return Telemetry(
        sink=sink,
        log=sink.lines.append,
        log_requests=log_requests,
        facts={"replica": "r1"},
        gauges=lambda: {("models", (("tier", "hot"),)): 3.0},
        wall_clock=lambda: 0.0,
    )


def ask(collector: Telemetry, **facts: Any) -> None:
    """One answered request."""
    collector.request(protocol="grpc", code="OK", reason="", cache="hot", duration_s=0.002, facts=facts)


def test_a_request_is_counted_and_leaves_a_line() -> None:
    """One count, one duration, one line, at the flush and not before."""
    sink = ListSink()
    collector = telemetry(sink)
    ask(collector, customer_id="c", request_id="id")
    assert not sink.counters
    collector.flush()
    assert sink.counters["requests", (("code", "OK"), ("protocol", "grpc"))] == 1
    assert sink.observations["request_duration_ms", (("protocol", "grpc"),)] == [2.0]
    assert sink.gauges["models", (("tier", "hot"),)] == 3.0
    assert [json.loads(line) for line in sink.lines] == [
        {
            "time": "1970-01-01T00:00:00.000+00:00",
            "event": "request",
            "replica": "r1",
            "protocol": "grpc",
            "code": "OK",
            "cache": "hot",
            "customer_id": "c",
            "request_id": "id",
            "duration_ms": 2.0,
        }
    ]


def test_nothing_new_is_nothing_said() -> None:
    """A second flush repeats no count and writes no line."""
    sink = ListSink()
    collector = telemetry(sink)
    ask(collector)
    collector.flush()
    collector.flush()
    assert sum(sink.counters.values()) == 1
    assert len(sink.lines) == 1


@pytest.mark.parametrize(
    "text", ['"}\n{"event": "forged"', "a\r\nb", "\u2028", "\x85", "ü", "\x00", "\ud800"]
)
def test_no_text_can_forge_a_line(text: str) -> None:
    """Whatever a caller sends as its request id stays inside its field."""
    sink = ListSink()
    collector = telemetry(sink)
    ask(collector, request_id=text)
    collector.flush()
    assert len(sink.lines[0].splitlines()) == 1
    sink.lines[0].encode("utf-8")
    assert json.loads(sink.lines[0])["request_id"] == text


def test_under_load_durations_are_sampled() -> None:
    """Every request is counted; of very many durations an even sample is published."""
    sink = ListSink()
    collector = telemetry(sink, log_requests=False)
    for _ in range(10 * MAX_OBSERVATIONS):
        ask(collector)
    collector.flush()
    assert sum(sink.counters.values()) == 10 * MAX_OBSERVATIONS
    assert 0 < len(sink.observations["request_duration_ms", (("protocol", "grpc"),)]) <= MAX_OBSERVATIONS
    assert not sink.lines


def test_an_unforeseen_error_is_logged_whole() -> None:
    """The traceback that the caller does not get stands in the log, under the request id that it does get."""
    sink = ListSink()
    collector = telemetry(sink)
    try:
        raise RuntimeError("inside")
    except RuntimeError as exc:
        collector.failure("id", exc)
    collector.flush()
    line = json.loads(sink.lines[0])
    assert line["request_id"] == "id"
    assert "RuntimeError: inside" in line["traceback"]
    assert "test_collect.py" in line["traceback"]


async def test_a_full_disk_stops_neither_metrics_nor_later_lines() -> None:
    """A log that fails once loses its lines; the next flush works, and metrics are not touched."""
    sink = ListSink()
    failed = asyncio.Event()

    def log(lines: str) -> None:
        if not failed.is_set():
            failed.set()
            raise OSError("no space left")
        sink.lines.append(lines)

    collector = Telemetry(
        sink=sink, log=log, log_requests=True, facts={}, gauges=dict, flush_interval_s=0.001
    )
    running = asyncio.create_task(collector.run())
    ask(collector)
    await failed.wait()
    ask(collector)
    while not sink.lines:
        await asyncio.sleep(0.001)
    running.cancel()
    assert sum(sink.counters.values()) == 2


async def test_as_many_as_make_a_stretch_do_not_wait_for_the_flush() -> None:
    """So that none of a busy second's requests is held up by the lines of all the others."""
    sink = ListSink()
    collector = Telemetry(
        sink=sink, log=sink.lines.append, log_requests=True, facts={}, gauges=dict, flush_interval_s=3_600.0
    )
    running = asyncio.create_task(collector.run())
    await asyncio.sleep(0)
    for _ in range(2 * CHUNK + 1):
        ask(collector)
    await asyncio.sleep(0)
    assert [len(lines.splitlines()) for lines in sink.lines] == [CHUNK, CHUNK]
    running.cancel()
    collector.flush()
    assert len(sink.lines[2].splitlines()) == 1
    assert sum(sink.counters.values()) == 2 * CHUNK + 1


@pytest.mark.parametrize("broken", ["add", "observe", "set"])
def test_broken_metrics_do_not_stop_the_log(broken: str) -> None:
    """Whatever of the metrics fails, and however often, lines are written and nothing piles up."""

    class BrokenSink(ListSink):
        """A sink of which one method fails."""

        def __getattribute__(self, name: str) -> Any:
            if name == broken:
                raise RuntimeError("the registry is gone")
            return super().__getattribute__(name)

    sink = BrokenSink()
    collector = telemetry(sink)
    for number in range(3):
        ask(collector, request_id=str(number))
        collector.flush()
    assert [json.loads(line)["request_id"] for line in sink.lines] == ["0", "1", "2"]
    assert not collector._tallies
    assert not collector._durations


@pytest.mark.parametrize("count", [1, MAX_OBSERVATIONS - 1, MAX_OBSERVATIONS, MAX_OBSERVATIONS + 1, 1_000])
def test_few_durations_are_all_published(count: int) -> None:
    """Up to the limit every duration, above it an even sample of at least half as many."""
    sink = ListSink()
    collector = telemetry(sink, log_requests=False)
    for _ in range(count):
        ask(collector)
    collector.flush()
    published = len(sink.observations["request_duration_ms", (("protocol", "grpc"),)])
    assert published == count or MAX_OBSERVATIONS / 2 < published <= MAX_OBSERVATIONS < count


def test_idle_flushes_publish_gauges_alone() -> None:
    """With nothing to say no counter, histogram or line is touched; gauges are as they are now."""
    sink = ListSink()
    telemetry(sink).flush()
    assert (sink.counters, sink.observations, sink.lines) == ({}, {}, [])
    assert sink.gauges == {("requests_in_flight", ()): 0, ("models", (("tier", "hot"),)): 3.0}
