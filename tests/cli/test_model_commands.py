"""The commands that ask a running service for its models, against a server with the real wire and store."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from forecast_grpc.cli._call import Target, connected
from forecast_grpc.cli.serve import _with_models
from forecast_grpc.config import Settings
from forecast_grpc.records import ModelServiceMode
from forecast_grpc.v1.model_pb2 import ListModelsRequest
from forecast_grpc.v1.model_pb2_grpc import ModelServiceStub
from tests.cli.conftest import RunCommand
from tests.cli.fake_models import FakeModels, serving_models


@pytest.fixture
def models(store: Path) -> Iterator[FakeModels]:
    """The service on the store."""
    with serving_models(store) as running:
        yield running


def test_warm(run: RunCommand, models: FakeModels) -> None:
    """The customers named are warmed in each replica, in one call, each once."""
    done = run("models", "warm", "alpha", "beta", "alpha", "--address", models.address, "--json")
    assert done.code == 0
    assert done.objects == [
        {"replica": "r0", "loaded": 2, "present": 0, "failures": []},
        {"replica": "r1", "loaded": 2, "present": 0, "failures": []},
    ]
    again = run("models", "warm", "alpha", "--address", models.address)
    assert [line.split() for line in again.out.splitlines()[1:]] == [
        ["r0", "0", "1", "0"],
        ["r1", "0", "1", "0"],
    ]


def test_warm_by_prefix_and_all(run: RunCommand, models: FakeModels, store: Path) -> None:
    """The customers come from the service; a prefix that nobody has is nobody's failure."""
    one = run("models", "warm", "--prefix", "alph", "--address", models.address, "--json").objects
    assert [each["loaded"] for each in one] == [1, 1]
    everybody = run("models", "warm", "--all", "--address", models.address, "--json")
    assert everybody.code == 1
    assert [(each["loaded"], each["present"]) for each in everybody.objects] == [(1, 1), (1, 1)]
    assert run("models", "warm", "--prefix", "zz", "--address", models.address).code == 0


def test_lists_are_read_to_their_last_page(models: FakeModels) -> None:
    """Each page is asked for once, and the last one ends it."""
    with connected(Target(address=models.address, timeout_s=10.0)) as connection:
        method = ModelServiceStub(connection.channel).ListModels
        pages = list(connection.pages(method, ListModelsRequest(page_size=1)))
    assert [[model.customer_id for model in page.models] for page in pages] == [
        ["alpha"],
        ["beta"],
        ["corrupt"],
    ]


def test_warm_tells_what_failed(run: RunCommand, models: FakeModels) -> None:
    """One sentence for each customer who could not be loaded, whichever replica says so, and exit code 1."""
    done = run("models", "warm", "alpha", "nobody", "corrupt", "--address", models.address)
    assert done.code == 1
    assert done.err.splitlines() == [
        "The store has no model of the customer nobody.",
        "The model's bytes are damaged: publish it again.",
        "Error: 2 of 3 customers could not be loaded.",
    ]


def test_warm_counts_silent_replicas(run: RunCommand, models: FakeModels) -> None:
    """A replica that does not answer is a failure, even where the others are well."""
    models.silence("r1")
    done = run("models", "warm", "alpha", "--address", models.address)
    assert done.code == 1
    assert done.err == ("Error: 0 of 1 customers could not be loaded. 1 replicas did not answer in time.\n")


def test_warm_wants_to_know_whom(run: RunCommand) -> None:
    """Names, a prefix or all: exactly one of them."""
    for arguments in ((), ("alpha", "--all"), ("--all", "--prefix", "a")):
        done = run("models", "warm", *arguments)
        assert (done.code, done.out) == (2, "")
        assert "--prefix" in done.err


def test_rollback_by_the_service(run: RunCommand, models: FakeModels) -> None:
    """One back from the active version, or to the one named; the store is the service's."""
    at = ("--address", models.address)
    done = run("models", "rollback", "alpha", *at)
    assert done.out == "alpha is served by version 2, before by 3, in 2 replicas at once.\n"
    forward = run("models", "rollback", "alpha", "3", "--expected", "2", "--json", *at).objects
    assert forward == [
        {
            "customer_id": "alpha",
            "model_version": 3,
            "previous_version": 2,
            "replicas": 2,
            "unanswered_replicas": 0,
        }
    ]
    first = run("models", "rollback", "beta", *at)
    assert (first.code, first.err) == (3, "Error: beta has no version older than 1.\n")


def test_rollback_of_what_has_changed(run: RunCommand, models: FakeModels, store: Path) -> None:
    """Where another version is active than the expected one nothing happens, in the store and by the service."""
    for where in (("--address", models.address), ("--store", store)):
        done = run("models", "rollback", "alpha", "1", "--expected", "2", *where)
        assert done.code == 1
        assert "version 3, not version 2" in done.err
        assert len(done.err.splitlines()) == 1
    assert run("models", "show", "alpha", "--json", "--store", store).objects[0]["model_version"] == 3


def test_why(run: RunCommand, models: FakeModels) -> None:
    """The replica where the customer lives, and what each replica has, for people and for programs."""
    run("models", "warm", "alpha", "--address", models.address)
    done = run("why", "alpha", "--address", models.address)
    assert done.code == 0
    lines = done.out.splitlines()
    assert lines[0] == "The store: version 3, trend, trained 2026-01-02T03:04:05."
    assert lines[1] == "Forecasts of alpha go to the replica r0."
    assert lines[3].split()[:4] == ["r0", "home", "warm", "3"]
    assert "models warm" in lines[3]
    assert lines[4].split()[:3] == ["r1", "warm", "3"]
    (found,) = run("why", "alpha", "--json", "--address", models.address).objects
    assert (found["customer_id"], found["home"], found["model"]["version"]) == ("alpha", "r0", 3)
    assert [(each["replica"], each["tier"]) for each in found["replicas"]] == [
        ("r0", "CACHE_TIER_WARM"),
        ("r1", "CACHE_TIER_WARM"),
    ]


def test_why_there_is_nothing(run: RunCommand, models: FakeModels) -> None:
    """A customer without a model: what the store says, and how it last failed."""
    run("models", "warm", "nobody", "--address", models.address)
    done = run("why", "nobody", "--address", models.address)
    assert done.code == 0
    lines = done.out.splitlines()
    assert lines[0].endswith("no model of the customer nobody. [MODEL_NOT_FOUND]")
    assert lines[3].split() == ["r0", "home", "not", "in", "memory"]
    assert "for models warm: The store has no model" in lines[5]


def test_no_service(run: RunCommand) -> None:
    """Where nothing listens: one sentence, and exit code 4."""
    for command in (("why", "alpha"), ("models", "warm", "alpha"), ("models", "rollback", "alpha")):
        done = run(*command, "--address", "127.0.0.1:1")
        assert (done.code, done.out) == (4, "")
        assert "No service answers gRPC at 127.0.0.1:1" in done.err


def test_serve_switches_the_model_service_on_for_this_machine_alone() -> None:
    """All of it where only this machine can ask, unless the operator has said how much."""
    usual, said = Settings(), Settings(model_service=ModelServiceMode.OFF)
    for host in ("127.0.0.1", "localhost", "::1"):
        assert _with_models(usual, host).model_service is ModelServiceMode.ALL
        assert _with_models(said, host).model_service is ModelServiceMode.OFF
    assert _with_models(usual, "0.0.0.0").model_service is ModelServiceMode.READ  # noqa: S104
