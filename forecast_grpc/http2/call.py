"""One call, from its headers to its trailers."""

import asyncio
import logging
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any, Protocol

import grpc

from forecast_grpc.http2 import headers
from forecast_grpc.http2.context import Aborted, Context, Metadata
from forecast_grpc.http2.faults import RpcFault
from forecast_grpc.http2.frames import Reason, reset, window_update
from forecast_grpc.http2.messages import ENCODINGS, PREFIX, Messages
from forecast_grpc.http2.requests import Requests
from forecast_grpc.http2.sending import Line, Sender, header_frame

STREAM_WINDOW_BYTES = 2**22
"""What a caller may have sent on a stream before its method has read it.

HAProxy reads none of our frames, nor those that give room, while it holds answers that their caller does not take.
It holds 64 KiB of them. The requests for more than that have to fit in here, so that the method hears of it, whose
answers find no room any more. Otherwise it would wait for requests, and HAProxy for room.
"""

_HEAD = headers.ANSWER + headers.block([("grpc-accept-encoding", ", ".join(["identity", *ENCODINGS]))])
_FINE = headers.block([("grpc-status", "0")])

logger = logging.getLogger(__name__)


class CallLine(Line, Protocol):
    """The connection, as calls know it."""

    peer: str
    """Who calls."""

    def forget(self, stream_id: int) -> None:
        """This call is over."""
        ...


