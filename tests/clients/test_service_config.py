"""The retry policy as a file: what it says of each RPC, and that gRPC's libraries take it."""

import asyncio
import json
import re
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from pathlib import Path
from typing import Any

import grpc
import pytest

from forecast_grpc.v1 import forecast_pb2, model_pb2
from forecast_grpc_client import AsyncClient, Client, ForecastError, Request
from forecast_grpc_client.v1.forecast_pb2 import ForecastResponse
from tests.clients.toolchains import LANGUAGES, Language, Workshop, require, shell
from tests.documents import ROOT
from tests.service import eventually

FILE = ROOT / "clients" / "service_config.json"
METHOD = "/forecast.v1.ForecastService/Forecast"
OTHERS = [each for each in LANGUAGES if each.name != "Python"]
ONE_CASE = {
    "group": "cut off",
    "name": "asked for once more",
    "rpc": "ForecastService/Forecast",
    "request": {},
    "reply": {"customer_id": "c"},
}


def policies() -> dict[str, dict[str, Any]]:
    """For each RPC, what the file says of it: the entry that names it, or else its service."""
    entries = json.loads(FILE.read_text())["methodConfig"]
    named = {(name["service"], name.get("method")): entry for entry in entries for name in entry["name"]}
    found = {}
    for service in chain.from_iterable(
        file.services_by_name.values() for file in (forecast_pb2.DESCRIPTOR, model_pb2.DESCRIPTOR)
    ):
        for method in service.methods_by_name:
            at_large = named[service.full_name, None]
            found[method] = named.get((service.full_name, method), at_large)
    return found


def test_what_is_safe_is_tried_again() -> None:
    """Every RPC but the one that must not be done twice, at the codes that may pass; nothing is hedged."""
    for method, policy in policies().items():
        assert ("retryPolicy" in policy) == (method != "ActivateModelVersion")
        assert "hedgingPolicy" not in policy
        assert ("timeout" in policy) == (not method.startswith("Stream"))
        if retries := policy.get("retryPolicy"):
            assert retries["retryableStatusCodes"] == ["UNAVAILABLE", "RESOURCE_EXHAUSTED", "CANCELLED"]


class Moody(grpc.GenericRpcHandler):  # type: ignore[type-arg]  # generic in its stubs alone
    """Refuses the first calls as it is told, and then answers."""

    def __init__(self, *refusals: tuple[grpc.StatusCode, str | None]) -> None:
        self.refusals = list(refusals)
        self.called: list[float] = []

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> "grpc.RpcMethodHandler[bytes, bytes]":
        """The handler of any method."""

        def answer(request: bytes, context: grpc.ServicerContext) -> bytes:
            self.called.append(time.monotonic())
            if self.refusals:
                code, pushback = self.refusals.pop(0)
                if pushback is not None:
                    context.set_trailing_metadata((("grpc-retry-pushback-ms", pushback),))
                context.abort(code, "not now")
            return ForecastResponse(customer_id="c").SerializeToString()

        return grpc.unary_unary_rpc_method_handler(answer)


@pytest.fixture
def server() -> Iterator[grpc.Server]:
    """A bare gRPC server."""
    bare = grpc.server(ThreadPoolExecutor(2))
    yield bare
    bare.stop(grace=None).wait()


def address_of(server: grpc.Server, moody: Moody) -> str:
    """Where the server listens, with this handler."""
    server.add_generic_rpc_handlers((moody,))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    return f"127.0.0.1:{port}"


def client_of(server: grpc.Server, moody: Moody) -> Client:
    """A client of the server, which has this handler."""
    return Client(address_of(server, moody))


@pytest.mark.parametrize("code", [grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED])
def test_what_may_pass_is_tried_again(server: grpc.Server, code: grpc.StatusCode) -> None:
    """Up to four refusals of a call are its client's matter; a fifth is the caller's."""
    moody = Moody(*[(code, None)] * 4)
    with client_of(server, moody) as client:
        assert client.forecast(Request("c")).customer_id == "c"
        assert len(moody.called) == 5
        moody.refusals = [(code, None)] * 5
        with pytest.raises(ForecastError, match="not now"):
            client.forecast(Request("c"))
    assert len(moody.called) == 10


@pytest.mark.parametrize("code", [grpc.StatusCode.INTERNAL, grpc.StatusCode.NOT_FOUND])
def test_what_will_not_pass_is_not(server: grpc.Server, code: grpc.StatusCode) -> None:
    """Any other error comes at once."""
    moody = Moody((code, None))
    with client_of(server, moody) as client, pytest.raises(ForecastError, match="not now"):
        client.forecast(Request("c"))
    assert len(moody.called) == 1


