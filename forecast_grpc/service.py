"""The Serve deployment: a short method an RPC, the HTTP door, and the multiplexed loader."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from functools import partial
from typing import Any

import grpc
from fastapi import FastAPI
from grpc_health.v1.health_pb2 import (  # type: ignore[attr-defined]  # types-grpcio has no List yet
    HealthCheckRequest,
    HealthCheckResponse,
    HealthListRequest,
    HealthListResponse,
)
from ray import serve
from ray.serve.grpc_util import RayServegRPCContext

from forecast_grpc import http, wire
from forecast_grpc.config import Settings
from forecast_grpc.engine import Call, Engine
from forecast_grpc.errors import ForecastError
from forecast_grpc.loading import HotModel
from forecast_grpc.v1.forecast_pb2 import DESCRIPTOR, ForecastRequest, ForecastResponse

GetModel = Callable[[str], Awaitable[HotModel]]
Compose = Callable[[Settings, str, GetModel], Engine]
"""From the settings, the replica's name and the multiplexed loader to an engine; see `app.compose`."""

_SERVING = HealthCheckResponse(status=HealthCheckResponse.SERVING)
_UNKNOWN = HealthCheckResponse(status=HealthCheckResponse.SERVICE_UNKNOWN)
_SERVICES = frozenset({"", *(service.full_name for service in DESCRIPTOR.services_by_name.values())})


@serve.ingress()
class _Doors:
    """A deployment class with an HTTP door, which Ray asks for once the replica has been put together."""

    engine: Engine

    def __serve_build_asgi_app__(self) -> FastAPI:
        return http.build_app(self.engine)


class ForecastingService(_Doors):
    """One replica: forecasts for every customer that is routed to it."""

    async def __init__(self, settings: Settings, compose: Compose) -> None:  # type: ignore[misc]  # Ray awaits it
        """Puts the replica together and warms the customers that it was told to warm or to keep."""

        @serve.multiplexed(max_num_models_per_replica=settings.max_hot_models)  # type: ignore[untyped-decorator]
        async def get_model(customer_id: str) -> HotModel:
            # The model is loaded by now, and this takes microseconds: see `loading.hot`.
            return self.engine.hot.admit(customer_id)

        replica = serve.get_replica_context().replica_id.unique_id
        self.engine = compose(settings, replica, get_model)
        self._flushing = asyncio.create_task(self.engine.telemetry.run())
        await self.engine.prewarm(settings.pinned + settings.prewarm)
        await super().__init__()  # type: ignore[misc]  # what Ray's decorator made of `_Doors`

    def __del__(self) -> None:
        """Ray calls this when the last request has been answered, and Python perhaps once more."""
        # An error in __init__ leaves no engine.
        if engine := getattr(self, "engine", None):
            engine.telemetry.flush()

    # --- forecast.v1.ForecastService ---

    async def Forecast(  # noqa: N802 - the RPC's name
        self, request: ForecastRequest, grpc_context: RayServegRPCContext | None = None
    ) -> ForecastResponse:
        """Forecasts one series with the model of the customer in the metadata `multiplexed_model_id`."""
        call = self._call(grpc_context)
        decode = partial(wire.query_from_proto, request, self.engine.limits)
        outcome = await self.engine.forecast(call, serve.get_multiplexed_model_id(), decode)
        if isinstance(outcome, ForecastError):
            self._fail(call, outcome, grpc_context)
            return ForecastResponse()
        self._succeed(call, grpc_context)
        return wire.answer_to_proto(outcome)

    # --- grpc.health.v1.Health ---

    async def Check(  # noqa: N802 - the RPC's name
        self, request: HealthCheckRequest, grpc_context: RayServegRPCContext
    ) -> HealthCheckResponse:
        """Whether the server ("") or one of its services is serving."""
        if request.service in _SERVICES:
            return _SERVING
        grpc_context.set_code(grpc.StatusCode.NOT_FOUND)
        grpc_context.set_details("There is no such service here.")
        return HealthCheckResponse()

    async def List(  # noqa: N802 - the RPC's name
        self,
        request: HealthListRequest,  # noqa: ARG002 - it has no fields
        grpc_context: RayServegRPCContext,  # noqa: ARG002 - Ray passes it to every RPC of this signature
    ) -> HealthListResponse:
        """The state of the server ("") and of each of its services."""
        return HealthListResponse(statuses=dict.fromkeys(_SERVICES, _SERVING))

    async def Watch(  # noqa: N802 - the RPC's name
        self,
        request: HealthCheckRequest,
        grpc_context: RayServegRPCContext,  # noqa: ARG002 - Ray passes it to every RPC of this signature
    ) -> AsyncIterator[HealthCheckResponse]:
        """As `Check`, and then stays open: a replica serves for as long as it lives."""
        yield _SERVING if request.service in _SERVICES else _UNKNOWN
        await asyncio.Event().wait()

    # --- from Python, by a deployment handle ---

    async def __call__(self, *args: Any) -> Any:  # noqa: ANN401 - Ray's HTTP calls and two kinds of request
        """Answers `handle.options(multiplexed_model_id=...).remote(request)`; Ray's HTTP calls pass through too.

        The request is a mapping as in the JSON body, answered by a dict, or a ForecastRequest, answered by a
        ForecastResponse. Raises ForecastError.
        """
        if len(args) != 1:
            return await super().__call__(*args)  # type: ignore[misc]  # what Ray's decorator made of `_Doors`
        request = args[0]
        if isinstance(request, ForecastRequest):
            return await self.Forecast(request)
        call = self._call(None)
        decode = partial(wire.query_from_mapping, request, self.engine.limits)
        outcome = await self.engine.forecast(call, serve.get_multiplexed_model_id(), decode)
        if isinstance(outcome, ForecastError):
            raise outcome
        return wire.answer_to_json(outcome)

    # --- what the methods share ---

    def _call(self, grpc_context: RayServegRPCContext | None) -> Call:
        if grpc_context is None:
            return Call(protocol="handle", request_id=str(uuid.uuid4()))
        # Ray puts the request id into the trailing metadata before it calls us, new or the caller's own.
        request_id = next(
            (value for key, value in grpc_context.trailing_metadata() if key == "request_id"), ""
        )
        return Call(protocol="grpc", request_id=request_id)

    def _provenance(self, call: Call) -> list[tuple[str, Any]]:  # text, or bytes under a name in -bin
        provenance: list[tuple[str, Any]] = [("forecast-replica", self.engine.replica)]
        if call.tier is not None:
            provenance.append(("forecast-cache", call.tier.value))
        return provenance

    def _succeed(self, call: Call, grpc_context: RayServegRPCContext | None) -> None:
        if grpc_context is not None:
            grpc_context.set_trailing_metadata(self._provenance(call))

    def _fail(self, call: Call, error: ForecastError, grpc_context: RayServegRPCContext | None) -> None:
        if grpc_context is None:
            raise error
        grpc_context.set_code(_GRPC_CODES[error.code])
        grpc_context.set_details(error.message)
        trailing = self._provenance(call)
        trailing.append(("grpc-status-details-bin", wire.error_to_status(error)))
        grpc_context.set_trailing_metadata(trailing)


_GRPC_CODES: Mapping[int, grpc.StatusCode] = {code.value[0]: code for code in grpc.StatusCode}