class Call(Context):
    """A stream of a connection. To its method it is the context."""

    __slots__ = (
        "_begun",
        "_credit",
        "_handler",
        "_line",
        "_loop",
        "_messages",
        "_out",
        "_request",
        "_requests",
        "_task",
        "_timer",
        "_whole",
        "over",
    )

    def __init__(
        self,
        line: CallLine,
        out: Sender,
        *,
        handler: Any,  # noqa: ANN401 - a grpc.RpcMethodHandler, whose attributes have no types
        metadata: Metadata,
        messages: Messages,
        timeout_s: float | None,
    ) -> None:
        self._loop = loop = asyncio.get_running_loop()
        super().__init__(metadata, line.peer, None if timeout_s is None else loop.time() + timeout_s)
        self._line, self._out, self._handler, self._messages = line, out, handler, messages
        self._credit = 0  # Bytes that came, for which the caller has not been given room again.
        self._request: bytes | None = None
        self._requests: Requests | None = None
        self._task: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._begun = self._whole = False
        self.over = False
        """Whether nothing more comes or goes."""
        if self._deadline is not None:
            self._timer = loop.call_at(self._deadline, self._expire)
        if handler.request_streaming:
            self._requests = Requests(self._open, self._grant)
            self._start(self._requests)

    # --- what the connection tells ---

    def receive(self, data: bytes, size: int, *, end: bool) -> None:
        """A piece of the messages, for which so many bytes were sent; the last one, or not."""
        self._credit += size
        try:
            self._take(self._messages.feed(data) if data else [])
            if end:
                self._end()
            else:
                self._grant()
        except RpcFault as fault:
            self._cut(fault.code, fault.details)

    def room(self, size: int) -> None:
        """The caller takes so many bytes more."""
        self._out.window += size

    def flush(self) -> None:
        """Sends what there is room for."""
        if self._out.flush():
            self._close()

    def wake(self) -> None:
        """The kernel takes more."""
        self._out.wake()

    def lost(self) -> None:
        """The caller has left, or cannot be reached any more."""
        self._forget()
        if self._task is not None:
            self._task.cancel()

    def stop(self) -> None:
        """The server stops, and does not wait for this call."""
        self._cut(grpc.StatusCode.UNAVAILABLE, "The server stops; try again.")

    # --- what comes from the caller ---

    def _take(self, messages: list[bytes]) -> None:
        if self._requests is not None:
            self._requests.add(messages)
        elif messages:
            if self._request is not None or len(messages) > 1:
                raise RpcFault(grpc.StatusCode.INTERNAL, "More than one message for a method that takes one.")
            (self._request,) = messages

    def _end(self) -> None:
        self._whole = True
        if not self._messages.whole:
            raise RpcFault(grpc.StatusCode.INTERNAL, "The last message is cut off.")
        if self._requests is not None:
            self._requests.end()
        elif self._request is None:
            raise RpcFault(grpc.StatusCode.INTERNAL, "No message for a method that takes one.")
        else:
            self._start(self._open(self._request))

    def _open(self, message: bytes) -> Any:  # noqa: ANN401 - the method's own type
        deserialize = self._handler.request_deserializer
        if deserialize is None:
            return message
        try:
            return deserialize(message)
        except Exception as exc:
            raise RpcFault(
                grpc.StatusCode.INTERNAL, "The message is not of the type that the method takes."
            ) from exc

    def _grant(self) -> None:
        """Has the caller send on, once the method has read what there was."""
        if self._credit < STREAM_WINDOW_BYTES // 2 or (self._requests and self._requests.waiting):
            return
        self._line.write(window_update(self._out.stream_id, self._credit))
        self._credit = 0

    # --- the method ---

    def _start(self, request: Any) -> None:  # noqa: ANN401
        self._task = self._loop.create_task(self._run(request))

    async def _run(self, request: Any) -> None:  # noqa: ANN401
        body = None
        try:
            body = await self._answer(request)
        except Aborted:
            pass
        except RpcFault as fault:
            self._code, self._details = fault.code, fault.details
        except asyncio.CancelledError:
            if not self._failed:
                self._code, self._details = grpc.StatusCode.CANCELLED, "The call was cancelled."
            self._finish(None)
            raise
        except Exception:
            logger.exception("A method has failed.")
            self._code, self._details = grpc.StatusCode.UNKNOWN, "The method has failed."
        self._finish(body)

    async def _answer(self, request: Any) -> bytes | None:  # noqa: ANN401
        handler = self._handler
        if not handler.response_streaming:
            method = handler.stream_unary if handler.request_streaming else handler.unary_unary
            answer = await method(request, self)
            return None if self._failed else self._packed(answer)
        method = handler.stream_stream if handler.request_streaming else handler.unary_stream
        answers = method(request, self)
        if isinstance(answers, AsyncGenerator):
            async with aclosing(answers):
                async for each in answers:
                    await self.write(each)
        else:
            await answers  # It writes by itself.
        return None

    def _packed(self, answer: Any) -> bytes:  # noqa: ANN401
        serialize = self._handler.response_serializer
        body: bytes = answer if serialize is None else serialize(answer)
        return PREFIX.pack(0, len(body)) + body

    def _expire(self) -> None:
        self._cut(grpc.StatusCode.DEADLINE_EXCEEDED, "The call's deadline has passed.")

    def _cut(self, code: grpc.StatusCode, details: str) -> None:
        """Ends the call with this status, and its method."""
        self._code, self._details = code, details
        if self._out.ended:
            # The method is done. What is left of its answer has found no room until now.
            self._line.write(reset(self._out.stream_id, Reason.CANCEL))
            self._forget()
        elif self._task is None or self._task.done():
            self._finish(None)
        else:
            self._task.cancel()

    # --- what goes to the caller ---

    async def write(self, answer: Any) -> None:  # noqa: ANN401
        """Sends a message of a stream, when there is room for it."""
        if not self.over:
            self._out.send(self._head(), self._packed(answer), None)
            await self._out.sent()

    def _head(self) -> bytes:
        """The frame of headers, unless it has been sent."""
        if self._begun:
            return b""
        self._begun = True
        return header_frame(self._out.stream_id, _HEAD, self._line.max_frame, last=False)

    def _finish(self, body: bytes | None) -> None:
        """Sends an answer, if there is one, and the trailers."""
        if self.over or self._out.ended:
            return
        try:
            trailing = headers.block(self._trailing)
        except Exception:
            logger.exception("What a method set as trailing metadata cannot be sent.")
            self._code, self._details = grpc.StatusCode.INTERNAL, "The answer's metadata cannot be sent."
            trailing, body = b"", None
        trailers = (headers.status(self._code, self._details or "") if self._failed else _FINE) + trailing
        if body is None and not self._begun:
            head, trailers = b"", headers.ANSWER + trailers
        else:
            head = self._head()
        last = header_frame(self._out.stream_id, trailers, self._line.max_frame, last=True)
        if self._out.send(head, body or b"", last):
            self._close()

    def _close(self) -> None:
        """All has been sent."""
        if not self._whole:
            # The caller need not go on.
            self._line.write(reset(self._out.stream_id, Reason.NO_ERROR))
        self._forget()

    def _forget(self) -> None:
        self.over = True
        if self._timer is not None:
            self._timer.cancel()
        if self._requests is not None:
            self._requests.end()
        self._line.forget(self._out.stream_id)
