"""What lets clients' retry policies try again.

Ray has no settings for it. But it runs the functions of `grpc_servicer_functions` where its gRPC servers start, in
each proxy, and behind HAProxy in each replica: `prepare` is the first of them.

1. gRPC clients try a call again only where no answer has begun. Ray sets an error's code and returns a message,
   which goes out before the code, empty as it is. Here the error goes out alone.
2. A stream whose caller takes no results ends with a status, and not with a task of which gRPC hears nothing.
3. A replica may die while it answers. Ray's proxy then says INTERNAL, or 500, with the actor's class, process and
   address, and no policy tries INTERNAL again. Here it is UNAVAILABLE, or 503, with a fixed sentence. Behind
   HAProxy nobody says anything: there a broken connection is a broken connection.

See docs/decisions/0002-two-ingress-modes.md for what else stands on internals of Ray.
"""

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from functools import wraps
from typing import Any

import grpc
from ray.exceptions import RayActorError
from ray.serve._private.proxy_request_response import ResponseStatus, gRPCStreamingType

from forecast_grpc import endings
from forecast_grpc.routing.haproxy import haproxy_enabled

MESSAGE = "The replica that was to answer is gone; try again."

_HTTP_UNAVAILABLE: Any = 503  # Ray says text, and passes numbers.

Judge = Callable[..., ResponseStatus]
"""From an exception, the time limit and the request id to what the caller gets."""

Handler = Callable[[Any, Any], Awaitable[bytes]]
"""A unary method: from the request and the context to the serialised answer."""

StreamHandler = Callable[[Any, Any], AsyncGenerator[bytes, None]]
"""A method of streams: from the requests and the context to the serialised answers."""


def prepare(_servicer: object, server: Any) -> None:  # noqa: ANN401 - Ray's gRPC server, which has no public type
    """For `grpc_servicer_functions`, before all others: adds no service, changes how those that follow fail."""
    server.service_handler_factory = ending_well(server.service_handler_factory)
    if haproxy_enabled():
        return
    # Not above: a replica behind HAProxy has no use for all that comes with the proxy.
    from ray.serve._private import proxy  # noqa: PLC0415

    ours: Any = proxy
    ours.get_grpc_response_status = judging(ours.get_grpc_response_status, grpc.StatusCode.UNAVAILABLE)
    ours.get_http_response_status = judging(ours.get_http_response_status, _HTTP_UNAVAILABLE)


def ending_well(factory: Callable[..., Any]) -> Callable[..., Any]:
    """Ray's factory of method handlers, whose calls end as in `endings`."""

    @wraps(factory)
    def made(service_method: str, streaming_type: gRPCStreamingType) -> Any:  # noqa: ANN401 - a handler of that kind
        handler = factory(service_method=service_method, streaming_type=streaming_type)
        if streaming_type is gRPCStreamingType.UNARY_UNARY:
            return _unary(handler)
        return _streams(handler) if streaming_type is gRPCStreamingType.STREAM_STREAM else handler

    return made


def _unary(handler: Handler) -> Handler:
    async def handled(request: Any, context: Any) -> bytes:  # noqa: ANN401 - gRPC's, without public types
        answer = await handler(request, context)
        if endings.failed(context):
            await endings.end(context)
        return answer

    return handled


def _streams(handler: StreamHandler) -> Callable[[Any, Any], Awaitable[None]]:
    async def handled(requests: Any, context: Any) -> None:  # noqa: ANN401
        async with aclosing(handler(requests, context)) as answers:
            await endings.write(answers, context)
        if endings.failed(context):
            await endings.end(context)

    return handled


def judging(judge: Judge, code: grpc.StatusCode) -> Judge:
    """The judge, but for replicas that are gone; the same one where it knows of them already."""
    if getattr(judge, "knows_lost_replicas", False):
        return judge

    def judged(exc: BaseException, *facts: Any) -> ResponseStatus:  # noqa: ANN401 - what Ray passes to the judge
        status = judge(exc, *facts)
        if isinstance(exc, RayActorError):
            return ResponseStatus(code=code, is_error=True, message=MESSAGE)
        return status

    judged.knows_lost_replicas = True  # type: ignore[attr-defined]  # a function has room for it
    return judged
