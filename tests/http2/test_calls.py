"""What gRPC's own client gets from our server: it is one like theirs."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest

from forecast_grpc.http2 import GrpcServer
from tests.http2.server import MAX_MESSAGE_BYTES, Methods, running

MIB = 2**20


class Client:
    """gRPC's, on a connection of its own, with the methods of the server."""

    def __init__(self, server: GrpcServer, methods: Methods, channel: grpc.aio.Channel) -> None:
        self.server, self.methods, self._channel = server, methods, channel

    def __getattr__(self, name: str) -> Any:
        kinds = {"many": "unary_stream", "count": "stream_unary", "both": "stream_stream"}
        return getattr(self._channel, kinds.get(name, "unary_unary"))(f"/t/{name}")


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    """A client of a server."""
    options = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
    async with (
        running() as (server, methods, port),
        grpc.aio.insecure_channel(f"localhost:{port}", options) as channel,
    ):
        yield Client(server, methods, channel)


async def error(call: Any) -> grpc.aio.AioRpcError:
    """How a call fails."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return caught.value


async def without_end(client: Client) -> None:
    """Calls, one after the other."""
    while True:
        await client.echo(b"on its way", timeout=20)


@pytest.mark.parametrize("size", [0, 1, 16_383, 16_384, 65_535, 65_536, 5 * MIB])
async def test_unary(client: Client, size: int) -> None:
    """Messages of all sizes come back, at the frames' and the windows' bounds too."""
    message = bytes(range(256)) * (size // 256) + bytes(size % 256)
    assert await client.echo(message) == message


async def test_many_at_once(client: Client) -> None:
    """Calls on one connection do not mix."""
    messages = [str(number).encode() * 1_000 for number in range(500)]
    assert await asyncio.gather(*[client.echo(each) for each in messages]) == messages


async def test_metadata(client: Client) -> None:
    """Text and bytes come to the method and from it; none of HTTP's own is among them."""
    sent = (("multiplexed_model_id", "customer"), ("some-bin", b"\x00\x01\xfe"), ("long", "x" * 5_000))
    call = client.echo(b"", metadata=sent, timeout=30)
    await call
    seen = client.methods.metadata
    assert {key: seen[key] for key, _ in sent} == dict(sent)
    assert set(seen) - {key for key, _ in sent} == {"user-agent"}
    assert 20 < (client.methods.remaining_s or 0.0) <= 30
    trailing = dict(await call.trailing_metadata())
    assert trailing["raw-bin"] == b"\x00\xff"
    assert trailing["peer"].startswith(("ipv4:127.0.0.1:", "ipv6:%5B::1%5D:"))


async def test_without_a_deadline(client: Client) -> None:
    """Then no time remains, nor passes."""
    await client.echo(b"")
    assert client.methods.remaining_s is None


async def test_errors(client: Client) -> None:
    """Status, sentence and trailing metadata; nothing of what nobody foresaw."""
    aborted = await error(client.fail(b"abort"))
    assert (aborted.code(), aborted.details()) == (grpc.StatusCode.ABORTED, "Not so: ü 50 %")
    trailing: Any = aborted.trailing_metadata()
    assert dict(trailing)["why"] == "so"
    told = await error(client.fail(b"NOT_FOUND"))
    assert (told.code(), told.details()) == (grpc.StatusCode.NOT_FOUND, "Not now.")
    unforeseen = await error(client.fail(b"raise"))
    assert (unforeseen.code(), unforeseen.details()) == (grpc.StatusCode.UNKNOWN, "The method has failed.")
    odd = await error(client.fail(b"odd metadata", timeout=20))
    assert (odd.code(), odd.details()) == (grpc.StatusCode.INTERNAL, "The answer's metadata cannot be sent.")
    assert await client.echo(b"goes on") == b"goes on"


async def test_what_cannot_be_taken(client: Client) -> None:
    """No such method, a message of another type, one that is too long."""
    assert (await error(client.nothing(b""))).code() is grpc.StatusCode.UNIMPLEMENTED
    assert (await error(client.strict(b"text"))).code() is grpc.StatusCode.INTERNAL
    long = await error(client.echo(bytes(MAX_MESSAGE_BYTES + 1)))
    assert long.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert str(MAX_MESSAGE_BYTES) in (long.details() or "")
    assert await client.echo(b"goes on") == b"goes on"


@pytest.mark.parametrize("compression", [grpc.Compression.Gzip, grpc.Compression.Deflate])
async def test_compressed_requests(client: Client, compression: grpc.Compression) -> None:
    """Are unpacked, and not beyond the longest message."""
    assert await client.echo(b"a" * 100_000, compression=compression) == b"a" * 100_000
    bomb = await error(client.echo(bytes(2 * MAX_MESSAGE_BYTES), compression=compression))
    assert bomb.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


async def test_a_deadline_ends_the_method(client: Client) -> None:
    """The caller's own."""
    failed = await error(client.wait(b"", timeout=0.2))
    assert failed.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    await asyncio.wait_for(client.methods.cancelled.wait(), 20)


