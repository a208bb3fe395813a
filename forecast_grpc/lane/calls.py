"""The calls of the direct lane: each takes a place in Ray's replica, runs a method of the service, and leaves."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from typing import Any

import grpc
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor

from forecast_grpc.errors import DeadlineExceeded, InternalError, Overloaded
from forecast_grpc.lane.context import DirectContext
from forecast_grpc.lane.replica import RayReplica
from forecast_grpc.rpc import Rpcs

RETRY_AFTER_S = 1.0
"""When a caller may try again whose call was refused, in seconds."""


class DirectCalls:
    """A servicer for gRPC: it has what gRPC calls for each RPC of the service, under the RPC's name."""

    def __init__(self, described: ServiceDescriptor, service: Rpcs, replica: RayReplica) -> None:
        self._service = service
        self._replica = replica
        for rpc in described.methods:
            setattr(self, rpc.name, self._handler(rpc))

    def _handler(self, rpc: MethodDescriptor) -> Callable[[Any, Any], Awaitable[Any]]:
        """A coroutine function of a message, or a stream of them, and gRPC's context."""
        method, replica = getattr(self._service, rpc.name), self._replica
        run: _Run = _streaming(method) if rpc.server_streaming else method
        if replica.timeout_s is not None:
            run = _limited(run, replica.timeout_s)

        async def handle(request: Any, context: Any) -> Any:  # noqa: ANN401 - what gRPC brings and takes
            door, answer = DirectContext(context), None
            if not self._strange(door) and (replica.enter_at_once() or await self._waited(door)):
                try:
                    answer = await run(request, door)
                except Exception as exc:  # noqa: BLE001 - gRPC would tell the caller all of it
                    self._fail(door, exc)
                finally:
                    replica.leave()
            if door.failed():
                await door.end()
            return answer

        return handle

    def _strange(self, door: DirectContext) -> bool:
        """Whether the call is for another application. Then its caller has been told."""
        application = door.application()
        if application is None or application in ("", self._replica.application):
            return False
        door.set_trailing_metadata(())
        door.set_code(grpc.StatusCode.NOT_FOUND)
        door.set_details(f"There is no application {application} here.")
        return True

    async def _waited(self, door: DirectContext) -> bool:
        """Whether a place has become free. If not, as many calls wait as may, and the caller has been told."""
        if self._replica.full:
            text = "Too many requests are waiting; try again in a moment."
            self._service.refuse(Overloaded(text, retry_after_s=RETRY_AFTER_S), door)
            return False
        await self._replica.enter()
        return True

    def _fail(self, door: DirectContext, exc: Exception) -> None:
        """Tells the caller of what no method let through on purpose."""
        if isinstance(exc, TimeoutError):
            text = f"The server's time limit for a request of {self._replica.timeout_s:g} s has passed."
            self._service.refuse(DeadlineExceeded(text), door)
            return
        self._service.engine.telemetry.failure(door.request_id, exc)
        self._service.refuse(InternalError(door.request_id), door)


_Run = Callable[[Any, DirectContext], Awaitable[Any]]


def _streaming(method: Callable[..., AsyncGenerator[Any]]) -> _Run:
    async def run(request: Any, door: DirectContext) -> None:  # noqa: ANN401
        door.set_trailing_metadata(())
        # Written here and not yielded to gRPC: a caller who leaves ends this coroutine, and with it the method.
        async with aclosing(method(request, grpc_context=door)) as responses:
            await door.write(responses)

    return run


def _limited(run: _Run, limit_s: float) -> _Run:
    async def limited(request: Any, door: DirectContext) -> Any:  # noqa: ANN401
        async with asyncio.timeout(limit_s):
            return await run(request, door)

    return limited
