"""Callers who ask all the time over both protocols: `python steady_load.py GRPC_ADDRESS HTTP_URL`.

Over gRPC none tries again. At the end of standard input they stop, and a line of JSON says what they got.
"""

import asyncio
import itertools
import json
import sys
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import grpc
import httpx

from forecast_grpc.v1.forecast_pb2 import ForecastRequest
from forecast_grpc.v1.forecast_pb2_grpc import ForecastServiceStub
from tests.stores import MANY

CALLERS = 8
DEADLINE_S = 20.0
PAUSE_S = 0.01
MAX_REPEATS = 5


@dataclass(slots=True, kw_only=True)
class Report:
    """What the callers got."""

    answered: Counter[str] = field(default_factory=Counter)
    """Forecasts, by the replica that made them."""

    repeated: int = 0
    """How often a call over HTTP had to be made again."""

    failed: Counter[str] = field(default_factory=Counter)
    """Everything else, by what it was."""


async def _grpc_caller(stub: Any, customers: "itertools.cycle[str]", report: Report) -> None:
    while True:
        call = stub.Forecast(
            ForecastRequest(), metadata=[("multiplexed_model_id", next(customers))], timeout=DEADLINE_S
        )
        try:
            await call
            report.answered[dict(await call.trailing_metadata())["forecast-replica"]] += 1
        except grpc.aio.AioRpcError as error:
            report.failed[f"gRPC {error.code().name}: {error.details()}"] += 1
        await asyncio.sleep(PAUSE_S)


async def _http_caller(client: httpx.AsyncClient, customers: "itertools.cycle[str]", report: Report) -> None:
    while True:
        headers = {"serve_multiplexed_model_id": next(customers)}
        try:
            reply = await client.post("/", json={}, headers=headers)
            for again in range(MAX_REPEATS):
                if not _cut_off(reply):
                    break
                report.repeated += 1
                await asyncio.sleep(PAUSE_S * 2**again)
                reply = await client.post("/", json={}, headers=headers)
            if reply.is_success:
                report.answered[reply.headers["forecast-replica"]] += 1
            else:
                report.failed[f"HTTP {reply.status_code}: {reply.text}"] += 1
        except httpx.HTTPError as error:
            report.failed[f"HTTP {error!r}"] += 1
        await asyncio.sleep(PAUSE_S)


def _cut_off(reply: httpx.Response) -> bool:
    """Whether it is HAProxy's, for a connection that a replica has closed: docs/errors.md says to try again."""
    failed = reply.status_code == httpx.codes.INTERNAL_SERVER_ERROR
    return failed and "json" not in reply.headers["content-type"]


async def _until_told(grpc_address: str, url: str) -> Report:
    report, customers = Report(), itertools.cycle(MANY)
    async with (
        grpc.aio.insecure_channel(grpc_address) as channel,
        httpx.AsyncClient(base_url=url, timeout=DEADLINE_S) as client,
    ):
        stub = ForecastServiceStub(channel)
        callers = [_grpc_caller(stub, customers, report) for _ in range(CALLERS)]
        tasks = [asyncio.create_task(each) for each in (*callers, _http_caller(client, customers, report))]
        await asyncio.to_thread(sys.stdin.read)
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
    return report


if __name__ == "__main__":
    found = asyncio.run(_until_told(*sys.argv[1:]))
    sys.stdout.write(
        json.dumps({"answered": found.answered, "repeated": found.repeated, "failed": found.failed})
    )
