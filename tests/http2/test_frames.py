"""HTTP/2 as it can come, and as it must not come (RFC 9113)."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from forecast_grpc.http2 import frames, headers
from forecast_grpc.http2.call import STREAM_WINDOW_BYTES
from forecast_grpc.http2.frames import Kind, Reason, Setting, frame
from forecast_grpc.http2.sending import header_frame
from tests.http2 import raw
from tests.http2.raw import Raw, block, call, connected, data
from tests.http2.server import Methods, running

HUGE = frames.MAX_FRAME_BYTES + 1


@pytest.fixture
async def server() -> AsyncIterator[tuple[Methods, int]]:
    """A server: its methods, its port."""
    async with running() as (_, methods, port):
        yield methods, port


@pytest.fixture
async def client(server: tuple[Methods, int]) -> AsyncIterator[Raw]:
    """A connection to it."""
    async with connected(server[1]) as client:
        yield client


async def echoed(client: Raw, stream_id: int) -> bytes:
    """The answer of this stream, after its headers and before its trailers."""
    head, fields = await client.headers()
    assert (head.stream_id, fields[":status"]) == (stream_id, "200")
    answer = await client.next(Kind.DATA)
    tail, trailers = await client.headers()
    assert trailers["grpc-status"] == "0"
    assert tail.flags & frames.END_STREAM
    return answer.payload[5:]


async def test_a_call(client: Raw) -> None:
    """Headers, data, trailers."""
    client.send(call(1), data(1, b"one"))
    assert await echoed(client, 1) == b"one"
    client.send(call(3), data(3, b"two"))
    assert await echoed(client, 3) == b"two"


async def test_byte_by_byte(client: Raw) -> None:
    """However the bytes come."""
    for byte in call(1) + data(1, b"slow"):
        client.send(bytes((byte,)))
        await asyncio.sleep(0)
    assert await echoed(client, 1) == b"slow"


async def test_in_all_its_forms(client: Raw) -> None:
    """Padding, priority, headers in pieces, a message in pieces, frames of unknown kinds, an end of its own."""
    written = block(raw.GRPC)
    first = b"\x03" + b"\0\0\0\0\x10" + written[:10] + b"\0\0\0"
    message = data(1, b"pieces", 0)[9:]
    client.send(
        frame(Kind.PRIORITY, 0, 1, b"\0\0\0\0\x10"),
        frame(Kind.HEADERS, frames.PADDED | frames.PRIORITY, 1, first),
        frame(Kind.CONTINUATION, 0, 1, written[10:20]),
        frame(Kind.CONTINUATION, frames.END_HEADERS, 1, written[20:]),
        HEAD_OF_UNKNOWN,
        frame(Kind.DATA, 0, 1, message[:3]),
        frame(Kind.DATA, frames.PADDED, 1, b"\x02" + message[3:] + b"\0\0"),
        frame(Kind.DATA, frames.END_STREAM, 1),
    )
    assert await echoed(client, 1) == b"pieces"


HEAD_OF_UNKNOWN = frames.HEAD.pack(0, 3, 0xEE, 0xFF, 1) + b"???"


async def test_room_for_little(server: tuple[Methods, int]) -> None:
    """An answer comes in pieces of what the caller has room for, and goes on when he has more."""
    async with connected(server[1], {Setting.INITIAL_WINDOW_SIZE: 10}) as client:
        client.send(call(1), data(1, bytes(100)))
        assert len((await client.next(Kind.DATA)).payload) == 10
        assert await client.alive()
        client.send(frames.window_update(1, 20))
        assert len((await client.next(Kind.DATA)).payload) == 20
        client.send(frames.settings({Setting.INITIAL_WINDOW_SIZE: 50}))
        assert len((await client.next(Kind.DATA)).payload) == 40
        client.send(frames.settings({Setting.INITIAL_WINDOW_SIZE: 1_000}))
        assert len((await client.next(Kind.DATA)).payload) == 35
        assert (await client.headers())[1]["grpc-status"] == "0"


async def test_an_answer_that_nobody_takes(server: tuple[Methods, int]) -> None:
    """Is waited with until the caller's deadline, and no longer."""
    async with connected(server[1], {Setting.INITIAL_WINDOW_SIZE: 10}) as client:
        fields = [*raw.GRPC, ("grpc-timeout", "300m")]
        client.send(frame(Kind.HEADERS, frames.END_HEADERS, 1, block(fields)), data(1, bytes(100)))
        assert len((await client.next(Kind.DATA)).payload) == 10
        ended = await client.next(Kind.RST_STREAM)
        assert (ended.stream_id, ended.payload[-1]) == (1, Reason.CANCEL)
        assert await client.alive()


