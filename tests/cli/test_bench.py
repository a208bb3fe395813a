"""`forecast-grpc bench`: what it says of a service, whoever sends the load."""

import json
import shutil
import time
from pathlib import Path

import pytest

from forecast_grpc.cli import _load
from forecast_grpc.cli._load_python import latencies
from forecast_grpc.cli._plan import Order, Plan
from forecast_grpc.v1.forecast_pb2 import ForecastRequest
from tests.cli.conftest import RunCommand
from tests.cli.fake_service import FakeService
from tests.load import Context, Server, program, right, serving

CLIENTS = ("go", "python")
STALL_S = 0.5


@pytest.fixture(params=CLIENTS)
def client(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Each of the two; the one in Go as the machine has it, whatever the user's home is."""
    if request.param == "go":
        built = program()
        monkeypatch.setattr(_load, "generator", lambda: built)
    return str(request.param)


def test_a_load_is_summed_up(run: RunCommand, service: FakeService, client: str) -> None:
    """Outcomes, rate, latencies by tier and the client's own time; the request is the one asked for."""
    options = ("--duration", "0.5", "--warm-up", "0", "--connections", "2", "--client", client)
    done = run("bench", "alpha", "beta", "--address", service.address, *options, "--json")
    assert done.code == 0
    (found,) = done.objects
    assert found["outcomes"].keys() == {"OK"}
    assert found["requests"] == found["outcomes"]["OK"] == len(service.seen) > 0
    assert found["client"] == client
    assert found["client_cpu_s"] > 0
    assert found["latency_by_tier_ms"]["cold"]["count"] == found["requests"]
    assert sum(point["ok"] for point in found["series"]) == found["requests"]
    assert {seen["multiplexed_model_id"] for seen in service.seen} == {"alpha", "beta"}


def test_people_get_tables(run: RunCommand, service: FakeService, client: str) -> None:
    """Outcomes, latencies and the client's share, a table each."""
    done = run("bench", "alpha", "--address", service.address, "--duration", "0.3", "--client", client)
    assert done.code == 0
    heads = [line.split()[0] for line in done.out.splitlines() if line]
    assert [head for head in heads if head in {"outcome", "latency,", "client"}] == [
        "outcome",
        "latency,",
        "client",
    ]
    assert "OK" in heads
    assert "cold" in heads


def test_errors_are_counted_and_said(run: RunCommand, service: FakeService, client: str) -> None:
    """Where requests fail the command does, with how many, and with the service's words."""
    options = ("--duration", "0.3", "--warm-up", "0", "--client", client, "--json")
    done = run("bench", "alpha", "nobody", "--order", "turn", "--address", service.address, *options)
    assert done.code == 1
    assert done.objects[0]["outcomes"]["OK"] > 0
    assert done.objects[0]["outcomes"]["NOT_FOUND"] > 0
    assert "requests failed. NOT_FOUND:" in done.err


async def stalls_once(server: Server, request: ForecastRequest, context: Context) -> object:
    """The tenth request stops the whole server for a while."""
    if sum(server.asked.values()) == 10:
        time.sleep(STALL_S)  # noqa: ASYNC251 - a server that does nothing else meanwhile
    return await right(server, request, context)


def test_an_open_loop_counts_from_the_time_that_was_meant(run: RunCommand, client: str) -> None:
    """A stall of the server shows in the requests that were due in it, for both clients."""
    with serving(stalls_once) as server:  # type: ignore[arg-type]  # Its answer is a ForecastResponse.
        options = ("--rate", "100", "--duration", "1", "--warm-up", "0", "--client", client, "--json")
        (found,) = run("bench", "--address", server.address, *options).objects
    assert found["requests"] == pytest.approx(100, abs=1)
    assert found["latency_ms"]["p90"] > 500 * STALL_S
    assert found["lateness_ms"]["count"] == found["requests"]


def test_each_second_is_drawn(run: RunCommand, service: FakeService, client: str, tmp_path: Path) -> None:
    """In the terminal, and into a file; with --json the picture is not on standard output."""
    picture = tmp_path / "seconds.svg"
    options = ("--duration", "1.1", "--warm-up", "0", "--client", client, "--plot", "--plot-file", picture)
    done = run("bench", "alpha", "--address", service.address, *options, "--json")
    assert done.code == 0
    assert json.loads(done.out)
    assert "p99, ms" in done.err
    assert "<svg" in picture.read_text()


def test_without_go_python_sends_the_load_and_says_so(
    run: RunCommand, service: FakeService, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A machine without Go and without a built generator measures all the same, and warns what that means."""
    monkeypatch.setattr(shutil, "which", lambda _: None)
    monkeypatch.setattr(_load, "_BUILT", Path("/nowhere/forecast-grpc-load"))
    done = run("bench", "alpha", "--address", service.address, "--duration", "0.3", "--json")
    assert done.objects[0]["client"] == "python"
    assert "a client in Python sends the load" in done.err
    done = run("bench", "alpha", "--address", service.address, "--client", "go")
    assert done.code == 1


def test_a_generator_that_cannot_be_built_is_no_end(
    run: RunCommand, service: FakeService, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """What Go says is passed on, and Python sends the load."""
    if shutil.which("go") is None:
        pytest.skip("no Go")
    (tmp_path / "load").mkdir()
    monkeypatch.setattr(_load, "_SOURCE", tmp_path / "load")
    done = run("bench", "alpha", "--address", service.address, "--duration", "0.3", "--json")
    assert done.objects[0]["client"] == "python"
    assert "cannot be built" in done.err


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("customer-%d-%d",), 2),
        (("not a customer",), 2),
        (("--customers-file", "nowhere"), 1),
        (("--plot-file", "seconds.txt"), 2),
        (("--token", "secret"), 2),
        (("--address", "127.0.0.1:1", "--client", "go"), 4),
    ],
)
def test_what_cannot_be_measured_is_said_in_a_sentence(
    run: RunCommand, arguments: tuple[str, ...], code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wrong names, files and options, and a service that is not there, end the command before any load."""
    built = program()
    monkeypatch.setattr(_load, "generator", lambda: built)
    done = run("bench", *arguments)
    assert done.code == code
    assert done.err.startswith("Error: ")


def test_names_are_chosen_as_the_order_says() -> None:
    """In turn each once; by Zipf's law the first about twice as often as the second; else all alike."""
    plan = dict.fromkeys(("connections", "in_flight"), 1)
    names = [f"c{number}" for number in range(4)]

    def chosen(order: Order) -> list[str]:
        choose = Plan(customers=names, order=order, zipf=1.0, request=b"", duration_s=1.0, **plan).choice()
        return [choose() for _ in range(4_000)]

    assert chosen(Order.TURN)[:5] == ["c0", "c1", "c2", "c3", "c0"]
    zipf, uniform = chosen(Order.ZIPF), chosen(Order.UNIFORM)
    assert zipf.count("c0") / zipf.count("c1") == pytest.approx(2, rel=0.2)
    assert min(map(uniform.count, names)) > 800


def test_quantiles_are_of_what_was_measured() -> None:
    """In milliseconds; of no answer they are all zero."""
    of = latencies([k / 1000 for k in range(1, 1001)])
    assert (of["count"], of["p50"], of["p99"], of["max"]) == (1000, 500.0, 990.0, 1000.0)
    assert set(latencies([]).values()) == {0}
