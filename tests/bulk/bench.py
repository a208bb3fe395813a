"""Batches and streams on a real store, in this process."""

import json
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from forecast_grpc import artefact, wire
from forecast_grpc.bulk import BulkEngine
from forecast_grpc.call import Call
from forecast_grpc.domain import RequestLimits
from forecast_grpc.engine import Engine
from forecast_grpc.errors import ForecastError
from forecast_grpc.items import BulkLimits
from forecast_grpc.loading import HotModel, HotSet, LoadLimits, ModelCache, ModelLoader
from forecast_grpc.store import FolderStore
from forecast_grpc.telemetry import Telemetry
from forecast_grpc.v1 import forecast_pb2 as pb
from forecast_grpc.wire.batches import error_to_proto
from tests import stores
from tests.loading.fake_store import GatedStore
from tests.telemetry.fake_sink import ListSink

LIMITS = RequestLimits(
    max_sequence_length=1_000,
    max_horizon=100,
    max_quantile_levels=3,
    max_covariates=3,
    max_covariate_values=600,
)


def item(customer: str, *values: float, tag: str = "", **fields: Any) -> pb.ForecastItem:
    """One item."""
    request = pb.ForecastRequest(sequence_data=values, **fields)
    return pb.ForecastItem(tag=tag, customer_id=customer, request=request)


@dataclass(slots=True, kw_only=True)
class Bench:
    """An engine for batches and streams, and all that it stands on."""

    store: GatedStore
    cache: ModelCache
    bulk: BulkEngine
    sink: ListSink
    calls: list[Call] = field(default_factory=list)

    async def batch(
        self, items: Iterable[pb.ForecastItem], customer: str = "", **fields: Any
    ) -> list[pb.ForecastResult]:
        """The results of a batch. Raises the error of the call as a whole."""
        self.calls.append(Call(protocol="grpc", request_id="a-batch"))
        request = pb.BatchForecastRequest(items=items, **fields)
        decode = partial(wire.order_from_proto, request, self.bulk.limits, customer)
        outcome = await self.bulk.batch(self.calls[-1], decode, wire.results_to_proto)
        if isinstance(outcome, ForecastError):
            raise outcome
        return list(wire.batch_response(outcome).results)

    async def stream(self, requests: AsyncIterator[Sequence[pb.ForecastItem]]) -> AsyncGenerator[Any, None]:
        """The messages of a stream; at last the error that ended it, if one did."""
        self.calls.append(Call(protocol="grpc", request_id="a-stream"))
        messages = (
            wire.items_from_proto(pb.StreamForecastRequest(items=items), self.bulk.limits, "")
            async for items in requests
        )
        stream = self.bulk.stream(self.calls[-1], messages, wire.results_to_proto)
        async with aclosing(stream) as outcomes:
            async for outcome in outcomes:
                yield outcome if isinstance(outcome, ForecastError) else wire.stream_response(outcome)

    async def unary(self, asked: pb.ForecastItem) -> pb.ForecastResult:
        """What a request of its own is answered with, as a result."""
        call = Call(protocol="grpc", request_id="a-batch")
        decode = partial(wire.query_from_proto, asked.request, LIMITS)
        outcome = await self.bulk.engine.forecast(call, asked.customer_id, decode)
        if isinstance(outcome, ForecastError):
            return pb.ForecastResult(tag=asked.tag, error=error_to_proto(outcome))
        return pb.ForecastResult(tag=asked.tag, response=wire.answer_to_proto(outcome))

    def lines(self, event: str) -> list[dict[str, Any]]:
        """The lines of the log about such an event."""
        self.bulk.engine.telemetry.flush()
        lines = [json.loads(line) for line in "\n".join(self.sink.lines).splitlines()]
        return [line for line in lines if line["event"] == event]


def bench(folder: Path, decode: Any = artefact.decode, patience_s: float = 60.0, **changes: Any) -> Bench:
    """A bench on the store of all tests; `changes` are those of the limits."""
    root = folder / "store"
    store = GatedStore(stores.build(root) if not root.exists() else FolderStore(root))
    sink, cache = ListSink(), ModelCache(2**20)
    telemetry = Telemetry(sink=sink, log=sink.lines.append, log_requests=True, facts={}, gauges=dict)
    loading = LoadLimits(
        max_concurrent=64,
        max_concurrent_refreshes=4,
        max_waiting=1_000,
        store_timeout_s=30.0,
        request_timeout_s=30.0,
        refresh_interval_s=100.0,
        not_found_ttl_s=100.0,
        failed_ttl_s=100.0,
        max_remembered_failures=100,
    )
    loader = ModelLoader(store=store, decode=decode, cache=cache, telemetry=telemetry, limits=loading)

    async def get_model(customer_id: str) -> HotModel:
        return hot.admit(customer_id)

    hot = HotSet(loader=loader, cache=cache, telemetry=telemetry, get_model=get_model)
    engine = Engine(replica="r", limits=LIMITS, hot=hot, telemetry=telemetry)
    limits: dict[str, Any] = {"max_batch_items": 2_000, "max_batch_values": 100_000, "max_stream_items": 10}
    bulk = BulkEngine(
        engine=engine,
        limits=BulkLimits(item=LIMITS, **(limits | changes)),
        limit_s=30.0,
        max_loads=8,
        patience_s=patience_s,
    )
    return Bench(store=store, cache=cache, bulk=bulk, sink=sink)
