"""The Serve deployment: a short method an RPC, the HTTP door, and the multiplexed loader."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
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

from forecast_grpc import http, lane, wire
from forecast_grpc.administration import Administration
from forecast_grpc.bulk import BulkEngine
from forecast_grpc.bulk_service import BulkService
from forecast_grpc.config import Settings
from forecast_grpc.engine import Engine
from forecast_grpc.errors import ForecastError
from forecast_grpc.fleet import LocalModels
from forecast_grpc.forecasting import pass_over_overflows
from forecast_grpc.loading import Handover, HotModel, look_seldom, put_aside
from forecast_grpc.model_service import ModelService
from forecast_grpc.own_core import OwnCore
from forecast_grpc.records import LaneMode
from forecast_grpc.rpc import GrpcContext
from forecast_grpc.scaling import BUSY, Busyness
from forecast_grpc.v1 import forecast_pb2, model_pb2
from forecast_grpc.v1.forecast_pb2 import ForecastRequest, ForecastResponse


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What a replica is made of."""

    engine: Engine
    """Answers requests for forecasts."""

    bulk: BulkEngine
    """Answers batches and streams of them."""

    models: Administration
    """Answers requests for models."""

    local: LocalModels
    """Answers other replicas."""

    handover: Handover
    """What other replicas have left, and what this one leaves."""


GetModel = Callable[[str], Awaitable[HotModel]]
Compose = Callable[[Settings, str, GetModel], Parts]
"""From the settings, the replica's name and the multiplexed loader to a replica's parts; see `app.compose`."""

_SERVING = HealthCheckResponse(status=HealthCheckResponse.SERVING)
_UNKNOWN = HealthCheckResponse(status=HealthCheckResponse.SERVICE_UNKNOWN)
_SERVICES = frozenset(
    {
        "",
        *(
            service.full_name
            for file in (forecast_pb2.DESCRIPTOR, model_pb2.DESCRIPTOR)
            for service in file.services_by_name.values()
        ),
    }
)


@serve.ingress()
class _Doors:
    """A deployment class with an HTTP door, which Ray asks for once the replica has been put together."""

    engine: Engine
    bulk: BulkEngine
    models: Administration

    def __serve_build_asgi_app__(self) -> FastAPI:
        return http.build_app(self.engine, self.bulk, self.models)


class ForecastingService(_Doors, BulkService, ModelService):
    """One replica: forecasts for every customer that is routed to it, and the model service."""

    async def __init__(self, settings: Settings, compose: Compose) -> None:  # type: ignore[misc]  # Ray awaits it
        """Puts the replica together and warms the customers that it was told to warm or to keep."""

        @serve.multiplexed(max_num_models_per_replica=settings.max_hot_models)  # type: ignore[untyped-decorator]
        async def get_model(customer_id: str) -> HotModel:
            # The model is loaded by now, and this takes microseconds: see `loading.hot`.
            return self.engine.hot.admit(customer_id)

        replica = serve.get_replica_context().replica_id.unique_id
        parts = compose(settings, replica, get_model)
        self.engine, self.bulk = parts.engine, parts.bulk
        self.models, self.local = parts.models, parts.local
        self._busyness = Busyness()
        self._flushing = asyncio.create_task(self.engine.telemetry.run())
        await self.engine.prewarm(settings.pinned + settings.prewarm)
        if settings.handover_timeout_s:
            inherited = await parts.handover.inherited(settings.max_hot_models)
            await self.engine.take_over(inherited, settings.handover_timeout_s)
        self._handover = parts.handover
        self._leaving = asyncio.create_task(self._handover.run())
        self._aging = asyncio.create_task(self.engine.accesses.run())
        if settings.direct_lane is LaneMode.AUTO:
            lane.offer(self)
        else:
            self.engine.telemetry.lane("ordinary", "direct_lane is off")
        if settings.replica_cores:
            self._own_core = OwnCore(settings.replica_cores, self.engine.telemetry.own_core)
            self._moving = asyncio.create_task(self._own_core.run())
        pass_over_overflows()
        # All that a replica consists of is there: no collection needs to look at it.
        put_aside()
        look_seldom()
        await super().__init__()  # type: ignore[misc]  # what Ray's decorator made of `_Doors`

    def __del__(self) -> None:
        """Ray calls this when the last request has been answered, and Python perhaps once more."""
        # An error in __init__ leaves no engine.
        if engine := getattr(self, "engine", None):
            engine.telemetry.flush()
        if handover := getattr(self, "_handover", None):
            handover.leave()

    async def record_autoscaling_stats(self) -> dict[str, float]:
        """What the autoscaling policy learns of this replica; Ray asks."""
        return {BUSY: self._busyness.cores()}

    # --- forecast.v1.ForecastService ---

    async def Forecast(  # noqa: N802 - the RPC's name
        self, request: wire.PlainRequest | ForecastRequest, grpc_context: GrpcContext | None = None
    ) -> wire.EncodedResponse | ForecastResponse:
        """Forecasts one series with the model of the customer in the metadata `multiplexed_model_id`."""
        call = self._call(grpc_context)
        decode = partial(wire.query_from_request, request, self.engine.limits)
        outcome = await self.engine.forecast(call, self._customer(grpc_context), decode)
        if grpc_context is None:
            # Python, with a deployment handle.
            return self._answer(call, outcome, wire.answer_to_proto, None, ForecastResponse)
        return self._answer(call, outcome, wire.answer_to_bytes, grpc_context, wire.EncodedResponse)

    # --- grpc.health.v1.Health ---

    async def Check(  # noqa: N802 - the RPC's name
        self, request: HealthCheckRequest, grpc_context: GrpcContext
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
        grpc_context: GrpcContext,  # noqa: ARG002 - Ray passes it to every RPC of this signature
    ) -> HealthListResponse:
        """The state of the server ("") and of each of its services."""
        return HealthListResponse(statuses=dict.fromkeys(_SERVICES, _SERVING))

    async def Watch(  # noqa: N802 - the RPC's name
        self,
        request: HealthCheckRequest,
        grpc_context: GrpcContext,  # noqa: ARG002 - Ray passes it to every RPC of this signature
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
        outcome = await self.engine.forecast(call, self._customer(None), decode)
        if isinstance(outcome, ForecastError):
            raise outcome
        return wire.answer_to_json(outcome)
