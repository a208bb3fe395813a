"""The engine's start: what is warmed, and what is said of that which cannot be."""

import json
from typing import Any

from forecast_grpc import artefact
from forecast_grpc.domain import RequestLimits
from forecast_grpc.engine import Engine
from forecast_grpc.loading import HotModel, HotSet, LoadLimits, ModelCache, ModelLoader
from forecast_grpc.store import FolderStore
from forecast_grpc.telemetry import Telemetry
from tests.stores import folder_on_no_disk, publisher, trend
from tests.telemetry.fake_sink import ListSink


def engine(store: FolderStore, sink: ListSink, **limits: Any) -> Engine:
    """An engine on this store; its multiplexer holds whatever it is given."""
    cache = ModelCache(2**20)
    telemetry = Telemetry(sink=sink, log=sink.lines.append, log_requests=True, facts={}, gauges=dict)
    defaults: dict[str, Any] = {"max_concurrent": 4, "max_waiting": 10, "store_timeout_s": 30.0}
    defaults |= {"request_timeout_s": 30.0, "refresh_interval_s": 10.0, "max_concurrent_refreshes": 4}
    defaults |= {"not_found_ttl_s": 1.0, "failed_ttl_s": 1.0, "max_remembered_failures": 100}
    loading = LoadLimits(**(defaults | limits))
    loader = ModelLoader(
        store=store, decode=artefact.decode, cache=cache, telemetry=telemetry, limits=loading
    )

    async def get_model(customer_id: str) -> HotModel:
        return hot.admit(customer_id)

    hot = HotSet(loader=loader, cache=cache, telemetry=telemetry, get_model=get_model)
    request = RequestLimits(
        max_sequence_length=10,
        max_horizon=10,
        max_quantile_levels=1,
        max_covariates=1,
        max_covariate_values=10,
    )
    return Engine(replica="r", limits=request, hot=hot, telemetry=telemetry)


async def test_whoever_cannot_be_warmed_is_logged() -> None:
    """Unknown, malformed or too many: each leaves its line, and holds up nobody."""
    # Whoever is at hand waits for nothing.
    with folder_on_no_disk() as folder:
        store, sink = FolderStore(folder), ListSink()
        for name in ("a", "b"):
            store.publish(name, publisher(trend(1.0)))
        made = engine(store, sink, max_waiting=3)
        await made.prewarm(("a", "nobody", "../b", "b", "one-too-many"))
    made.telemetry.flush()
    lines = [json.loads(line) for line in "\n".join(sink.lines).splitlines()]
    failed = {line["customer_id"]: line["reason"] for line in lines if line["event"] == "prewarm_failed"}
    assert failed == {
        "nobody": "MODEL_NOT_FOUND",
        "../b": "CUSTOMER_ID_INVALID",
        "one-too-many": "OVERLOADED",
    }
    assert {line["customer_id"] for line in lines if line["event"] == "model_loaded"} == {"a", "b"}
