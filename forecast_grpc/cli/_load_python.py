"""A load from Python, where there is no Go: the same measures, by a client that costs more than what it asks."""

import asyncio
import time
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any

import grpc

from forecast_grpc.cli._call import Target, channel_options, metadata
from forecast_grpc.cli._plan import Plan

_METHOD = "/forecast.v1.ForecastService/Forecast"
_MOST_IN_FLIGHT = 1_000
"""Requests of an open loop that are under way before further ones wait, their time running."""

_QUANTILES = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "p99_9": 0.999}

Ask = Callable[[int, str], Awaitable[tuple[str, str, str]]]
"""Asks over the connection of that number for a customer: gRPC code, message, cache tier."""


@dataclass(slots=True)
class Recorder:
    """What came of the requests of a run."""

    start: float
    """By `time.perf_counter`, in seconds."""

    outcomes: Counter[str] = field(default_factory=Counter)
    """Requests by gRPC code."""

    messages: dict[str, str] = field(default_factory=dict)
    """The first message of each error's code."""

    tiers: defaultdict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    """Seconds that right answers took, by cache tier."""

    late: list[float] = field(default_factory=list)
    """Seconds between the times at which requests were meant to be sent and were."""

    seconds: defaultdict[int, list[float]] = field(default_factory=lambda: defaultdict(list))
    """Seconds that right answers took, by the second in which they came."""

    failed: Counter[int] = field(default_factory=Counter)
    """Errors, by the second in which they came."""

    def add(self, meant: float, sent: float, outcome: tuple[str, str, str]) -> None:
        """Takes in one answer, which has just come."""
        now, (code, message, tier) = time.perf_counter(), outcome
        self.outcomes[code] += 1
        self.late.append(sent - meant)
        if code == "OK":
            self.tiers[tier].append(now - meant)
            self.seconds[int(now - self.start)].append(now - meant)
        else:
            self.messages.setdefault(code, message)
            self.failed[int(now - self.start)] += 1

    def result(self, loop: str, seconds: float, cpu_s: float) -> dict[str, Any]:
        """As the generator in Go says it."""
        took = sorted(each for tier in self.tiers.values() for each in tier)
        in_time = sum(len(came) for second, came in self.seconds.items() if second < seconds)
        return {
            "loop": loop,
            "seconds": seconds,
            "requests": self.outcomes.total(),
            "requests_per_s": in_time / seconds,
            "outcomes": dict(self.outcomes),
            "messages": self.messages,
            "latency_ms": latencies(took),
            "latency_by_tier_ms": {
                tier: latencies(sorted(each)) for tier, each in self.tiers.items() if tier
            },
            "client_cpu_s": cpu_s,
            "series": list(self._series()),
        } | ({"lateness_ms": latencies(sorted(self.late))} if loop == "open" else {})

    def _series(self) -> Iterator[dict[str, Any]]:
        for second in range(max((*self.seconds, *self.failed), default=-1) + 1):
            of = latencies(sorted(self.seconds[second]))
            yield {
                "second": second,
                "ok": of["count"],
                "failed": self.failed[second],
                "p50_ms": of["p50"],
                "p99_ms": of["p99"],
                "max_ms": of["max"],
            }


def latencies(seconds: Sequence[float]) -> dict[str, float]:
    """Count, mean, quantiles and maximum of sorted times, in milliseconds; zeros where there is none."""
    count = len(seconds)
    if not count:
        return dict.fromkeys(("count", "mean", *_QUANTILES, "max"), 0)
    quantiles = {name: 1e3 * seconds[int(share * (count - 1))] for name, share in _QUANTILES.items()}
    return {"count": count, "mean": 1e3 * sum(seconds) / count, **quantiles, "max": 1e3 * seconds[-1]}


def run(target: Target, plan: Plan) -> dict[str, Any]:
    """Sends the load, and returns what came of it in the generator's own words."""
    return asyncio.run(_run(target, plan))


async def _run(target: Target, plan: Plan) -> dict[str, Any]:
    async with AsyncExitStack() as stack:
        channels = [await stack.enter_async_context(_channel(target)) for _ in range(plan.connections)]
        ask = _asking(target, plan, channels)
        if plan.warm_up_s:
            await _send(plan, ask, plan.warm_up_s)
        before = time.process_time()
        recorder = await _send(plan, ask, plan.duration_s)
        loop = "open" if plan.rate else "closed"
        return recorder.result(loop, plan.duration_s, time.process_time() - before)


def _channel(target: Target) -> grpc.aio.Channel:
    # Of its own: channels with the same options would share one connection.
    options = [*channel_options(target), ("grpc.use_local_subchannel_pool", 1)]
    if target.tls:
        return grpc.aio.secure_channel(target.address, grpc.ssl_channel_credentials(), options)
    return grpc.aio.insecure_channel(target.address, options)


def _asking(target: Target, plan: Plan, channels: Sequence[grpc.aio.Channel]) -> Ask:
    # Bytes in, bytes out: what is measured is not this client's protobuf.
    methods = [channel.unary_unary(_METHOD, bytes, bytes) for channel in channels]

    async def ask(connection: int, customer: str) -> tuple[str, str, str]:
        call = methods[connection % len(methods)](
            plan.request, metadata=metadata(target, customer), timeout=target.timeout_s
        )
        try:
            await call
        except grpc.aio.AioRpcError as exc:
            return exc.code().name, exc.details() or "", ""
        return "OK", "", str(dict(await call.trailing_metadata() or ()).get("forecast-cache", ""))

    return ask


async def _send(plan: Plan, ask: Ask, seconds: float) -> Recorder:
    recorder = Recorder(time.perf_counter())
    await (_open if plan.rate else _closed)(plan, ask, recorder, recorder.start + seconds)
    return recorder


async def _closed(plan: Plan, ask: Ask, recorder: Recorder, until: float) -> None:
    customer = plan.choice()

    async def one_after_the_other(number: int) -> None:
        while (now := time.perf_counter()) < until:
            recorder.add(now, now, await ask(number, customer()))

    async with asyncio.TaskGroup() as tasks:
        for number in range(plan.connections * plan.in_flight):
            tasks.create_task(one_after_the_other(number))


async def _open(plan: Plan, ask: Ask, recorder: Recorder, until: float) -> None:
    customer, places = plan.choice(), asyncio.Semaphore(_MOST_IN_FLIGHT)

    async def one(number: int, meant: float) -> None:
        recorder.add(meant, time.perf_counter(), await ask(number, customer()))
        places.release()

    async with asyncio.TaskGroup() as tasks:
        number, meant = 0, recorder.start
        while meant < until:
            await asyncio.sleep(meant - time.perf_counter())
            await places.acquire()
            tasks.create_task(one(number, meant))
            number, meant = number + 1, recorder.start + (number + 1) / plan.rate
