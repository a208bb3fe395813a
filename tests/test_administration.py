"""The model service below the wire: three replicas' parts on one store, asked as the doors ask."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import pytest

from forecast_grpc import artefact
from forecast_grpc.administration import Administration
from forecast_grpc.call import Call
from forecast_grpc.domain import CacheTier
from forecast_grpc.errors import (
    CustomerIdInvalid,
    CustomerIdMissing,
    DeadlineExceeded,
    ForecastError,
    InternalError,
    ModelNotFound,
    ModelServiceDisabled,
    ModelVersionChanged,
    RequestInvalid,
)
from forecast_grpc.fleet import LocalModels
from forecast_grpc.records import (
    Activated,
    Activation,
    CustomersQuery,
    Explanation,
    LoadCause,
    ModelServiceMode,
    VersionsQuery,
    Warming,
)
from forecast_grpc.registry import Registry
from forecast_grpc.store import FolderStore
from forecast_grpc.usage import Usage
from tests.fake_fleet import HouseFleet
from tests.fake_usage import usage_of
from tests.loading.conftest import Bench, MakeBench, make_bench  # noqa: F401 - a fixture
from tests.stores import publisher, trend

T = TypeVar("T")
ALL = tuple(ModelServiceMode)


@dataclass
class House:
    """The model service over three replicas."""

    benches: list[Bench]
    fleet: HouseFleet
    store: FolderStore

    def administration(
        self, mode: ModelServiceMode = ModelServiceMode.ALL, limit_s: float = 30.0
    ) -> Administration:
        """The service as the first replica has it."""
        return Administration(
            mode=mode,
            registry=Registry(self.benches[0].store, artefact.decode),
            fleet=self.fleet,
            telemetry=self.benches[0].telemetry,
            limit_s=limit_s,
        )

    def lines(self) -> list[dict[str, Any]]:
        """The log of the first replica."""
        bench = self.benches[0]
        bench.telemetry.flush()
        return [json.loads(line) for line in "\n".join(bench.sink.lines).splitlines()]


@pytest.fixture
async def house(make_bench: MakeBench, tmp_path: Path) -> House:  # noqa: F811 - the fixture
    """Three replicas on one store, where `a` has three versions and `b` one."""
    benches = [await make_bench() for _ in range(3)]
    store = FolderStore(tmp_path)
    for slope in (1.0, 2.0, 3.0):
        store.publish("a", publisher(trend(slope)))
    store.publish("b", publisher(trend(1.0)))
    replicas = [
        LocalModels(
            replica=f"r{number}",
            loader=bench.loader,
            journal=bench.telemetry.journal,
            usage=partial(usage_of, f"r{number}", bench.accesses),
            clock=lambda: 0.0,
        )
        for number, bench in enumerate(benches)
    ]
    return House(benches=benches, fleet=HouseFleet(replicas), store=store)


def call() -> Call:
    """A call of its own."""
    return Call(protocol="grpc", request_id="id-1")


def of(value: T) -> Callable[[], T]:
    """A request that decodes to this."""
    return lambda: value


async def test_warming_reaches_every_replica(house: House) -> None:
    """Each replica has the models afterwards, and tells what was new to it and what it could not load."""
    await house.benches[1].loader.load("a")
    outcome = await house.administration().warm(call(), of(("a", "b", "nobody")))
    assert isinstance(outcome, Warming)
    assert [(each.replica, each.loaded, each.present) for each in outcome.replicas] == [
        ("r0", 2, 0),
        ("r1", 1, 1),
        ("r2", 2, 0),
    ]
    for replica in outcome.replicas:
        assert [(name, problem.reason) for name, problem in replica.failures] == [
            ("nobody", "MODEL_NOT_FOUND")
        ]
    for bench in house.benches:
        assert [bench.loader.peek(name) is not None for name in ("a", "b", "nobody")] == [True, True, False]


async def test_warming_that_takes_too_long(house: House) -> None:
    """At its limit each replica tells which customers are late; their loads go on."""
    for bench in house.benches:
        bench.store.gate.clear()
    outcome = await house.administration(limit_s=0.05).warm(call(), of(("a",)))
    assert isinstance(outcome, Warming)
    assert [(each.loaded, each.failures[0][1].reason) for each in outcome.replicas] == [
        (0, "DEADLINE_EXCEEDED")
    ] * 3
    for bench in house.benches:
        bench.store.gate.set()
        await bench.loader.load("a")
        assert bench.store.fetches == ["a"]


async def test_activating_reaches_every_replica(house: House) -> None:
    """Whoever has the model serves the new version when the call is answered; the others load nothing."""
    for bench in house.benches[:2]:
        await bench.loader.load("a")
    house.fleet.silent = {"r1"}
    outcome = await house.administration().activate(
        call(), of(Activation(customer_id="a", version=1, expected_version=3))
    )
    assert isinstance(outcome, Activated)
    assert (outcome.model.version, outcome.previous_version, outcome.unanswered) == (1, 3, 1)
    versions = {each.replica: each.holding and each.holding.version for each in outcome.replicas}
    assert versions == {"r0": 1, "r2": None}
    assert [house.benches[0].slope("a"), house.benches[1].slope("a")] == [1.0, 3.0]
    assert house.benches[2].loader.peek("a") is None
    event = next(line for line in house.lines() if line["event"] == "model_activated")
    facts = {"request_id": "id-1", "customer_id": "a", "model_version": 1, "previous_version": 3}
    assert facts.items() <= event.items()


async def test_activating_what_has_changed_asks_nobody(house: House) -> None:
    """Where the active version is not the expected one nothing happens anywhere."""
    await house.benches[0].loader.load("a")
    house.benches[0].store.fetches.clear()
    outcome = await house.administration().activate(
        call(), of(Activation(customer_id="a", version=1, expected_version=2))
    )
    assert isinstance(outcome, ModelVersionChanged)
    assert house.benches[0].slope("a") == 3.0
    assert not any(line["event"] == "model_activated" for line in house.lines())


async def test_explaining(house: House) -> None:
    """What the store has, and what each replica has: tier, version, time and cause, and its last failure."""
    administration = house.administration()
    assert isinstance(await administration.warm(call(), of(("a",))), Warming)
    house.fleet.silent = {"r2"}
    outcome = await administration.explain(call(), of("a"))
    assert isinstance(outcome, Explanation)
    assert (outcome.model.version, outcome.unanswered) == (3, 1)
    for replica in outcome.replicas:
        assert replica.holding is not None
        assert (replica.holding.tier, replica.holding.version) == (CacheTier.WARM, 3)
        assert replica.holding.load_cause is LoadCause.WARM
        assert replica.last_failure is None


async def test_explaining_a_customer_without_a_model(house: House) -> None:
    """That there is none is the explanation, and which replica has been asked for it."""
    with pytest.raises(ModelNotFound):
        await house.benches[1].loader.load("nobody")
    outcome = await house.administration().explain(call(), of("nobody"))
    assert isinstance(outcome, Explanation)
    assert outcome.model.problem is not None
    assert outcome.model.problem.reason == "MODEL_NOT_FOUND"
    failures = {each.replica: each.last_failure for each in outcome.replicas}
    failure = failures["r1"]
    assert failure is not None
    assert (failure.cause, failure.problem.reason) == (LoadCause.REQUEST, "MODEL_NOT_FOUND")
    assert failures["r0"] is failures["r2"] is None
    assert all(each.holding is None for each in outcome.replicas)


async def test_usage_of_every_replica(house: House) -> None:
    """Each replica tells of its own requests, the counts of the customers add up, and a silent one is missing."""
    for bench, names in zip(house.benches, ("aab", "abbbb", "c"), strict=True):
        for name in names:
            bench.accesses.record(name, 1_000, hit=True)
    house.fleet.silent = {"r2"}
    outcome = await house.administration().usage(call(), of(1))
    assert isinstance(outcome, Usage)
    assert [(each.replica, each.load.requests) for each in outcome.replicas] == [("r0", 3.0), ("r1", 5.0)]
    assert (outcome.requests, outcome.unanswered) == (8.0, 1)
    # Each replica has named the one who asks it most.
    assert outcome.top == [("b", 4.0)]


def ask_all(administration: Administration) -> dict[str, Any]:
    """Every call, by its name, with a good request."""
    return {
        "GetModel": administration.get(call(), of(("a", None))),
        "ListModels": administration.customers(call(), of(CustomersQuery(size=1))),
        "ListModelVersions": administration.versions(call(), of(VersionsQuery(customer_id="a", size=1))),
        "ExplainModel": administration.explain(call(), of("a")),
        "GetAccessStatistics": administration.usage(call(), of(20)),
        "WarmModels": administration.warm(call(), of(("a",))),
        "ActivateModelVersion": administration.activate(call(), of(Activation(customer_id="a", version=3))),
    }


@pytest.mark.parametrize(
    ("mode", "off"),
    [
        (ModelServiceMode.ALL, set()),
        (ModelServiceMode.READ, {"WarmModels", "ActivateModelVersion"}),
        (
            ModelServiceMode.OFF,
            {
                "GetModel",
                "ListModels",
                "ListModelVersions",
                "ExplainModel",
                "GetAccessStatistics",
                "WarmModels",
                "ActivateModelVersion",
            },
        ),
    ],
)
async def test_what_is_switched_off(house: House, mode: ModelServiceMode, off: set[str]) -> None:
    """Each mode answers what it is for; what it is not for fails, names the setting, and touches nothing."""
    before = (house.store.root / "a" / "model.safetensors").stat().st_ino
    outcomes = {name: await asked for name, asked in ask_all(house.administration(mode)).items()}
    refused = {name for name, outcome in outcomes.items() if isinstance(outcome, ForecastError)}
    assert refused == off
    for name in off:
        assert isinstance(outcomes[name], ModelServiceDisabled)
        assert outcomes[name].metadata == {"model_service": mode.value}
        assert "model_service=" in outcomes[name].message
    after = (house.store.root / "a" / "model.safetensors").stat().st_ino
    assert (before == after) == ("ActivateModelVersion" in off)


@pytest.mark.parametrize(("name", "error"), [("", CustomerIdMissing), ("../a", CustomerIdInvalid)])
async def test_a_bad_customer_never_reaches_the_store(
    house: House, name: str, error: type[ForecastError]
) -> None:
    """Every call that takes a customer looks at the name first."""
    administration = house.administration()
    for asked in (
        administration.get(call(), of((name, None))),
        administration.versions(call(), of(VersionsQuery(customer_id=name, size=1))),
        administration.warm(call(), of(("a", name))),
        administration.activate(call(), of(Activation(customer_id=name, version=1))),
        administration.explain(call(), of(name)),
    ):
        assert isinstance(await asked, error)
    assert [bench.store.fetches for bench in house.benches] == [[], [], []]


async def test_each_call_leaves_its_line(house: House) -> None:
    """Good or bad, the log names the call, its code and its reason."""

    def bad() -> CustomersQuery:
        raise RequestInvalid.of("page_size", "must be from 0 to 1000, got -1")

    administration = house.administration()
    await administration.get(call(), of(("b", None)))
    await administration.customers(call(), bad)
    lines = [line for line in house.lines() if line["event"] == "request"]
    assert [(line["rpc"], line["code"], line.get("reason")) for line in lines] == [
        ("GetModel", "OK", None),
        ("ListModels", "INVALID_ARGUMENT", "REQUEST_INVALID"),
    ]
    assert all(line["request_id"] == "id-1" for line in lines)


async def test_a_store_that_is_slow(house: House) -> None:
    """The call ends at its limit."""
    house.benches[0].store.gate.clear()
    outcome = await house.administration(limit_s=0.05).get(call(), of(("a", None)))
    assert isinstance(outcome, DeadlineExceeded)
    house.benches[0].store.gate.set()


async def test_a_fault_says_nothing_but_its_request(house: House) -> None:
    """What nobody foresaw is logged whole, and the caller gets INTERNAL."""
    house.benches[0].store.failure = ZeroDivisionError("a secret")
    outcome = await house.administration().get(call(), of(("a", None)))
    assert isinstance(outcome, InternalError)
    assert "secret" not in outcome.message
    assert any("a secret" in line.get("traceback", "") for line in house.lines())