async def test_room_on_the_connection(client: Raw) -> None:
    """All streams together have the connection's window; who waits for it goes on with it."""
    size = 50_000
    for stream_id in (1, 3):
        client.send(call(stream_id), *in_frames(stream_id, bytes(size)))
    client.send(frames.window_update(1, size), frames.window_update(3, size))
    got = 0
    while got < frames.FIRST_WINDOW_BYTES:
        got += len((await client.next(Kind.DATA)).payload)
    assert got == frames.FIRST_WINDOW_BYTES
    client.send(frames.window_update(0, 2 * size))
    while got < 2 * (size + 5):
        got += len((await client.next(Kind.DATA)).payload)
    assert got == 2 * (size + 5)


def in_frames(stream_id: int, message: bytes) -> list[bytes]:
    """A message that one frame does not hold."""
    body = b"\0" + len(message).to_bytes(4, "big") + message
    pieces = [body[at : at + frames.MAX_FRAME_BYTES] for at in range(0, len(body), frames.MAX_FRAME_BYTES)]
    return [frame(Kind.DATA, 0, stream_id, each) for each in pieces] + [
        frame(Kind.DATA, frames.END_STREAM, stream_id)
    ]


async def test_no_more_than_the_stream_has_room_for(server: tuple[Methods, int]) -> None:
    """A method that does not read gives no room for more."""
    methods, port = server
    async with connected(port) as client:
        client.send(call(1, "/t/count"))
        for _ in range(STREAM_WINDOW_BYTES // 16_384):
            client.send(data(1, bytes(16_384 - 5), 0))
        assert await client.alive()
        methods.released.set()
        told = await client.next(Kind.WINDOW_UPDATE)
        while told.stream_id == 0:
            told = await client.next(Kind.WINDOW_UPDATE)
        assert int.from_bytes(told.payload, "big") == STREAM_WINDOW_BYTES


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ([*raw.POST, ("content-type", "text/html")], {":status": "415"}),
        (raw.POST, {":status": "415"}),
        ([*raw.GRPC, ("grpc-encoding", "snappy")], {"grpc-status": "12"}),
        ([*raw.GRPC, ("grpc-timeout", "soon")], {"grpc-status": "13"}),
        ([*raw.GRPC, ("some-bin", "?")], {"grpc-status": "13"}),
    ],
)
async def test_headers_of_no_call(client: Raw, fields: list[tuple[str, str]], status: dict[str, str]) -> None:
    """Are answered, and the connection goes on; what else comes of the stream is passed over."""
    client.send(frame(Kind.HEADERS, frames.END_HEADERS, 1, block(fields)), data(1, b"x"))
    _, told = await client.headers()
    assert status.items() <= told.items()
    client.send(call(3), data(3, b"goes on"))
    assert await echoed(client, 3) == b"goes on"


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (frame(Kind.DATA, frames.END_STREAM, 1), "13"),
        (frame(Kind.DATA, frames.END_STREAM, 1, b"\0\0\0\0\x05abc"), "13"),
        (data(1, b"one", 0) + data(1, b"two"), "13"),
        (frame(Kind.DATA, frames.END_STREAM, 1, b"\x01\0\0\0\x03abc"), "13"),
        (frame(Kind.DATA, frames.END_STREAM, 1, b"\0\xff\xff\xff\xff"), "8"),
    ],
    ids=["none", "cut off", "two", "compressed", "too long"],
)
async def test_messages_that_are_none(client: Raw, body: bytes, status: str) -> None:
    """End their call, and no other."""
    client.send(call(1), body)
    assert (await client.headers())[1]["grpc-status"] == status
    client.send(call(3), data(3, b"goes on"))
    assert await echoed(client, 3) == b"goes on"


