"""Streams: results as soon as they are ready, and no more in memory than the window holds."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from forecast_grpc.bulk.stream import MAX_MESSAGE_BYTES
from forecast_grpc.errors import DeadlineExceeded, InternalError
from forecast_grpc.v1 import forecast_pb2 as pb
from tests.bulk.bench import Bench, bench, item
from tests.stores import MANY


@pytest.fixture
def at(tmp_path: Path) -> Bench:
    """A bench whose streams have a window of ten items."""
    return bench(tmp_path)


class Caller:
    """The caller's side: sends what it is told to, and counts what has been read of it."""

    def __init__(self) -> None:
        self.queue: asyncio.Queue[Sequence[pb.ForecastItem] | Exception | None] = asyncio.Queue()
        self.read = 0

    def send(self, *items: pb.ForecastItem) -> None:
        """Sends a message."""
        self.queue.put_nowait(items)

    def close(self) -> None:
        """Has no more to send."""
        self.queue.put_nowait(None)

    async def messages(self) -> AsyncIterator[Sequence[pb.ForecastItem]]:
        """What arrives."""
        while True:
            message = await self.queue.get()
            if message is None:
                return
            if isinstance(message, Exception):
                raise message
            self.read += len(message)
            yield message


def tags(message: pb.StreamForecastResponse) -> list[str]:
    """The tags of the results, in order."""
    return [result.tag for result in message.results]


async def settled() -> None:
    """Returns when whatever can run without waiting has run."""
    for _ in range(200):
        await asyncio.sleep(0)


async def test_each_item_gets_what_it_would_get_alone(at: Bench) -> None:
    """Good items and bad ones, in any message: each once, under its tag; then the stream ends."""
    caller, names = Caller(), ("customer_123", "weekly", "nobody", "../x", "four-lags", "flipped")
    asked = [item(names[place % 6], *range(place % 9), tag=str(place)) for place in range(30)]
    for start in range(0, 30, 5):
        caller.send(*asked[start : start + 5])
    caller.close()
    results = [result async for message in at.stream(caller.messages()) for result in message.results]
    assert sorted(results, key=lambda result: int(result.tag)) == [await at.unary(each) for each in asked]
    (line,) = [line for line in at.lines("request") if line["request_id"] == "a-stream"]
    assert sum(line["items"].values()) == 30
    assert line["code"] == "OK"


async def test_an_item_that_waits_holds_up_no_other(at: Bench) -> None:
    """Results of models in memory come while another model, of the same message, is being loaded."""
    await at.batch([item("customer_123", 1.0)])
    at.store.gate.clear()
    caller = Caller()
    stream = at.stream(caller.messages())
    caller.send(item("weekly", *range(7), tag="cold"), item("customer_123", 1.0, tag="warm"))
    assert tags(await anext(stream)) == ["warm"]
    caller.send(item("customer_123", 2.0, tag="warm too"))
    assert tags(await anext(stream)) == ["warm too"]
    caller.close()
    at.store.gate.set()
    assert tags(await anext(stream)) == ["cold"]
    with pytest.raises(StopAsyncIteration):
        await anext(stream)


async def test_results_that_are_ready_share_a_message(at: Bench) -> None:
    """What has become ready while the caller was busy comes at once, whichever messages it was asked in."""
    await at.batch([item("customer_123", 1.0)])
    caller = Caller()
    stream = at.stream(caller.messages())
    caller.send(item("customer_123", 1.0, tag="first"))
    assert tags(await anext(stream)) == ["first"]
    for place in range(4):
        caller.send(item("customer_123", float(place), tag=str(place)))
    await settled()
    assert tags(await anext(stream)) == ["0", "1", "2", "3"]
    await stream.aclose()


async def test_who_does_not_read_is_not_read(at: Bench) -> None:
    """Of a caller who takes no results no more is read than the window holds; who goes on taking gets all."""
    await at.batch([item("customer_123", 1.0)])
    caller = Caller()
    for place in range(40):
        caller.send(item("customer_123", float(place), tag=str(place)))
    caller.close()
    stream = at.stream(caller.messages())
    taken = tags(await anext(stream))
    await settled()
    assert caller.read <= 10
    async for message in stream:
        taken += tags(message)
    assert taken == [str(place) for place in range(40)]


async def test_the_window_counts_values_too(tmp_path: Path) -> None:
    """Long series that wait for their model fill the window before it is full of items."""
    at = bench(tmp_path, max_batch_values=2_000)
    await at.batch([item("customer_123", 1.0)])
    at.store.gate.clear()
    caller = Caller()
    caller.send(item("customer_123", 1.0))
    for _ in range(9):
        caller.send(item("weekly", *range(900)))
    stream = at.stream(caller.messages())
    await anext(stream)
    await settled()
    assert caller.read == 4
    at.store.gate.set()
    while caller.read < 10:
        await anext(stream)
    await stream.aclose()


