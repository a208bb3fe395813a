"""Single flight: one call a key, whoever waits and whoever leaves."""

import asyncio
import gc
from typing import Any

import pytest

from forecast_grpc.loading.flight import SingleFlight


async def test_two_hundred_wait_for_one_call() -> None:
    """Everyone who asks while a call is under way gets its outcome; it is made once."""
    flight: SingleFlight[str, int] = SingleFlight()
    gate, calls = asyncio.Event(), 0

    async def call() -> int:
        nonlocal calls
        calls += 1
        await gate.wait()
        return 7

    waiting = [asyncio.create_task(flight.run("a", call)) for _ in range(200)]
    await asyncio.sleep(0)
    assert len(flight) == 1
    gate.set()
    assert await asyncio.gather(*waiting) == [7] * 200
    assert calls == 1
    assert len(flight) == 0


async def test_who_leaves_does_not_take_the_flight_along() -> None:
    """Cancelled callers leave; the flight lands for those who come later."""
    flight: SingleFlight[str, int] = SingleFlight()
    gate, landed = asyncio.Event(), asyncio.Event()

    async def call() -> int:
        await gate.wait()
        landed.set()
        return 7

    waiting = [asyncio.create_task(flight.run("a", call)) for _ in range(3)]
    await asyncio.sleep(0)
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    late = asyncio.create_task(flight.run("a", call))
    await asyncio.sleep(0)
    gate.set()
    assert await late == 7
    assert landed.is_set()


async def test_a_failure_reaches_all_and_is_forgotten() -> None:
    """Everyone gets the exception, the next caller makes a new call, and nothing complains of an unseen one."""
    flight: SingleFlight[str, int] = SingleFlight()
    complaints: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: complaints.append(context))

    async def fail() -> int:
        await asyncio.sleep(0)
        raise LookupError("no")

    async def succeed() -> int:
        return 7

    outcomes = await asyncio.gather(*(flight.run("a", fail) for _ in range(3)), return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [LookupError] * 3
    abandoned = asyncio.create_task(flight.run("a", fail))
    await asyncio.sleep(0)
    abandoned.cancel()
    with pytest.raises(asyncio.CancelledError):
        await abandoned
    while len(flight):
        await asyncio.sleep(0)
    del abandoned, outcomes
    gc.collect()
    assert await flight.run("a", succeed) == 7
    assert complaints == []
