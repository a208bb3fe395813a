"""What a method gets as its context: as much of `grpc.aio.ServicerContext` as methods here, and Ray's, ask for."""

import asyncio
from collections.abc import Sequence
from typing import Any, NoReturn

import grpc

Metadata = Sequence[tuple[str, Any]]
"""Keys with text, or with bytes under a name in -bin."""

_FINE = (None, grpc.StatusCode.OK)


class Aborted(Exception):
    """The method has ended its call by `abort`."""


class Context:
    """What is known of a call, and what its method says of the answer."""

    __slots__ = ("_code", "_deadline", "_details", "_metadata", "_peer", "_trailing")

    def __init__(self, metadata: Metadata, peer: str, deadline: float | None) -> None:
        """The deadline is a time of the event loop's clock, in seconds."""
        self._metadata, self._peer, self._deadline = metadata, peer, deadline
        self._code: Any = None
        self._details = ""
        self._trailing: Metadata = ()

    def invocation_metadata(self) -> Metadata:
        """What the caller sent beside the request."""
        return self._metadata

    def peer(self) -> str:
        """Where the caller is, such as `ipv4:127.0.0.1:50000`."""
        return self._peer

    def auth_context(self) -> dict[str, Any]:
        """Nothing: callers do not prove here who they are."""
        return {}

    def peer_identities(self) -> None:
        """None: see `auth_context`."""

    def peer_identity_key(self) -> None:
        """None: see `auth_context`."""

    def time_remaining(self) -> float | None:
        """Seconds until the deadline; None where the caller has set none."""
        if self._deadline is None:
            return None
        return max(0.0, self._deadline - asyncio.get_running_loop().time())

    def code(self) -> grpc.StatusCode | None:
        """The status, if one has been set."""
        code: grpc.StatusCode | None = self._code
        return code

    def set_code(self, code: grpc.StatusCode) -> None:
        """The status, where it is not OK. The answer is not sent then."""
        self._code = code

    def details(self) -> str:
        """The sentence that goes with the status."""
        return self._details

    def set_details(self, details: str) -> None:
        """The sentence that goes with the status."""
        self._details = details

    def trailing_metadata(self) -> Metadata:
        """What goes out behind the answer."""
        return self._trailing

    def set_trailing_metadata(self, trailing_metadata: Metadata) -> None:
        """What goes out behind the answer, in place of what was to go."""
        self._trailing = trailing_metadata

    def set_compression(self, compression: grpc.Compression) -> None:
        """Answers are not compressed: a caller on a slow line asks HAProxy."""

    async def abort(
        self, code: grpc.StatusCode, details: str = "", trailing_metadata: Metadata = ()
    ) -> NoReturn:
        """Ends the call with this status and without an answer. Raises Aborted."""
        self._code, self._details = code, details
        if trailing_metadata:
            self._trailing = trailing_metadata
        raise Aborted

    @property
    def _failed(self) -> bool:
        return self._code not in _FINE
