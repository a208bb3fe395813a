"""A server with a method of each kind, whose messages are bytes."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc

from forecast_grpc.http2 import GrpcServer

MAX_MESSAGE_BYTES = 8 * 2**20


class Methods:
    """What the methods saw, and what they do: `request` says what."""

    def __init__(self) -> None:
        self.cancelled = asyncio.Event()
        """A method has been ended by its caller."""
        self.metadata: dict[str, Any] = {}
        """Of the last call."""
        self.remaining_s: float | None = None
        """Of the last call, when it came."""
        self.begun = asyncio.Event()
        """A call to `wait` has come."""
        self.released = asyncio.Event()
        """Calls to `wait` may end."""
        self.written = 0
        """Messages that the method of many answers has been rid of."""

    async def echo(self, request: bytes, context: Any) -> bytes:
        """The request, with the metadata of the caller behind it."""
        self.metadata = dict(context.invocation_metadata())
        self.remaining_s = context.time_remaining()
        context.set_trailing_metadata((("peer", context.peer()), ("raw-bin", b"\x00\xff")))
        return request

    async def fail(self, request: bytes, context: Any) -> bytes:
        """The status whose name the request is; "raise" and "odd metadata" for what nobody foresaw."""
        if request == b"raise":
            raise ValueError("/a/path at 0x7f")
        if request == b"odd metadata":
            context.set_trailing_metadata((("number", 1),))
            return b""
        if request == b"abort":
            await context.abort(grpc.StatusCode.ABORTED, "Not so: ü 50 %", (("why", "so"),))
        context.set_code(grpc.StatusCode[request.decode()])
        context.set_details("Not now.")
        return b"not sent"

    async def wait(self, request: bytes, _context: Any) -> bytes:
        """The request, once the test wants it."""
        self.begun.set()
        try:
            await self.released.wait()
        except asyncio.CancelledError:
            self.cancelled.set()
            raise
        return request

    async def many(self, request: bytes, _context: Any) -> AsyncIterator[bytes]:
        """Ten thousand messages of so many bytes."""
        self.written = 0
        try:
            for number in range(10_000):
                yield number.to_bytes(4, "big") + bytes(int(request))
                self.written += 1
        finally:
            self.cancelled.set()

    async def count(self, requests: AsyncIterator[bytes], _context: Any) -> bytes:
        """How many bytes there were, when the test wants them to be read."""
        await self.released.wait()
        return str(sum([len(each) async for each in requests])).encode()

    async def both(self, requests: AsyncIterator[bytes], context: Any) -> None:
        """Each request at once, written by the method itself."""
        async for request in requests:
            if request == b"stop":
                await context.abort(grpc.StatusCode.OUT_OF_RANGE, "Enough.")
            await context.write(request)

    def handlers(self) -> dict[str, Any]:
        """By their names."""
        return {
            "echo": grpc.unary_unary_rpc_method_handler(self.echo),
            "fail": grpc.unary_unary_rpc_method_handler(self.fail),
            "wait": grpc.unary_unary_rpc_method_handler(self.wait),
            "strict": grpc.unary_unary_rpc_method_handler(self.echo, request_deserializer=int),
            "many": grpc.unary_stream_rpc_method_handler(self.many),
            "count": grpc.stream_unary_rpc_method_handler(self.count),
            "both": grpc.stream_stream_rpc_method_handler(self.both),
        }


@asynccontextmanager
async def running() -> AsyncIterator[tuple[GrpcServer, Methods, int]]:
    """A server that runs, what its methods saw, and its port."""
    methods, server = Methods(), GrpcServer(MAX_MESSAGE_BYTES)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("t", methods.handlers()),))
    port = server.add_insecure_port(b"[::]:0")
    await server.start()
    try:
        yield server, methods, port
    finally:
        methods.released.set()
        await server.shutdown(None)
