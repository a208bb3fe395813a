"""The load generator, and a small real server that it asks."""

import asyncio
import os
import threading
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import grpc
import pytest

from benchmarks.workload import CUSTOMER_ID, FORECAST
from forecast_grpc.cli import _load
from forecast_grpc.v1.forecast_pb2 import ForecastRequest, ForecastResponse
from forecast_grpc.v1.forecast_pb2_grpc import ForecastServiceServicer, add_ForecastServiceServicer_to_server

ANSWER = ForecastResponse(customer_id=CUSTOMER_ID, forecast=FORECAST)
"""What the server answers unless it is told otherwise."""

Context = grpc.aio.ServicerContext[ForecastRequest, ForecastResponse]
Answer = Callable[["Server", ForecastRequest, Context], Awaitable[ForecastResponse]]
"""How a server answers one request."""


@cache
def program() -> Path:
    """The load generator. Skips the test where there is none, except under CI=true."""
    found = _load.generator()
    if found is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)("no Go, and no load generator built by it")
    return found


async def right(_server: "Server", _request: ForecastRequest, _context: Context) -> ForecastResponse:
    """The right answer, at once."""
    return ANSWER


@dataclass
class Server(ForecastServiceServicer):
    """Answers forecasts, one event loop for all, and remembers who was asked for."""

    answer: Answer
    asked: Counter[str] = field(default_factory=Counter)
    requests: list[ForecastRequest] = field(default_factory=list)
    deadlines: list[float | None] = field(default_factory=list)
    address: str = ""
    stopping: threading.Event = field(default_factory=threading.Event)

    def stop(self) -> None:
        """Ends it, whatever is under way."""
        self.stopping.set()

    async def Forecast(self, request: ForecastRequest, context: Context) -> ForecastResponse:  # noqa: N802 - the RPC's name
        """See the proto."""
        self.asked[str(dict(context.invocation_metadata() or ()).get("multiplexed_model_id"))] += 1
        self.requests.append(request)
        self.deadlines.append(context.time_remaining())
        return await self.answer(self, request, context)


@contextmanager
def serving(
    answer: Answer = right, *options: tuple[str, Any], port: int = 0, kind: type[Server] = Server
) -> Iterator[Server]:
    """A grpc.aio server with those options, on that port or a free one, in a thread of its own."""
    server = kind(answer)
    ready = threading.Event()

    async def serve() -> None:
        transport = grpc.aio.server(options=options)
        add_ForecastServiceServicer_to_server(server, transport)
        server.address = f"127.0.0.1:{transport.add_insecure_port(f'127.0.0.1:{port}')}"
        await transport.start()
        ready.set()
        await asyncio.to_thread(server.stopping.wait)
        await transport.stop(None)

    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    assert ready.wait(20)
    try:
        yield server
    finally:
        server.stop()
        thread.join()


def load(server: Server, **options: Any) -> dict[str, Any]:
    """What the generator says of a load on that server; in_flight=1 is `--in-flight=1`."""
    named = {"customer": CUSTOMER_ID} if "count" not in options else {}
    dashed = {key.replace("_", "-"): value for key, value in options.items()}
    return _load.run(program(), {"address": server.address, **named, **dashed})
