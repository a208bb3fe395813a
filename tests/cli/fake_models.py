"""A small server of ModelService: the RPCs themselves, over two replicas' parts on a real store, without Ray."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from threading import Thread
from types import SimpleNamespace
from typing import Any

import grpc

from forecast_grpc import artefact
from forecast_grpc.administration import Administration
from forecast_grpc.fleet import LocalModels
from forecast_grpc.loading import AccessLog, LoadLimits, ModelCache, ModelLoader
from forecast_grpc.model_service import ModelService
from forecast_grpc.records import ModelServiceMode
from forecast_grpc.registry import Registry
from forecast_grpc.store import FolderStore
from forecast_grpc.telemetry import Telemetry
from forecast_grpc.v1.model_pb2_grpc import add_ModelServiceServicer_to_server
from tests.fake_fleet import HouseFleet
from tests.fake_usage import usage_of
from tests.telemetry.fake_sink import ListSink

LIMITS = LoadLimits(
    max_concurrent=4,
    max_concurrent_refreshes=4,
    max_waiting=100,
    store_timeout_s=30.0,
    request_timeout_s=30.0,
    refresh_interval_s=10.0,
    not_found_ttl_s=1.0,
    failed_ttl_s=1.0,
    max_remembered_failures=100,
)


class FakeModels(ModelService):
    """The first of two replicas, `r0`, which answers all calls."""

    def __init__(self, store: Path) -> None:
        self.engine = SimpleNamespace(replica="r0")  # type: ignore[assignment]  # all that the RPCs ask of it
        self.address = ""
        """Where it listens."""
        self.accesses = [AccessLog() for _ in range(2)]
        """What each replica remembers of who asks."""
        parts = [
            replica(f"r{number}", FolderStore(store), accesses)
            for number, accesses in enumerate(self.accesses)
        ]
        self._fleet = HouseFleet([local for local, _ in parts])
        self.models = Administration(
            mode=ModelServiceMode.ALL,
            registry=Registry(FolderStore(store), artefact.decode),
            fleet=self._fleet,
            telemetry=parts[0][1],
            limit_s=30.0,
        )

    def silence(self, name: str) -> None:
        """Has a replica answer no more."""
        self._fleet.silent.add(name)


def replica(name: str, store: FolderStore, accesses: AccessLog) -> tuple[LocalModels, Telemetry]:
    """One replica's part. Belongs to the event loop that runs."""
    sink = ListSink()
    telemetry = Telemetry(sink=sink, log=sink.lines.append, log_requests=True, facts={}, gauges=dict)
    loader = ModelLoader(
        store=store, decode=artefact.decode, cache=ModelCache(2**20), telemetry=telemetry, limits=LIMITS
    )
    usage = partial(usage_of, name, accesses)
    return LocalModels(replica=name, loader=loader, journal=telemetry.journal, usage=usage), telemetry


@contextmanager
def serving_models(store: Path) -> Iterator[FakeModels]:
    """The service on a free port of 127.0.0.1, in a thread with an event loop of its own."""
    loop = asyncio.new_event_loop()
    thread = Thread(target=loop.run_forever)
    thread.start()
    service, server = asyncio.run_coroutine_threadsafe(_start(store), loop).result(30)
    try:
        yield service
    finally:
        asyncio.run_coroutine_threadsafe(server.stop(None), loop).result(30)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(30)
        loop.close()


async def _start(store: Path) -> tuple[FakeModels, Any]:
    service, server = FakeModels(store), grpc.aio.server()
    add_ModelServiceServicer_to_server(service, server)  # type: ignore[arg-type]  # it is no subclass of the servicer
    service.address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    await server.start()
    return service, server
