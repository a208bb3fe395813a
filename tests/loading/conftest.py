"""A loader on a real folder, with a clock that tests move."""

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from forecast_grpc import artefact
from forecast_grpc.loading import AccessLog, LoadLimits, ModelCache, ModelLoader
from forecast_grpc.store import FolderStore
from forecast_grpc.telemetry import Telemetry
from tests.loading.fake_store import GatedStore
from tests.stores import publisher, trend
from tests.telemetry.fake_sink import ListSink


@dataclass(slots=True, kw_only=True)
class Bench:
    """A loader and all that it stands on."""

    store: GatedStore
    cache: ModelCache
    loader: ModelLoader
    telemetry: Telemetry
    sink: ListSink
    accesses: AccessLog = field(default_factory=AccessLog)
    now: list[float] = field(default_factory=lambda: [0.0])

    def publish(self, customer: str, slope: float = 1.0) -> None:
        """Publishes a trend model."""
        self.store.publish(customer, publisher(trend(slope)))

    def count(self, name: str, **tags: str) -> int:
        """What the counter stands at after a flush."""
        self.telemetry.flush()
        return self.sink.counters[name, tuple(sorted(tags.items()))]

    def slope(self, customer: str) -> float:
        """The slope of the customer's model in memory."""
        slot = self.loader.lookup(customer)
        assert slot is not None
        forecast: float = slot.model.forecaster.forecast(slot.model.forecaster.tail, 1)[0]
        return forecast - 100.0


MakeBench = Callable[..., Awaitable[Bench]]


@pytest.fixture
def make_bench(tmp_path: Path) -> MakeBench:
    """Makes a loader; keywords change its limits."""

    async def make(max_warm_bytes: int = 2**20, pinned: Iterable[str] = (), **limits: float) -> Bench:
        defaults: dict[str, float] = {
            "max_concurrent": 4,
            "max_concurrent_refreshes": 4,
            "max_waiting": 1_000,
            "store_timeout_s": 30.0,
            "request_timeout_s": 30.0,
            "refresh_interval_s": 10.0,
            "not_found_ttl_s": 1.0,
            "failed_ttl_s": 1.0,
            "max_remembered_failures": 100,
        }
        now = [0.0]
        sink = ListSink()
        telemetry = Telemetry(
            sink=sink, log=sink.lines.append, log_requests=True, facts={"replica": "r"}, gauges=dict
        )
        store = GatedStore(FolderStore(tmp_path))
        cache = ModelCache(
            max_warm_bytes,
            pinned=frozenset(pinned),
            on_evict=lambda slot: telemetry.evicted(now[0] - slot.used_at),
        )
        loader = ModelLoader(
            store=store,
            decode=artefact.decode,
            cache=cache,
            telemetry=telemetry,
            limits=LoadLimits(**(defaults | limits)),  # type: ignore[arg-type]
            clock=lambda: now[0],
        )
        return Bench(store=store, cache=cache, loader=loader, telemetry=telemetry, sink=sink, now=now)

    return make
