"""A small server of ForecastService: the real wire, store, artefacts and models behind a bare gRPC server.

It stands in for the deployment where a test is about the caller, and answers as it does, without Ray.
"""

from collections.abc import Iterator
from concurrent import futures
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import grpc

from forecast_grpc import artefact
from forecast_grpc.domain import Answer, CacheTier, RequestLimits
from forecast_grpc.errors import ForecastError
from forecast_grpc.forecasting import answer
from forecast_grpc.store import open_store
from forecast_grpc.v1.forecast_pb2 import (
    BatchForecastRequest,
    BatchForecastResponse,
    ForecastItem,
    ForecastRequest,
    ForecastResponse,
    ForecastResult,
)
from forecast_grpc.v1.forecast_pb2_grpc import ForecastServiceServicer, add_ForecastServiceServicer_to_server
from forecast_grpc.wire import answer_to_proto, error_to_status, query_from_proto
from forecast_grpc.wire.batches import error_to_proto

LIMITS = RequestLimits(
    max_sequence_length=10_000,
    max_horizon=1_000,
    max_quantile_levels=100,
    max_covariates=100,
    max_covariate_values=50_000,
)


@dataclass
class FakeService(ForecastServiceServicer):
    """Answers from a store. Keeps the metadata of the calls that came, and the sizes of batches."""

    store: Path
    address: str = ""
    seen: list[dict[str, str | bytes]] = field(default_factory=list)
    batches: list[int] = field(default_factory=list)

    def Forecast(self, request: ForecastRequest, context: grpc.ServicerContext) -> ForecastResponse:  # noqa: N802
        """See the proto."""
        metadata = dict(context.invocation_metadata())
        self.seen.append(metadata)
        trailing: list[tuple[str, str | bytes]] = [
            ("request_id", "request-1"),
            ("forecast-replica", "fake-1"),
            ("forecast-cache", "cold"),
        ]
        try:
            response = self._answer(str(metadata.get("multiplexed_model_id", "")), request)
        except ForecastError as exc:
            context.set_code(getattr(grpc.StatusCode, exc.code.name))
            context.set_details(exc.message)
            trailing.append(("grpc-status-details-bin", error_to_status(exc)))
            response = ForecastResponse()
        context.set_trailing_metadata(tuple(trailing))
        return response

    def BatchForecast(  # noqa: N802
        self,
        request: BatchForecastRequest,
        context: grpc.ServicerContext,
    ) -> BatchForecastResponse:
        """See the proto."""
        self.batches.append(len(request.items))
        return BatchForecastResponse(results=map(self._result, request.items))

    def _result(self, item: ForecastItem) -> ForecastResult:
        try:
            return ForecastResult(tag=item.tag, response=self._answer(item.customer_id, item.request))
        except ForecastError as exc:
            return ForecastResult(tag=item.tag, error=error_to_proto(exc))

    def _answer(self, customer_id: str, request: ForecastRequest) -> ForecastResponse:
        query = query_from_proto(request, LIMITS)
        data = open_store(str(self.store)).read(customer_id, version=query.model_version).data
        model = artefact.decode(data, customer_id)
        result = answer(model, query, max_horizon=LIMITS.max_horizon)
        return answer_to_proto(
            Answer(customer_id=customer_id, result=result, metadata=model.metadata, tier=CacheTier.COLD)
        )


@contextmanager
def serving(store: Path, credentials: grpc.ServerCredentials | None = None) -> Iterator[FakeService]:
    """The service on a free port of 127.0.0.1, which it says in `address`."""
    service = FakeService(store)  # type: ignore[abstract]  # its other RPCs are UNIMPLEMENTED
    server = grpc.server(futures.ThreadPoolExecutor(4))
    add_ForecastServiceServicer_to_server(service, server)
    if credentials is None:
        port = server.add_insecure_port("127.0.0.1:0")
    else:
        port = server.add_secure_port("127.0.0.1:0", credentials)
    service.address = f"127.0.0.1:{port}"
    server.start()
    try:
        yield service
    finally:
        server.stop(None).wait()
