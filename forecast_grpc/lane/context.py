"""What an RPC method gets as its context in the direct lane."""

from collections.abc import AsyncIterable, Sequence
from typing import Any

import grpc

from forecast_grpc import endings
from forecast_grpc.call import new_request_id

Metadata = Sequence[tuple[str, Any]]
"""Keys with text, or with bytes under a name in -bin."""


class DirectContext:
    """The context of one call, with those methods of Ray's own that RPC methods use: see `rpc.GrpcContext`.

    As in Ray's, the request id is part of the trailing metadata, whatever is set: the caller's own or a new one.
    """

    __slots__ = ("_context", "_metadata", "request_id")

    def __init__(self, context: Any) -> None:  # noqa: ANN401 - gRPC's, which has no type of its own
        self._context = context
        self._metadata: dict[str, Any] = dict(context.invocation_metadata() or ())
        self.request_id: str = self._metadata.get("request_id") or new_request_id()
        """What the caller gets as `request_id`."""

    def multiplexed_model_id(self) -> str | None:
        """The customer that the caller named."""
        return self._metadata.get("multiplexed_model_id")

    def application(self) -> str | None:
        """The Serve application that the caller named, if any."""
        return self._metadata.get("application")

    def time_remaining(self) -> float | None:
        """Seconds until the caller's deadline; None where the caller has set none."""
        seconds: float | None = self._context.time_remaining()
        return seconds

    def trailing_metadata(self) -> Metadata:
        """What is known of it before the answer: the request id."""
        return (("request_id", self.request_id),)

    def set_trailing_metadata(self, trailing: Metadata) -> None:
        """Beside the request id."""
        self._context.set_trailing_metadata((("request_id", self.request_id), *trailing))

    def failed(self) -> bool:
        """Whether a status other than OK has been set."""
        return endings.failed(self._context)

    async def end(self) -> None:
        """Ends a call that has failed."""
        await endings.end(self._context)

    def set_code(self, code: grpc.StatusCode) -> None:
        """The status: see `end`."""
        self._context.set_code(code)

    def set_details(self, details: str) -> None:
        """The sentence that goes with the status."""
        self._context.set_details(details)

    async def write(self, answers: AsyncIterable[Any]) -> None:
        """Sends the messages of a stream, each when there is room for it."""
        await endings.write(answers, self._context)