@pytest.mark.parametrize(
    ("sent", "reason"),
    [
        (frames.HEAD.pack(0, HUGE, Kind.DATA, 0, 1), Reason.FRAME_SIZE_ERROR),
        (frame(Kind.PING, 0, 0, b"short"), Reason.FRAME_SIZE_ERROR),
        (frame(Kind.SETTINGS, 0, 0, b"short"), Reason.FRAME_SIZE_ERROR),
        (frame(Kind.WINDOW_UPDATE, 0, 0, b"odd"), Reason.FRAME_SIZE_ERROR),
        (frame(Kind.DATA, 0, 1, b"x"), Reason.PROTOCOL_ERROR),
        (frame(Kind.HEADERS, raw.WHOLE, 2, block(raw.GRPC)), Reason.PROTOCOL_ERROR),
        (frame(Kind.CONTINUATION, 0, 1, b""), Reason.PROTOCOL_ERROR),
        (frame(Kind.HEADERS, 0, 1, b"") + frame(Kind.PING, 0, 0, bytes(8)), Reason.PROTOCOL_ERROR),
        (frame(Kind.PUSH_PROMISE, 0, 1, bytes(4)), Reason.PROTOCOL_ERROR),
        (call(1) + frame(Kind.DATA, frames.PADDED, 1, b"\x09x"), Reason.PROTOCOL_ERROR),
        (frame(Kind.HEADERS, raw.WHOLE, 1, b"\xff\xff\xff\xff\xff"), Reason.COMPRESSION_ERROR),
        (frames.window_update(0, 2**31 - 1), Reason.FLOW_CONTROL_ERROR),
        (frames.settings({Setting.INITIAL_WINDOW_SIZE: 2**31}), Reason.FLOW_CONTROL_ERROR),
        (frames.settings({Setting.MAX_FRAME_SIZE: 0}), Reason.PROTOCOL_ERROR),
        (frames.settings({Setting.MAX_FRAME_SIZE: 2**24}), Reason.PROTOCOL_ERROR),
        (
            frame(Kind.HEADERS, 0, 1, b"")
            + frame(Kind.CONTINUATION, 0, 1, bytes(frames.MAX_FRAME_BYTES)) * 5,
            Reason.ENHANCE_YOUR_CALM,
        ),
    ],
    ids=lambda value: value.name if isinstance(value, Reason) else value[3:14].hex(),
)
async def test_what_breaks_the_protocol(server: tuple[Methods, int], sent: bytes, reason: Reason) -> None:
    """Ends the connection with a reason, and the calls on it; others go on."""
    methods, port = server
    async with connected(port) as client, connected(port) as other:
        client.send(call(5, "/t/wait"), data(5, b""))
        # Streams with lower numbers may not come after it.
        if b"\0\0\0\1" not in sent[5:9]:
            await methods.begun.wait()
            client.send(sent)
            assert await client.sent_away() == reason
            await asyncio.wait_for(methods.cancelled.wait(), 20)
        async with connected(port) as fresh:
            fresh.send(sent)
            assert await fresh.sent_away() == reason
        other.send(call(1), data(1, b"goes on"))
        assert await echoed(other, 1) == b"goes on"


async def test_no_http2(server: tuple[Methods, int]) -> None:
    """A caller of HTTP/1 is sent away."""
    reader, writer = await asyncio.open_connection("localhost", server[1])
    writer.write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    sent = await asyncio.wait_for(reader.read(), 20)
    assert sent[-17:-8] == frame(Kind.GOAWAY, 0, 0, bytes(8))[:9]
    writer.close()


