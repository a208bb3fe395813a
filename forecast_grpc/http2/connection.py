"""One connection: frames in, calls, frames out."""

import asyncio
import logging
from collections.abc import Callable
from typing import Any, Protocol

from forecast_grpc.http2 import frames, headers
from forecast_grpc.http2.call import STREAM_WINDOW_BYTES, Call
from forecast_grpc.http2.frames import ConnectionFault, Kind, Reason, Setting
from forecast_grpc.http2.opening import Refusal, opened
from forecast_grpc.http2.reading import FrameReader
from forecast_grpc.http2.sending import Sender

WINDOW_BYTES = 2**24
"""What may be on its way on a connection; what a stream holds back, its own window says."""

MAX_UNSENT_BYTES = 2**22
"""Beyond this a caller who asks and takes no answers is sent away."""

_ANNOUNCED = frames.settings(
    {Setting.INITIAL_WINDOW_SIZE: STREAM_WINDOW_BYTES, Setting.MAX_HEADER_LIST_SIZE: headers.MAX_BYTES}
) + frames.window_update(0, WINDOW_BYTES - frames.FIRST_WINDOW_BYTES)
_LAST_OF_ALL = 2**31 - 1
_GOODBYE = b"goodbye!"  # Eight bytes, as a ping has.

logger = logging.getLogger(__name__)


class Host(Protocol):
    """The server, as its connections know it."""

    max_message_bytes: int
    """The longest message that is taken."""

    connections: set["Connection"]
    """Those that are open."""

    def find(self, path: str) -> Any:  # noqa: ANN401 - a grpc.RpcMethodHandler, or None
        """Who handles a method."""
        ...

    def left(self) -> None:
        """A call, or a connection, is over."""
        ...


