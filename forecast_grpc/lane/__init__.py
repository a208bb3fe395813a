"""The direct lane: calls of forecast.v1.ForecastService past Ray Serve's own request handling.

Behind HAProxy each replica has a gRPC server of its own, whose calls Ray wraps in a request of Ray Serve: as much
work as gRPC itself. Here the same methods of the same service class are registered on that server directly, and
the server is one of ours (`http2`). What Ray's handling did besides is done here, and where any of it cannot be,
calls go Ray's way. See docs/decisions/0009-direct-lane.md.
"""

from typing import Any

from ray import serve
from ray.serve.exceptions import RayServeException

from forecast_grpc.lane.calls import DirectCalls
from forecast_grpc.lane.handlers import SERVICE, register
from forecast_grpc.lane.port import take_ports
from forecast_grpc.lane.replica import LaneUnavailable, RayReplica
from forecast_grpc.rpc import Rpcs

__all__ = ["add_forecast_service", "offer"]

_offered: list[Rpcs] = []  # The service of this process: a replica has one.
_declined: list[str] = []  # Why its server is gRPC's own.


def offer(service: Rpcs) -> None:
    """Has the direct lane call this service once Ray starts the gRPC server of its replica."""
    _offered[:] = [service]
    _declined.clear()
    take_ports(_known, _declined.append)


def add_forecast_service(servicer: Any, server: Any) -> None:  # noqa: ANN401 - Ray's own
    """Registers forecast.v1.ForecastService: for `grpc_servicer_functions`.

    Ray calls this with a servicer that nobody ever calls and a server that replaces each method by Ray's handling.
    In a replica whose service has been offered the direct lane takes its place.
    """
    register(_direct(server) or servicer, server)


def _direct(server: Any) -> DirectCalls | None:  # noqa: ANN401
    if not _offered or not _inside_a_replica():
        return None
    (service,) = _offered
    telemetry = service.engine.telemetry
    try:
        replica = RayReplica(server)
        calls = DirectCalls(SERVICE, service, replica)
        replica.pass_through(SERVICE.full_name)
    except LaneUnavailable as exc:
        telemetry.lane("ordinary", str(exc))
        return None
    telemetry.lane("direct", "; ".join(_declined) or None)
    return calls


def _known(server: Any) -> bool:  # noqa: ANN401
    """Whether this server is one whose calls take the direct lane."""
    if not _offered or not _inside_a_replica():
        return False
    try:
        RayReplica(server)
    except LaneUnavailable:
        return False
    return True


def _inside_a_replica() -> bool:
    try:
        serve.get_replica_context()
    except RayServeException:
        return False
    return True
