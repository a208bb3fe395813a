"""How connections are taken: all that have come at once, also by a loop that would take one at a time."""

import asyncio
import logging
import resource
import socket
from collections.abc import Awaitable, Callable
from contextlib import ExitStack, suppress

import pytest
import uvloop

from forecast_grpc.http2 import frames, listening
from tests.http2.raw import connected
from tests.http2.server import running

CALLERS = 100


async def _rounds(condition: Callable[[], bool], most: int) -> int:
    """After how many rounds of the loop it holds."""
    for number in range(most):
        if condition():
            return number
        await asyncio.sleep(0)
    return most


def _on_uvloop(test: Callable[[], Awaitable[None]]) -> None:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(test())  # type: ignore[arg-type]  # a coroutine


def test_all_connections_are_taken_together() -> None:
    """On the loop that Ray's replicas have, whose own server takes one a round."""

    async def test() -> None:
        async with running() as (server, _, port):
            with ExitStack() as callers:
                for _ in range(CALLERS):
                    # The kernel takes them; the loop has not had its turn.
                    callers.enter_context(socket.create_connection(("localhost", port)))
                assert not server.connections
                assert await _rounds(lambda: len(server.connections) == CALLERS, 20) < 20
                options = server.connections.pop()._transport.get_extra_info("socket")
                assert options.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
                assert options.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)

    _on_uvloop(test)


async def test_what_may_be_sent_is_said_first() -> None:
    """With the answer to a caller's first bytes."""
    async with running() as (_, _, port), connected(port) as raw:
        kinds = [(await raw.next(*frames.Kind)).kind for _ in range(3)]
        assert kinds == [frames.Kind.SETTINGS, frames.Kind.WINDOW_UPDATE, frames.Kind.SETTINGS]


async def test_a_stop_is_said_to_who_has_said_nothing() -> None:
    """Behind the settings, which come first."""
    async with running() as (server, _, port):
        reader, writer = await asyncio.open_connection("localhost", port)
        async with asyncio.timeout(20):
            while not server.connections:
                await asyncio.sleep(0)
        await server.shutdown(None)
        said = await asyncio.wait_for(reader.read(), 20)
        writer.close()
    assert said[3] == frames.Kind.SETTINGS
    assert frames.going(2**31 - 1, frames.Reason.NO_ERROR) in said


async def test_callers_wait_while_no_descriptor_is_left(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """They are taken as soon as there are some again, and the log says why they waited."""
    monkeypatch.setattr(listening, "PAUSE_S", 0.05)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    async with running() as (server, _, port):
        with ExitStack() as taken, socket.socket() as caller:
            resource.setrlimit(resource.RLIMIT_NOFILE, (caller.fileno() + 1, hard))
            try:
                with suppress(OSError):  # Until there are none.
                    while True:
                        taken.enter_context(socket.socket())
                caller.connect(("127.0.0.1", port))
                with caplog.at_level(logging.WARNING):
                    async with asyncio.timeout(20):
                        while not caplog.records:
                            await asyncio.sleep(0)
            finally:
                resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            assert not server.connections
            async with asyncio.timeout(20):
                while not server.connections:
                    await asyncio.sleep(0.01)
    assert "No connection can be taken for 0.05 s" in caplog.text
