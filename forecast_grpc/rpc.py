"""What every RPC method of the deployment needs: who calls, and how an answer or an error leaves."""

import uuid
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import grpc
from ray.serve.grpc_util import RayServegRPCContext

from forecast_grpc import wire
from forecast_grpc.call import Call
from forecast_grpc.engine import Engine
from forecast_grpc.errors import ForecastError

T = TypeVar("T")
R = TypeVar("R")


class Rpcs:
    """The RPC methods of a replica build on this.

    They set code, details and trailing metadata themselves and raise nothing: an exception that goes through Ray
    Serve loses its details on the way and leaves a traceback in the log for each bad request.
    """

    engine: Engine

    def _call(self, grpc_context: RayServegRPCContext | None) -> Call:
        if grpc_context is None:
            return Call(protocol="handle", request_id=str(uuid.uuid4()))
        # Ray puts the request id into the trailing metadata before it calls us, new or the caller's own.
        request_id = next(
            (value for key, value in grpc_context.trailing_metadata() if key == "request_id"), ""
        )
        return Call(protocol="grpc", request_id=request_id)

    def _answer(
        self,
        call: Call,
        outcome: T | ForecastError,
        encode: Callable[[T], R],
        grpc_context: RayServegRPCContext | None,
        empty: Callable[[], R],
    ) -> R:
        """What the RPC returns: the outcome encoded, or an empty message beside the error's status."""
        if isinstance(outcome, ForecastError):
            self._fail(call, outcome, grpc_context)
            return empty()
        if grpc_context is not None:
            grpc_context.set_trailing_metadata(self._provenance(call))
        return encode(outcome)

    def _fail(self, call: Call, error: ForecastError, grpc_context: RayServegRPCContext | None) -> None:
        if grpc_context is None:
            raise error
        grpc_context.set_code(_GRPC_CODES[error.code])
        grpc_context.set_details(error.message)
        trailing = self._provenance(call)
        trailing.append(("grpc-status-details-bin", wire.error_to_status(error)))
        grpc_context.set_trailing_metadata(trailing)

    def _provenance(self, call: Call) -> list[tuple[str, Any]]:  # text, or bytes under a name in -bin
        provenance: list[tuple[str, Any]] = [("forecast-replica", self.engine.replica)]
        if call.tier is not None:
            provenance.append(("forecast-cache", call.tier.value))
        return provenance


_GRPC_CODES: Mapping[int, grpc.StatusCode] = {code.value[0]: code for code in grpc.StatusCode}