async def test_pings_that_nobody_listens_to(server: tuple[Methods, int]) -> None:
    """Who asks without an end and takes no answers does not fill our memory."""
    _, port = server
    _reader, writer = await asyncio.open_connection("localhost", port, limit=1)
    writer.write(frames.PREFACE + frames.settings({}))
    ping = frame(Kind.PING, 0, 0, b"floods..") * 10_000

    async def flood() -> None:
        while True:
            writer.write(ping)
            await writer.drain()

    with pytest.raises(ConnectionError):
        await asyncio.wait_for(flood(), 60)


async def test_a_deadline_in_a_thousand_years(client: Raw) -> None:
    """Is none that any timer has to keep."""
    fields = [*raw.GRPC, ("grpc-timeout", "99999999H")]
    client.send(frame(Kind.HEADERS, frames.END_HEADERS, 1, block(fields)), data(1, b"long"))
    assert await echoed(client, 1) == b"long"


async def test_a_stream_is_reset(server: tuple[Methods, int]) -> None:
    """Its method ends, and its number does not come again."""
    methods, port = server
    async with connected(port) as client:
        client.send(call(1, "/t/wait"), data(1, b""))
        await methods.begun.wait()
        client.send(frames.reset(1, Reason.CANCEL))
        await asyncio.wait_for(methods.cancelled.wait(), 20)
        assert await client.alive()


async def test_going_is_said_twice(server: tuple[Methods, int]) -> None:
    """First that no more should come, and when that has been heard, which was the last."""
    async with running() as (going, methods, port), connected(port) as client:
        client.send(call(1, "/t/wait"), data(1, b""))
        await methods.begun.wait()
        stopping = asyncio.create_task(going.shutdown(30))
        first = await client.next(Kind.GOAWAY)
        assert int.from_bytes(first.payload[:4], "big") == 2**31 - 1
        ping = await client.next(Kind.PING)
        client.send(call(3), data(3, b"on its way"))
        assert await echoed(client, 3) == b"on its way"
        client.send(frame(Kind.PING, frames.ACK, 0, ping.payload))
        last = await client.next(Kind.GOAWAY)
        assert int.from_bytes(last.payload[:4], "big") == 3
        client.send(call(5), data(5, b"too late"))
        refused = await client.next(Kind.RST_STREAM)
        assert (refused.stream_id, refused.payload[-1]) == (5, Reason.REFUSED_STREAM)
        methods.released.set()
        await asyncio.wait_for(stopping, 20)


FRAMES = st.tuples(st.integers(0, 10), st.integers(0, 255), st.integers(0, 4), st.binary(max_size=40))


def odd(kind: int, flags: int, stream_id: int, payload: bytes) -> bytes:
    """A frame of any kind."""
    return frames.HEAD.pack(0, len(payload), kind, flags, stream_id) + payload


@given(st.lists(FRAMES, max_size=12))
@settings(deadline=None, max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_frames(sent: list[tuple[int, int, int, bytes]]) -> None:
    """Whatever comes, the server goes on, and says why it hangs up where it does."""

    async def body() -> None:
        async with running() as (_, methods, port), connected(port) as client:
            methods.released.set()
            client.send(call(1), *[odd(*each) for each in sent])
            with suppress(asyncio.IncompleteReadError, ConnectionError):
                assert await client.alive()
            async with connected(port) as other:
                other.send(call(1), data(1, b"goes on"))
                assert await echoed(other, 1) == b"goes on"

    asyncio.run(body())


def test_long_trailers_take_several_frames() -> None:
    """More than the other side takes in one."""
    long = headers.block([("why", "x" * 40_000)])
    sent = header_frame(1, long, frames.MAX_FRAME_BYTES, last=True)
    assert sent[3] == Kind.HEADERS
    assert sent.count(b"x") == 40_000
