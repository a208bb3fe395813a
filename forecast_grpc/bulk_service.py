"""The RPCs of forecast.v1.ForecastService that forecast many series at once."""

from collections.abc import AsyncIterator, Callable
from functools import partial

from forecast_grpc import wire
from forecast_grpc.bulk import BulkEngine
from forecast_grpc.rpc import GrpcContext, Rpcs
from forecast_grpc.v1 import forecast_pb2 as pb

Context = GrpcContext | None
"""None where the caller is Python, with a deployment handle."""


class BulkService(Rpcs):
    """The RPCs of a replica that forecast many series at once."""

    bulk: BulkEngine

    async def BatchForecast(  # noqa: N802 - the RPC's name
        self, request: pb.BatchForecastRequest, grpc_context: Context = None
    ) -> pb.BatchForecastResponse:
        """Forecasts many series."""
        call = self._call(grpc_context)
        call.remaining_s = _remaining_s(grpc_context)
        customer_id = self._customer(grpc_context)
        decode = partial(wire.order_from_proto, request, self.bulk.limits, customer_id)
        outcome = await self.bulk.batch(call, decode, wire.results_to_proto)
        return self._answer(call, outcome, wire.batch_response, grpc_context, pb.BatchForecastResponse)

    async def StreamForecast(  # noqa: N802 - the RPC's name
        self, requests: AsyncIterator[pb.StreamForecastRequest], grpc_context: Context = None
    ) -> AsyncIterator[pb.StreamForecastResponse]:
        """Forecasts series as they come."""
        call = self._call(grpc_context)
        customer_id, limits = self._customer(grpc_context), self.bulk.limits
        messages = (wire.items_from_proto(request, limits, customer_id) async for request in requests)
        async for outcome in self.bulk.stream(call, messages, wire.results_to_proto):
            yield self._answer(call, outcome, wire.stream_response, grpc_context, pb.StreamForecastResponse)


def _remaining_s(grpc_context: Context) -> float | None:
    """Seconds until the caller's deadline; None where there is none, or the context, as Ray's, does not say."""
    tell: Callable[[], float | None] | None = getattr(grpc_context, "time_remaining", None)
    return None if tell is None else tell()
