"""The server: its port, its methods, its end. It stands where `grpc.aio.Server` has its own core."""

import asyncio
import socket
from collections.abc import Sequence
from contextlib import suppress
from types import SimpleNamespace
from typing import Any

from forecast_grpc.http2.connection import Connection
from forecast_grpc.http2.listening import Listener


class GrpcServer:
    """Has the methods that `grpc.aio.Server` calls of the one that gRPC's core gives it."""

    def __init__(self, max_message_bytes: int) -> None:
        self.max_message_bytes = max_message_bytes
        """The longest message that is taken."""
        self.connections: set[Connection] = set()
        """Those that are open."""
        self._methods: dict[str, Any] = {}
        self._others: list[Any] = []
        self._socket: socket.socket | None = None
        self._listener: Listener | None = None
        self._ended = asyncio.Event()
        self._left = asyncio.Event()

    # --- as grpc.aio.Server calls them ---

    def add_registered_method_handlers(self, handlers: dict[Any, Any]) -> None:
        """Handlers by their methods' full names."""
        self._methods |= {_text(path): handler for path, handler in handlers.items()}

    def add_generic_rpc_handlers(self, handlers: Sequence[Any]) -> None:
        """Who is asked for the handlers of other methods, in this order."""
        self._others += handlers

    def add_insecure_port(self, address: bytes) -> int:
        """Takes a port, for IPv6 and IPv4. Raises RuntimeError where it is taken."""
        host, _, port = _text(address).rpartition(":")
        try:
            self._socket = _bound(host.strip("[]"), int(port))
        except OSError as exc:
            raise RuntimeError(f"The port {port} cannot be had: {exc.strerror}") from exc
        number: int = self._socket.getsockname()[1]
        return number

    async def start(self) -> None:
        """Takes calls from now on."""
        assert self._socket is not None  # noqa: S101 - gRPC's own starts no server without a port either
        self._listener = Listener(self._socket, lambda: Connection(self))

    async def shutdown(self, grace: float | None) -> None:
        """Takes no new calls, and waits so many seconds for those that are under way."""
        if self._listener is not None:
            self._listener.close()
            self._listener = None
        for connection in list(self.connections):
            connection.leave()
        with suppress(TimeoutError):
            async with asyncio.timeout(grace or 0.0):
                await self._idle()
        for connection in list(self.connections):
            connection.abort()
        with suppress(TimeoutError):
            # What a method does at its end may take a moment.
            async with asyncio.timeout(1.0):
                await self._idle()
        for connection in list(self.connections):
            connection.close()
        self._ended.set()

    async def wait_for_termination(self, timeout: float | None) -> bool:  # noqa: ASYNC109 - its callers' name
        """Waits for the end. Whether the time has passed before it."""
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                await self._ended.wait()
        return not self._ended.is_set()

    def is_running(self) -> bool:
        """Whether there is something to shut down."""
        return self._listener is not None

    # --- as connections call them ---

    def find(self, path: str) -> Any:  # noqa: ANN401 - a grpc.RpcMethodHandler, or None
        """Who handles a method."""
        handler = self._methods.get(path)
        if handler is None:
            details: Any = SimpleNamespace(method=path, invocation_metadata=())
            found = (other.service(details) for other in self._others)
            handler = next((each for each in found if each is not None), None)
        return handler

    def left(self) -> None:
        """A call, or a connection, is over."""
        self._left.set()

    async def _idle(self) -> None:
        while any(connection.calls for connection in self.connections):
            self._left.clear()
            await self._left.wait()


def _bound(host: str, port: int) -> socket.socket:
    """A socket on a port; of all of IPv6's addresses and IPv4's where the host is `::`."""
    everywhere = host == "::" and socket.has_ipv6
    if everywhere and socket.has_dualstack_ipv6():
        return socket.create_server((host, port), family=socket.AF_INET6, dualstack_ipv6=True)
    family = socket.AF_INET6 if ":" in host and not everywhere else socket.AF_INET
    return socket.create_server(("" if everywhere else host, port), family=family)


def _text(name: Any) -> str:  # noqa: ANN401 - gRPC has both
    return name.decode() if isinstance(name, bytes) else str(name)
