"""Ray's gRPC servers with our own inside, or gRPC's where ours will not do: Ray's functions, a real client."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from ray.serve._private import default_impl
from ray.serve._private.grpc_util import start_grpc_server
from ray.serve.config import gRPCOptions

from forecast_grpc.cli._ports import free_port
from forecast_grpc.http2 import GrpcServer
from forecast_grpc.lane.port import take_ports

HEALTH = "grpc_health.v1.health_pb2_grpc.add_HealthServicer_to_server"


@pytest.fixture
def declined(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Why ours is not used; Ray's function is put back in the end."""
    monkeypatch.setattr(default_impl, "add_grpc_address", default_impl.add_grpc_address)
    return []


@asynccontextmanager
async def started(port: int) -> AsyncIterator[Any]:
    """A server as Ray starts it, whose methods answer that all is well."""

    async def handle(_request: Any, _context: Any) -> bytes:
        return health_pb2.HealthCheckResponse(status="SERVING").SerializeToString()

    options = gRPCOptions(
        port=port, grpc_servicer_functions=[f"{health_pb2_grpc.__name__}.add_HealthServicer_to_server"]
    )
    loop = asyncio.get_running_loop()
    task, server = await start_grpc_server(lambda **_: handle, options, event_loop=loop)
    try:
        yield server
    finally:
        await server.stop(None)
        await asyncio.wait_for(task, 20)


async def answers(port: int) -> bool:
    """Whether a client hears that all is well."""
    async with grpc.aio.insecure_channel(f"localhost:{port}") as channel:
        stub: Any = health_pb2_grpc.HealthStub(channel)
        answer = await stub.Check(health_pb2.HealthCheckRequest(), timeout=20)
    return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)


def always(_server: Any) -> bool:
    """Every server is wanted."""
    return True


async def test_ours_serves_what_ray_registers(declined: list[str]) -> None:
    """And Ray stops it as its own."""
    take_ports(always, declined.append)
    port = free_port()
    async with started(port) as server:
        assert isinstance(server._server, GrpcServer)
        assert await answers(port)
    assert not declined


async def test_a_taken_port_is_ray_s_to_deal_with(declined: list[str]) -> None:
    """Ray tries another one."""
    take_ports(always, declined.append)
    port = free_port()
    async with started(port):
        with pytest.raises(RuntimeError, match=str(port)):
            async with started(port):
                pass
    assert not declined


def not_wanted(_server: Any) -> bool:
    """No server is."""
    return False


async def test_one_that_is_not_wanted(declined: list[str]) -> None:
    """Stays as it is, whoever was asked before."""
    take_ports(always, declined.append)
    take_ports(not_wanted, declined.append)
    port = free_port()
    async with started(port) as server:
        assert not isinstance(server._server, GrpcServer)
        assert await answers(port)
    assert not declined


@pytest.mark.parametrize("missing", ["start", "add_registered_method_handlers"])
async def test_a_grpc_that_asks_for_more(
    declined: list[str], monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    """Something is called that ours does not have: gRPC's own serves, and it is said why."""
    monkeypatch.delattr(GrpcServer, missing)
    take_ports(always, declined.append)
    port = free_port()
    async with started(port) as server:
        assert not isinstance(server._server, GrpcServer)
        assert await answers(port)
    assert missing in declined[0]


async def test_a_ray_that_gives_ports_in_another_way(
    declined: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the server's credentials, say."""

    def secure(server: Any, address: str) -> None:
        server.add_secure_port(address, grpc.local_server_credentials())

    monkeypatch.setattr(default_impl, "add_grpc_address", secure)
    take_ports(always, declined.append)
    async with started(free_port()) as server:
        assert not isinstance(server._server, GrpcServer)
    assert "add_secure_port" in declined[0]
    declined.clear()
    monkeypatch.delattr(default_impl, "add_grpc_address")
    take_ports(always, declined.append)
    assert declined == ["Ray gives servers their ports in another way"]
