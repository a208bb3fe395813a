"""A gRPC server on asyncio: HTTP/2 in, method handlers as `grpc.aio` has them, HTTP/2 out.

`grpc.aio` hands each call over from a thread of gRPC's core, and takes a dozen turns of the event loop and 25
calls of the kernel for it: several times what a warm forecast takes. Here a call is read, answered and written
where its bytes come in. See docs/decisions/0018-an-http2-server.md.

Imports nothing of ours: what is registered here knows of `grpc.RpcMethodHandler` and a context, as in `grpc.aio`.
"""

from forecast_grpc.http2.server import GrpcServer

__all__ = ["GrpcServer"]