async def test_cancelling_ends_the_method(client: Client) -> None:
    """And other calls of the connection go on."""
    call = client.wait(b"")
    other = asyncio.ensure_future(client.wait(b"other"))
    await client.methods.begun.wait()
    call.cancel()
    await asyncio.wait_for(client.methods.cancelled.wait(), 20)
    client.methods.released.set()
    assert await other == b"other"


async def test_a_lost_connection_ends_its_methods(client: Client) -> None:
    """Whatever the caller meant to do."""
    call = client.wait(b"")
    await client.methods.begun.wait()
    for connection in list(client.server.connections):
        connection._transport.abort()
    assert (await error(call)).code() is grpc.StatusCode.UNAVAILABLE
    await asyncio.wait_for(client.methods.cancelled.wait(), 20)


async def test_a_stream_of_answers(client: Client) -> None:
    """All of them, in their order."""
    answers = [each async for each in client.many(b"100")]
    assert [int.from_bytes(each[:4], "big") for each in answers] == list(range(10_000))


async def test_who_does_not_read_fills_no_memory(client: Client) -> None:
    """The method of a stream waits for its reader; when he leaves, it ends."""
    call = client.many(b"100000")
    await call.read()

    async def stands() -> bool:
        before = client.methods.written
        for _ in range(50):
            await asyncio.sleep(0)
        return client.methods.written == before > 0

    async with asyncio.timeout(30):
        while not await stands():
            await asyncio.sleep(0.05)
    # What the client has read ahead, more on a busy machine, and the kernel's buffers: a part of a gigabyte.
    assert client.methods.written < 2_000
    call.cancel()
    await asyncio.wait_for(client.methods.cancelled.wait(), 20)


async def test_a_stream_of_requests(client: Client) -> None:
    """Beyond the stream's window, in spite of a method that does not read at first."""

    async def requests() -> AsyncIterator[bytes]:
        for _ in range(100):
            yield bytes(100_000)

    call = client.count(requests())
    client.methods.released.set()
    assert await call == b"10000000"


async def test_who_is_not_read_has_to_wait(client: Client) -> None:
    """As long as a method does not read, a window of requests comes in, and no more."""
    sent = 0

    async def requests() -> AsyncIterator[bytes]:
        nonlocal sent
        for _ in range(1_000):
            yield bytes(100_000)
            sent += 1

    call = client.count(requests())
    before = -1
    async with asyncio.timeout(30):
        while sent != before or not sent:
            before = sent
            await asyncio.sleep(0.2)
    assert sent < 100
    client.methods.released.set()
    assert await call == b"100000000"


async def test_both_ways(client: Client) -> None:
    """Each message is answered while the stream is open; the method may end it."""
    call = client.both()
    for number in range(100):
        await call.write(b"%d" % number)
        assert await call.read() == b"%d" % number
    await call.write(b"stop")
    assert await call.code() is grpc.StatusCode.OUT_OF_RANGE
    assert await call.details() == "Enough."


async def test_pings_are_answered() -> None:
    """A client that asks whether the connection lives goes on."""
    options = [
        ("grpc.keepalive_time_ms", 100),
        ("grpc.keepalive_timeout_ms", 2_000),
        ("grpc.http2.max_pings_without_data", 0),
    ]
    async with (
        running() as (_, methods, port),
        grpc.aio.insecure_channel(f"localhost:{port}", options) as channel,
    ):
        unary: Any = channel.unary_unary
        call = unary("/t/wait")(b"kept")
        await methods.begun.wait()
        loop = asyncio.get_running_loop()
        loop.call_later(3, methods.released.set)
        assert await call == b"kept"


async def test_stopping_waits_for_calls(client: Client) -> None:
    """Who is being answered is; who comes when the caller has heard of it, is not."""
    call = asyncio.ensure_future(client.wait(b"late"))
    await client.methods.begun.wait()
    stopping = asyncio.create_task(client.server.shutdown(30))
    refused = await asyncio.wait_for(error(without_end(client)), 20)
    assert refused.code() is grpc.StatusCode.UNAVAILABLE
    assert not stopping.done()
    client.methods.released.set()
    assert await call == b"late"
    await asyncio.wait_for(stopping, 20)
    assert not await client.server.wait_for_termination(1)


async def test_stopping_does_not_wait_for_ever(client: Client) -> None:
    """What has not ended by then is told so."""
    call = client.wait(b"")
    await client.methods.begun.wait()
    await client.server.shutdown(0.1)
    failed = await error(call)
    assert (failed.code(), failed.details()) == (grpc.StatusCode.UNAVAILABLE, "The server stops; try again.")
    assert client.methods.cancelled.is_set()


async def test_a_port_is_taken() -> None:
    """By another server: that is said, and nobody shares it."""
    async with running() as (_, _, port):
        with pytest.raises(RuntimeError, match=str(port)):
            GrpcServer(1).add_insecure_port(f"[::]:{port}".encode())
