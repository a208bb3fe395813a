"""What every RPC method of the deployment needs: who calls, and how an answer or an error leaves."""

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, Protocol, TypeVar

import grpc
from ray import serve

from forecast_grpc import endings
from forecast_grpc.call import Call, new_request_id
from forecast_grpc.domain import CacheTier
from forecast_grpc.engine import Engine
from forecast_grpc.errors import ForecastError

T = TypeVar("T")
R = TypeVar("R")


class GrpcContext(Protocol):
    """What RPC methods ask of a call's context: Ray's `RayServegRPCContext`, or `lane.DirectContext`."""

    def multiplexed_model_id(self) -> str | None:
        """The customer that the caller named."""
        ...

    def trailing_metadata(self) -> Sequence[tuple[str, Any]]:
        """What the caller gets behind the answer; the request id stands in it from the start."""
        ...

    def set_trailing_metadata(self, trailing_metadata: list[tuple[str, Any]], /) -> None:
        """Replaces all of it but the request id."""
        ...

    def set_code(self, code: grpc.StatusCode, /) -> None:
        """The status, where it is not OK."""
        ...

    def set_details(self, details: str, /) -> None:
        """The sentence that goes with the status."""
        ...


class Rpcs:
    """The RPC methods of a replica build on this.

    They set code, details and trailing metadata themselves and raise nothing: an exception that goes through Ray
    Serve loses its details on the way and leaves a traceback in the log for each bad request.
    """

    engine: Engine

    def _call(self, grpc_context: GrpcContext | None) -> Call:
        if grpc_context is None:
            return Call(protocol="handle", request_id=new_request_id())
        return Call(protocol="grpc", request_id=_request_id(grpc_context))

    def _customer(self, grpc_context: GrpcContext | None) -> str:
        """The customer of the request metadata, or of the handle's options."""
        if grpc_context is None:
            customer_id: str = serve.get_multiplexed_model_id()
            return customer_id
        return grpc_context.multiplexed_model_id() or ""

    def refuse(self, error: ForecastError, grpc_context: GrpcContext) -> None:
        """Ends a call outside of its method, with an error that is counted and logged as those from within."""
        call = self._call(grpc_context)
        self.engine.refused(call, self._customer(grpc_context), error)
        self._fail(call, error, grpc_context)

    def _answer(
        self,
        call: Call,
        outcome: T | ForecastError,
        encode: Callable[[T], R],
        grpc_context: GrpcContext | None,
        empty: Callable[[], R],
    ) -> R:
        """What the RPC returns: the outcome encoded, or an empty message beside the error's status."""
        if isinstance(outcome, ForecastError):
            self._fail(call, outcome, grpc_context)
            return empty()
        if grpc_context is not None:
            grpc_context.set_trailing_metadata(self._provenance(call))
        return encode(outcome)

    def _fail(self, call: Call, error: ForecastError, grpc_context: GrpcContext | None) -> None:
        if grpc_context is None:
            raise error
        endings.fail(error, grpc_context, self._provenance(call))

    def _provenance(self, call: Call) -> list[tuple[str, Any]]:  # text, or bytes under a name in -bin
        return list(_provenance(self.engine.replica, call.tier))


@lru_cache(maxsize=8)
def _provenance(replica: str, tier: CacheTier | None) -> tuple[tuple[str, str], ...]:
    named = ("forecast-replica", replica)
    return (named,) if tier is None else (named, ("forecast-cache", str(tier)))


def _request_id(grpc_context: GrpcContext) -> str:
    """New or the caller's own: it has been put into the trailing metadata before a method is called."""
    for key, value in grpc_context.trailing_metadata():
        if key == "request_id":
            return str(value)
    return ""
