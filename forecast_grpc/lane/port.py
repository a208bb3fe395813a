"""The port of a replica's gRPC server, for our own server in place of gRPC's: see `http2`.

Ray makes a `grpc.aio.Server`, has `default_impl.add_grpc_address` give it its port, registers handlers, starts it,
and stops it in the end. All of that goes on to the server of gRPC's core that it has inside. Here that one is
exchanged before it has a port. So ours has Ray's own handlers too, for health, reflection and `ModelService`.
"""

from collections.abc import Callable
from functools import wraps
from typing import Any

from grpc.aio import Server
from ray.serve._private import constants, default_impl

from forecast_grpc.http2 import GrpcServer


def take_ports(wanted: Callable[[Any], bool], declined: Callable[[str], None]) -> None:
    """From now on has those of Ray's servers that are wanted be ours; `declined` hears why one is not."""
    ray: Any = default_impl
    give: Callable[[Any, str], None] | None = getattr(ray, "add_grpc_address", None)
    if give is None:
        declined("Ray gives servers their ports in another way")
        return
    if hasattr(give, "__wrapped__"):  # By us.
        give = give.__wrapped__

    @wraps(give)
    def add_grpc_address(server: Any, address: str) -> None:  # noqa: ANN401 - Ray's own
        if wanted(server):
            before = getattr(server, "_server", None)
            try:
                server._server = _ours(server)
                give(server, address)
            except RuntimeError:  # The port is taken, and Ray tries another.
                raise
            except Exception as exc:  # noqa: BLE001 - whatever it is, gRPC's own has no part in it
                declined(f"gRPC's server is not the one that we know: {exc!r}")
                server._server = before
            else:
                return
        give(server, address)

    ray.add_grpc_address = add_grpc_address


def _ours(server: Any) -> GrpcServer:  # noqa: ANN401
    if not isinstance(server, Server):
        raise TypeError(f"{type(server).__name__} is no grpc.aio.Server")
    core: Any = vars(server)["_server"]
    asked = {name for name in dir(core) if not name.startswith("_")} - {"add_secure_port"}
    if missing := sorted(asked - set(dir(GrpcServer))):
        raise TypeError(f"it has {', '.join(missing)}")
    return GrpcServer(constants.RAY_SERVE_GRPC_MAX_MESSAGE_SIZE)