def test_a_server_that_stops_is_asked_again(server: grpc.Server) -> None:
    """CANCELLED before any answer: what gRPC's core says to calls that come while its server stops."""
    moody = Moody(*[(grpc.StatusCode.CANCELLED, None)] * 4)
    with client_of(server, moody) as client:
        assert client.forecast(Request("c")).customer_id == "c"
    assert len(moody.called) == 5


class CutOff(Moody):
    """Begins to answer the first calls, and ends them."""

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> "grpc.RpcMethodHandler[bytes, bytes]":
        """The handler of any method."""
        whole = super().service(handler_call_details).unary_unary
        assert whole is not None

        def answer(request: bytes, context: grpc.ServicerContext) -> bytes:
            if self.refusals:
                # From here on gRPC does not try again.
                context.send_initial_metadata((("begun", "yes"),))
            context.set_trailing_metadata((("request_id", "r"), ("forecast-replica", "r")))
            return whole(request, context)

        return grpc.unary_unary_rpc_method_handler(answer)


def test_an_answer_that_is_cut_off_is_asked_for_once_more(server: grpc.Server) -> None:
    """As by a replica that is killed: a second time it is its caller's to decide."""
    cut = CutOff((grpc.StatusCode.CANCELLED, None))
    with client_of(server, cut) as client:
        assert client.forecast(Request("c")).customer_id == "c"
        assert len(cut.called) == 2
        cut.refusals = [(grpc.StatusCode.CANCELLED, None)] * 2
        with pytest.raises(ForecastError, match="not now"):
            client.forecast(Request("c"))
    assert len(cut.called) == 4


def test_the_asyncio_client_asks_for_it_once_more_too(server: grpc.Server) -> None:
    """As the blocking one."""

    async def ask(address: str) -> str:
        async with AsyncClient(address) as client:
            return (await client.forecast(Request("c"))).customer_id

    cut = CutOff((grpc.StatusCode.CANCELLED, None))
    assert asyncio.run(ask(address_of(server, cut))) == "c"
    assert len(cut.called) == 2


@pytest.mark.parametrize("language", OTHERS, ids=lambda each: each.name)
def test_every_other_client_asks_for_it_once_more(
    server: grpc.Server, workshop: Workshop, language: Language, tmp_path: Path
) -> None:
    """As Python's. Their runners of the cases call as callers do, but for gRPC's own retries."""
    require(language)
    folder, cases = workshop.built(language), tmp_path / "cases.json"
    cases.write_text(json.dumps({"definitions": {}, "cases": [ONE_CASE]}))
    cut = CutOff((grpc.StatusCode.CANCELLED, None))
    command = language.conformance.format(address=address_of(server, cut), service="standard")
    command = command.replace("../cases.json", str(cases))
    ran = shell(command, folder)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert len(cut.called) == 2
    cut.refusals = [(grpc.StatusCode.CANCELLED, None)] * 2
    assert re.search("cancell?ed", shell(command, folder).stdout, re.IGNORECASE)
    assert len(cut.called) == 4


def test_a_call_whose_caller_leaves_is_not_asked_again(server: grpc.Server) -> None:
    """A channel that is closed while the answer is waited for."""
    moody = Moody(*[(grpc.StatusCode.UNAVAILABLE, "60000")] * 4)
    client = client_of(server, moody)
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(client.forecast, Request("c"))
        eventually(lambda: len(moody.called) == 1)
        client.close()
        with pytest.raises(ForecastError) as caught:
            asked.result(30)
    assert caught.value.code is grpc.StatusCode.CANCELLED
    assert len(moody.called) == 1


def test_the_servers_time_is_waited_for(server: grpc.Server) -> None:
    """`grpc-retry-pushback-ms` takes the place of the policy's own pause."""
    moody = Moody((grpc.StatusCode.RESOURCE_EXHAUSTED, "1000"))
    with client_of(server, moody) as client:
        client.forecast(Request("c"))
    first, second = moody.called
    assert second - first >= 1.0


def test_the_deadline_is_for_all_attempts(server: grpc.Server) -> None:
    """A call ends when its time has passed, whatever attempts are left."""
    moody = Moody(*[(grpc.StatusCode.UNAVAILABLE, "60000")] * 4)
    with client_of(server, moody) as client, pytest.raises(ForecastError) as caught:
        client.forecast(Request("c"), timeout_s=2.0)
    assert caught.value.code is grpc.StatusCode.DEADLINE_EXCEEDED
    assert len(moody.called) == 1
