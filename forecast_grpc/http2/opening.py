"""From a stream's headers to its call, or to why there is none."""

from dataclasses import dataclass
from typing import Any, Protocol

import grpc

from forecast_grpc.http2 import frames, headers
from forecast_grpc.http2.call import Call, CallLine
from forecast_grpc.http2.context import Metadata
from forecast_grpc.http2.faults import RpcFault
from forecast_grpc.http2.frames import Reason
from forecast_grpc.http2.messages import Messages
from forecast_grpc.http2.sending import Sender, header_frame

_OF_HTTP = frozenset(
    {":method", ":scheme", ":authority", ":path", "te", "content-type", "grpc-timeout", "grpc-encoding"}
    | {"grpc-accept-encoding", "accept-encoding"}
)


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why there is no call: a status of gRPC's, or of HTTP's where the caller does not speak gRPC."""

    code: grpc.StatusCode | int
    details: str = ""

    def frames(self, stream_id: int, *, whole: bool) -> bytes:
        """What the caller gets; he need not send more, unless he has sent all."""
        if isinstance(self.code, int):
            told = headers.block([(":status", str(self.code))])
        else:
            told = headers.ANSWER + headers.status(self.code, self.details)
        answer = header_frame(stream_id, told, frames.MAX_FRAME_BYTES, last=True)
        return answer if whole else answer + frames.reset(stream_id, Reason.NO_ERROR)


class Methods(Protocol):
    """Who handles what."""

    max_message_bytes: int
    """The longest message that is taken."""

    def find(self, path: str) -> Any:  # noqa: ANN401 - a grpc.RpcMethodHandler, or None
        """Who handles a method."""
        ...


def opened(line: CallLine, sender: Sender, methods: Methods, fields: headers.Fields) -> Call | Refusal:
    """The call that these headers begin."""
    try:
        known, metadata = _apart(fields)
        if not known.get("content-type", "").startswith("application/grpc"):
            return Refusal(415)
        handler = methods.find(known.get(":path", ""))
        if handler is None:
            return Refusal(grpc.StatusCode.UNIMPLEMENTED, "There is no such method here.")
        return Call(
            line,
            sender,
            handler=handler,
            metadata=metadata,
            messages=Messages(known.get("grpc-encoding", "identity"), methods.max_message_bytes),
            timeout_s=headers.seconds(known["grpc-timeout"]) if "grpc-timeout" in known else None,
        )
    except RpcFault as fault:
        return Refusal(fault.code, fault.details)


def _apart(fields: headers.Fields) -> tuple[dict[str, str], Metadata]:
    """What HTTP and gRPC say to each other, and what the caller says to the method. Raises RpcFault."""
    known: dict[str, str] = {}
    metadata: list[tuple[str, Any]] = []
    for name, value in fields:
        if name in _OF_HTTP:
            known[name] = value
        elif name.endswith("-bin"):
            metadata.append((name, headers.binary(name, value)))
        else:
            metadata.append((name, value))
    return known, metadata
