"""Ray Serve's replica, as far as the direct lane stands on it: the only place that knows these internals of Ray.

Calls of the lane take their places among Ray's own: the same limit of requests at a time, the same queue, the same
count. So back-pressure, the autoscaler's signal and draining see them without any work of ours, together with the
requests over HTTP and from handles, which go on coming Ray's way.
"""

import asyncio
import inspect
from typing import Any

from ray.serve._private.common import RequestMetadata, RequestProtocol
from ray.serve._private.tracing_utils import is_tracing_enabled


class LaneUnavailable(Exception):
    """The direct lane cannot be had here; the message says why."""


class RayReplica:
    """The replica that a gRPC server of Ray's belongs to."""

    def __init__(self, server: Any) -> None:  # noqa: ANN401 - Ray's own
        """Raises LaneUnavailable where this is not the Ray that we know."""
        self._metadata = RequestMetadata(
            request_id="",
            internal_request_id="",
            _request_protocol=RequestProtocol.GRPC,
            is_direct_ingress=True,
        )
        try:
            self._server = server
            # `routing.retryable` has wrapped it.
            self._replica = inspect.unwrap(server.service_handler_factory).__self__
            self._semaphore, self._counts = self._replica._semaphore, self._replica._metrics_manager
            self.application: str = self._replica._deployment_id.app_name
            """The Serve application."""
            self.timeout_s: float | None = self._replica._grpc_options.request_timeout_s
            """`grpc_options.request_timeout_s`, in seconds; None for no limit."""
            self._prove()
        except LaneUnavailable:
            raise
        except Exception as exc:
            raise LaneUnavailable(f"Ray's replica is not the one that we know: {exc!r}") from exc

    def pass_through(self, service: str) -> None:
        """Has the handlers of this service, registered from now on, called as they are."""
        try:
            self._server.add_passthrough_service(service)
        except Exception as exc:
            raise LaneUnavailable(f"Ray's gRPC server lets nothing pass: {exc!r}") from exc

    @property
    def full(self) -> bool:
        """Whether as many requests as may wait do so already."""
        return not self._replica._can_accept_request(self._metadata)

    def enter_at_once(self) -> bool:
        """Takes a place among the requests that are being handled, if there is one: then True."""
        semaphore = self._semaphore
        if semaphore.locked():
            return False
        # What its `acquire` does in this case, without a coroutine.
        semaphore._value += 1
        self._counts.inc_num_ongoing_requests(self._metadata)
        return True

    async def enter(self) -> None:
        """Takes a place, and waits in Ray's queue for one where all are taken."""
        self._replica._num_queued_requests += 1
        try:
            await self._semaphore.acquire()
        finally:
            self._replica._num_queued_requests -= 1
        self._counts.inc_num_ongoing_requests(self._metadata)

    def leave(self) -> None:
        """Gives the place back."""
        self._counts.dec_num_ongoing_requests(self._metadata)
        self._semaphore.release()

    def _prove(self) -> None:
        """Tries what the others do. Raises LaneUnavailable, or whatever else comes of it."""
        if is_tracing_enabled():
            raise LaneUnavailable("Ray's tracing is on, which sees only what goes Ray's way")
        if self._replica._user_callable_wrapper.event_loop is not asyncio.get_running_loop():
            raise LaneUnavailable("Ray runs the service in a thread of its own")
        kinds = [
            type(each) for each in (self._semaphore.locked(), self.full, self._replica._num_queued_requests)
        ]
        before, entered = self._taken(), self.enter_at_once()
        during = self._taken()
        self.leave()
        counted = [now - then for now, then in zip(during, before, strict=True)]
        waits = asyncio.iscoroutinefunction(self._semaphore.acquire)
        known = (kinds, counted, waits, entered) == ([bool, bool, int], [1, 1], True, True)
        if not known or self._taken() != before:
            raise LaneUnavailable("Ray counts its requests in another way")

    def _taken(self) -> tuple[int, int]:
        """Requests under way as Ray tells it, and the places that are taken."""
        return self._replica.get_num_ongoing_requests(), self._semaphore._value
