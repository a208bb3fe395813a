"""Where Ray is not the one that the direct lane knows, calls go Ray's way, and the log says why."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ray.serve._private.utils import Semaphore

from forecast_grpc import lane
from forecast_grpc.rpc import Rpcs
from forecast_grpc.store import FolderStore
from tests.loading.test_hot import inside_a_replica
from tests.telemetry.fake_sink import ListSink
from tests.test_engine import engine


class Counts:
    """Ray's count of ongoing requests, as it is; `step` is what a request counts."""

    def __init__(self, step: int = 1) -> None:
        self.ongoing, self._step = 0, step

    def inc_num_ongoing_requests(self, _metadata: object) -> None:
        """One more."""
        self.ongoing += self._step

    def dec_num_ongoing_requests(self, _metadata: object) -> None:
        """One fewer."""
        self.ongoing -= self._step


class Replica:
    """Ray's replica, as far as the lane knows it."""

    def __init__(self, counts: Counts, loop: object) -> None:
        self._metrics_manager = counts
        self._semaphore = Semaphore(lambda: 4)
        self._num_queued_requests = 0
        self._deployment_id = SimpleNamespace(app_name="default")
        self._grpc_options = SimpleNamespace(request_timeout_s=None)
        self._user_callable_wrapper = SimpleNamespace(event_loop=loop)

    def get_num_ongoing_requests(self) -> int:
        """Ray's count."""
        return self._metrics_manager.ongoing

    def _can_accept_request(self, _metadata: object) -> bool:
        return True

    def factory(self) -> None:
        """What makes Ray's handlers; the lane looks at whose method it is."""


class Server:
    """A gRPC server of Ray's, which notes what is registered."""

    def __init__(self, replica: Replica | None) -> None:
        self.passed: list[str] = []
        self.handlers: dict[str, Any] = {}
        if replica is not None:
            self.service_handler_factory = replica.factory

    def add_passthrough_service(self, name: str) -> None:
        """Has handlers of this service taken as they are."""
        self.passed.append(name)

    def add_generic_rpc_handlers(self, handlers: object) -> None:
        """Of no interest here."""

    def add_registered_method_handlers(self, _name: str, handlers: dict[str, Any]) -> None:
        """Handlers by the names of their methods."""
        self.handlers = handlers


class Service(Rpcs):
    """Has the methods of forecast.v1.ForecastService."""

    async def Forecast(self) -> None:  # noqa: N802
        """See the proto."""

    BatchForecast = StreamForecast = Forecast


class Servicer:
    """What Ray passes: it is never called."""

    Forecast = BatchForecast = StreamForecast = None


@pytest.fixture
def sink(tmp_path: Path) -> Iterator[ListSink]:
    """The log of a service that has been offered to the lane, in a replica."""
    sink, service = ListSink(), Service()
    service.engine = engine(FolderStore(tmp_path), sink)
    with inside_a_replica():
        lane.offer(service)
        yield sink
        lane._offered.clear()


def said(sink: ListSink) -> tuple[str, str]:
    """What the log says of the lane: which, and why."""
    lane._offered[0].engine.telemetry.flush()
    (line,) = [json.loads(line) for line in "\n".join(sink.lines).splitlines()]
    assert line["event"] == "lane"
    return line["lane"], line.get("cause", "")


async def test_the_ray_that_we_know(sink: ListSink) -> None:
    """All that the lane needs is there: the service passes through, each RPC a coroutine function of ours."""
    server = Server(Replica(Counts(), asyncio.get_running_loop()))
    lane.add_forecast_service(Servicer(), server)
    assert server.passed == ["forecast.v1.ForecastService"]
    assert all(
        asyncio.iscoroutinefunction(handler.unary_unary or handler.stream_stream)
        for handler in server.handlers.values()
    )
    assert said(sink) == ("direct", "")


async def test_a_count_that_does_not_count(sink: ListSink) -> None:
    """Ray's count of requests does not follow: draining and scaling would not see the lane's calls."""
    server = Server(Replica(Counts(step=0), asyncio.get_running_loop()))
    lane.add_forecast_service(Servicer(), server)
    assert not server.passed
    assert all(
        handler.unary_unary is None for handler in server.handlers.values() if not handler.request_streaming
    )
    assert said(sink) == ("ordinary", "Ray counts its requests in another way")


async def test_no_replica_behind_the_server(sink: ListSink) -> None:
    """The server does not lead to Ray's replica."""
    lane.add_forecast_service(Servicer(), Server(None))
    way, cause = said(sink)
    assert way == "ordinary"
    assert "service_handler_factory" in cause


async def test_a_part_of_the_replica_is_missing(sink: ListSink) -> None:
    """One attribute by another name is enough."""
    replica = Replica(Counts(), asyncio.get_running_loop())
    del replica._semaphore
    lane.add_forecast_service(Servicer(), Server(replica))
    way, cause = said(sink)
    assert way == "ordinary"
    assert "_semaphore" in cause


async def test_nothing_passes_through(sink: ListSink, monkeypatch: pytest.MonkeyPatch) -> None:
    """The hook is gone."""
    monkeypatch.delattr(Server, "add_passthrough_service")
    lane.add_forecast_service(Servicer(), Server(Replica(Counts(), asyncio.get_running_loop())))
    way, cause = said(sink)
    assert way == "ordinary"
    assert "add_passthrough_service" in cause


async def test_a_thread_of_its_own(sink: ListSink) -> None:
    """The service runs in another event loop than the server."""
    lane.add_forecast_service(Servicer(), Server(Replica(Counts(), object())))
    assert said(sink) == ("ordinary", "Ray runs the service in a thread of its own")


async def test_outside_a_replica_nothing_is_said(sink: ListSink) -> None:
    """In Ray's proxy, and where no service has been offered, the generated function is all there is."""
    lane._offered.clear()
    server = Server(Replica(Counts(), asyncio.get_running_loop()))
    lane.add_forecast_service(Servicer(), server)
    assert not server.passed
    assert server.handlers