class Connection(asyncio.Protocol):
    """Frames in, calls, frames out."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._transport: Any = None
        self._reader, self._headers = FrameReader(), headers.HeaderReader()
        self._closing = self._corked = False
        self._out: list[bytes] = []
        self._newest = 0
        self._stream_window = frames.FIRST_WINDOW_BYTES
        self._received = 0
        self.calls: dict[int, Call] = {}
        """Those that are under way, by the numbers of their streams."""
        self.window = frames.FIRST_WINDOW_BYTES
        self.max_frame = frames.MAX_FRAME_BYTES
        self.paused = False
        self.blocked: set[int] = set()
        self.peer = ""
        self._handlers: dict[int, Callable[[int, int, bytes], None]] = {
            Kind.DATA: self._data,
            Kind.HEADERS: self._open,
            Kind.RST_STREAM: self._reset,
            Kind.SETTINGS: self._settings,
            Kind.PUSH_PROMISE: self._push,
            Kind.PING: self._ping,
            Kind.WINDOW_UPDATE: self._window,
        }

    # --- what the event loop tells ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """What may be sent is said first."""
        self._transport = transport
        self.peer = _peer(transport.get_extra_info("peername"))
        self._host.connections.add(self)
        # Leaves with what answers the first bytes: they are on their way, and one write is enough.
        self._out.append(_ANNOUNCED)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - whatever it was
        """Ends all calls."""
        self._closing = True
        for call in list(self.calls.values()):
            call.lost()
        self._host.connections.discard(self)
        self._host.left()

    def pause_writing(self) -> None:
        """The kernel takes no more."""
        self.paused = True

    def resume_writing(self) -> None:
        """It does again."""
        self.paused = False
        for stream_id in list(self.blocked):
            if call := self.calls.get(stream_id):
                call.wake()

    def data_received(self, data: bytes) -> None:
        """Frames, or parts of them. What is answered at once leaves together."""
        self._corked = True
        try:
            for kind, flags, stream_id, payload in self._reader.read(data):
                # Those of unknown kinds, or that ask nothing of us, are passed over.
                if handle := self._handlers.get(kind):
                    handle(stream_id, flags, payload)
        except ConnectionFault as fault:
            self._hang_up(fault.reason)
        except Exception:
            logger.exception("A connection has failed.")
            self._hang_up(Reason.INTERNAL_ERROR)
        self._corked = False
        if self._out:
            self._send()
        self._close_if_done()

    def write(self, data: bytes) -> None:
        """Sends these bytes, now or as soon as they are taken."""
        self._out.append(data)
        if not self._corked:
            self._send()

    def _send(self) -> None:
        data = b"".join(self._out)
        self._out.clear()
        if not self._transport.is_closing():
            self._transport.write(data)

    # --- what calls and the server tell ---

    def forget(self, stream_id: int) -> None:
        """This call is over."""
        self.calls.pop(stream_id, None)
        self.blocked.discard(stream_id)
        if self._closing:
            self._close_if_done()
        self._host.left()

    def leave(self) -> None:
        """Takes no new calls, but those that are on their way: the ping comes back behind them."""
        self.write(frames.going(_LAST_OF_ALL, Reason.NO_ERROR) + frames.frame(Kind.PING, 0, 0, _GOODBYE))

    def abort(self) -> None:
        """Ends what is under way."""
        self._closing = True
        for call in list(self.calls.values()):
            call.stop()

    def close(self) -> None:
        """Closes when what has been written is sent."""
        self._transport.close()

    def _hang_up(self, reason: Reason) -> None:
        """Says why, and ends all calls: what comes now has no meaning any more."""
        self._out.append(frames.going(self._newest, reason))
        self._closing = True
        for call in list(self.calls.values()):
            call.lost()
        if self.paused:
            # What waits to be sent would wait for ever.
            self._transport.abort()

    def _close_if_done(self) -> None:
        if self._closing and not self.calls and not self._corked:
            self._transport.close()

    # --- frames ---

    def _data(self, stream_id: int, flags: int, payload: bytes) -> None:
        size = len(payload)
        self._received += size
        if self._received >= WINDOW_BYTES // 2:
            self.write(frames.window_update(0, self._received))
            self._received = 0
        call = self.calls.get(stream_id)
        if call is None:
            if stream_id > self._newest or stream_id % 2 == 0:
                raise ConnectionFault(Reason.PROTOCOL_ERROR, "data of no stream")
            return  # It has been answered, and the caller not heard of it.
        if flags & frames.PADDED:
            payload = frames.content(flags & frames.PADDED, payload)
        call.receive(payload, size, end=bool(flags & frames.END_STREAM))

    def _open(self, stream_id: int, flags: int, block: bytes) -> None:
        """A new call, or the trailers of one that is open."""
        fields = self._headers.read(block)
        end = bool(flags & frames.END_STREAM)
        if call := self.calls.get(stream_id):
            call.receive(b"", 0, end=end)
            return
        if stream_id <= self._newest or stream_id % 2 == 0:
            if stream_id % 2 and end:
                return  # Trailers of a call that has been answered.
            raise ConnectionFault(Reason.PROTOCOL_ERROR, "a stream's number comes again")
        self._newest = stream_id
        if self._closing:
            self.write(frames.reset(stream_id, Reason.REFUSED_STREAM))
            return
        sender = Sender(self, stream_id, self._stream_window)
        made = opened(self, sender, self._host, fields)
        if isinstance(made, Refusal):
            self.write(made.frames(stream_id, whole=end))
            return
        self.calls[stream_id] = made
        if end:
            made.receive(b"", 0, end=True)

    def _reset(self, stream_id: int, _flags: int, payload: bytes) -> None:
        _check(payload, 4)
        if call := self.calls.get(stream_id):
            call.lost()

    def _settings(self, _stream_id: int, flags: int, payload: bytes) -> None:
        if flags & frames.ACK:
            return
        told = frames.settings_in(payload)
        self.max_frame = min(told.get(Setting.MAX_FRAME_SIZE, self.max_frame), _MAX_SENT_FRAME)
        window = told.get(Setting.INITIAL_WINDOW_SIZE, self._stream_window)
        for call in self.calls.values():
            call.room(window - self._stream_window)
        self._stream_window = window
        self._answer(frames.frame(Kind.SETTINGS, frames.ACK, 0))
        self._flush()

    def _ping(self, _stream_id: int, flags: int, payload: bytes) -> None:
        _check(payload, 8)
        if not flags & frames.ACK:
            self._answer(frames.frame(Kind.PING, frames.ACK, 0, payload))
        elif payload == _GOODBYE:
            self._closing = True
            self.write(frames.going(self._newest, Reason.NO_ERROR))

    def _window(self, stream_id: int, _flags: int, payload: bytes) -> None:
        _check(payload, 4)
        size = int.from_bytes(payload, "big") & _LAST_OF_ALL
        if stream_id:
            if call := self.calls.get(stream_id):
                call.room(size)
                if stream_id in self.blocked:
                    self.blocked.discard(stream_id)
                    call.flush()
            return
        self.window += size
        if self.window > frames.MAX_WINDOW_BYTES or not size:
            raise ConnectionFault(Reason.FLOW_CONTROL_ERROR, "a window of no size")
        self._flush()

    def _push(self, _stream_id: int, _flags: int, _payload: bytes) -> None:
        raise ConnectionFault(Reason.PROTOCOL_ERROR, "a promise of a caller")

    def _answer(self, data: bytes) -> None:
        """Answers what a caller can ask without an end, as long as he takes the answers."""
        if self.paused and self._transport.get_write_buffer_size() > MAX_UNSENT_BYTES:
            raise ConnectionFault(Reason.ENHANCE_YOUR_CALM, "answers that nobody takes")
        self.write(data)

    def _flush(self) -> None:
        blocked, self.blocked = self.blocked, set()
        for stream_id in blocked:
            if call := self.calls.get(stream_id):
                call.flush()


_MAX_SENT_FRAME = 2**16  # Longer frames of one stream would hold up the others.


def _check(payload: bytes, size: int) -> None:
    if len(payload) != size:
        raise ConnectionFault(Reason.FRAME_SIZE_ERROR, "a frame of another length")


def _peer(name: Any) -> str:  # noqa: ANN401 - whatever the socket says
    """As gRPC writes it, `ipv4:127.0.0.1:50000` or `ipv6:%5B::1%5D:50000`."""
    if not isinstance(name, tuple):
        return "unknown"
    host, port = str(name[0]).removeprefix("::ffff:"), name[1]
    return f"ipv6:%5B{host}%5D:{port}" if ":" in host else f"ipv4:{host}:{port}"