async def test_the_window_counts_the_values_of_results_too(tmp_path: Path) -> None:
    """Long forecasts that are not taken fill the window before it is full of items."""
    at = bench(tmp_path, max_batch_values=1_000)
    await at.batch([item("customer_123", 1.0)])
    caller = Caller()
    for _ in range(40):
        caller.send(*[item("customer_123", 1.0, horizon=100)] * 2)
    caller.close()
    stream = at.stream(caller.messages())
    taken = len((await anext(stream)).results)
    await settled()
    # Ten forecasts are more than a thousand values.
    assert caller.read - taken <= 10
    assert taken + sum([len(message.results) async for message in stream]) == 80


async def test_a_message_with_too_many_items_is_refused(at: Bench) -> None:
    """Each of its items is in error, with its tag; the stream lives on."""
    caller = Caller()
    caller.send(*[item("customer_123", 1.0, tag=str(place)) for place in range(11)])
    caller.send()
    caller.send(item("customer_123", 1.0, tag="good"))
    caller.close()
    results = {
        result.tag: result async for message in at.stream(caller.messages()) for result in message.results
    }
    assert len(results) == 12
    assert results.pop("good").HasField("response")
    assert {result.error.field for result in results.values()} == {"items"}


async def test_large_results_go_in_several_messages(tmp_path: Path) -> None:
    """No message is so large that gRPC clients would refuse it."""
    at = bench(tmp_path, max_stream_items=1_000, max_batch_values=10_000_000)
    caller = Caller()
    asked = item("customer_123", 1.0, horizon=100, quantile_levels=[0.1, 0.5, 0.9])
    caller.send(*[asked] * 900)
    caller.close()
    messages = [message async for message in at.stream(caller.messages())]
    assert sum(len(message.results) for message in messages) == 900
    assert len(messages) > 1
    assert max(message.ByteSize() for message in messages) <= MAX_MESSAGE_BYTES


async def test_a_caller_who_leaves_ends_everything(at: Bench) -> None:
    """Closing the stream ends its tasks, and the loads that had not begun."""
    before = asyncio.all_tasks()
    at.store.gate.clear()
    caller = Caller()
    caller.send(*[item(customer, 1.0) for customer in MANY[:10]])
    stream = at.stream(caller.messages())
    taking: asyncio.Future[Any] = asyncio.ensure_future(anext(stream))
    while at.store.at_once < at.bulk.max_loads:
        await asyncio.sleep(0)
    taking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await taking
    at.store.gate.set()
    while asyncio.all_tasks() - before:
        await asyncio.sleep(0)
    assert len(at.store.fetches) == at.bulk.max_loads
    assert [line["code"] for line in at.lines("request")] == ["CANCELLED"]
    assert at.bulk.engine.telemetry.in_flight == 0


async def test_a_caller_who_takes_nothing_is_cut_off(tmp_path: Path) -> None:
    """Whoever is busy with results for longer than we wait is cancelled; the log says why."""
    at = bench(tmp_path, patience_s=0.01)
    caller = Caller()
    caller.send(item("customer_123", 1.0))

    async def taking() -> None:
        async for _ in at.stream(caller.messages()):
            await asyncio.Event().wait()

    with pytest.raises(asyncio.CancelledError) as caught:
        await asyncio.create_task(taking())
    assert isinstance(caught.value.args[0], DeadlineExceeded)
    while not (lines := at.lines("request")):
        await asyncio.sleep(0)
    (line,) = lines
    assert (line["code"], line["message"]) == ("DEADLINE_EXCEEDED", "No results were taken for 0.01 s.")


async def test_a_caller_who_waits_for_results_is_not(tmp_path: Path) -> None:
    """The time counts only while there are results: not while a model is loaded, or the caller has none to ask."""
    at = bench(tmp_path, patience_s=0.01)
    caller = Caller()
    stream = at.stream(caller.messages())
    waiting: asyncio.Future[Any] = asyncio.ensure_future(anext(stream))
    await asyncio.sleep(0.05)
    caller.send(item("customer_123", 1.0, tag="late"))
    caller.close()
    assert tags(await waiting) == ["late"]
    assert [message async for message in stream] == []


async def test_a_fault_of_reading_ends_the_stream(at: Bench) -> None:
    """It is INTERNAL, with the request id; what it was stands in the log."""
    caller = Caller()
    caller.send(item("customer_123", 1.0))
    caller.queue.put_nowait(RuntimeError("the wire is broken"))
    *_, error = [outcome async for outcome in at.stream(caller.messages())]
    assert isinstance(error, InternalError)
    assert "a-stream" in error.message
    assert any("the wire is broken" in line["traceback"] for line in at.lines("unexpected_error"))
