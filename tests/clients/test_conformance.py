"""Every client answers every conformance case alike: the same numbers to the last bit, the same errors."""

import json
import time
from collections import Counter
from collections.abc import Callable, Iterable
from itertools import chain

import pytest

import conformance
from conformance import Case
from forecast_grpc.v1.error_reason_pb2 import ErrorReason
from forecast_grpc_client import Client, ForecastError, Request
from tests.clients import cases
from tests.clients.cases import CASES, Verdict
from tests.clients.toolchains import LANGUAGES, Language, Workshop, require, shell
from tests.conftest import CONFORMANCE
from tests.service import RunningService

Record = Callable[[str, object], None]


@pytest.fixture
def services(standard: RunningService, troubled: RunningService) -> dict[str, RunningService]:
    """The services by the names that the cases have for them."""
    return {"standard": standard, "troubled": troubled}


def report(record: Record, language: str, ingress: str, verdicts: Iterable[Verdict]) -> None:
    """Puts the verdicts into the run's table, and fails where one is bad."""
    verdicts = list(verdicts)
    assert verdicts
    passed = Counter(each.group for each in verdicts if not each.problem)
    asked = Counter(each.group for each in verdicts)
    row = {"client": language, "ingress": ingress, "passed": passed, "asked": asked}
    record(CONFORMANCE, json.dumps(row))
    problems = [f"{each.group}: {each.name}: {each.problem}" for each in verdicts if each.problem]
    assert not problems, "\n".join(problems)


# --- the file ---


def document() -> list[Case]:
    """All cases as they are written."""
    written: list[Case] = json.loads(CASES.read_text("utf-8"))["cases"]
    return written


def test_every_reason_has_its_case() -> None:
    """There are at least 60 cases, each with a name of its own in its group, and one at least for each reason."""
    names = [(case["group"], case["name"]) for case in document()]
    assert len(names) == len(set(names)) >= 60
    reasons = {case["error"]["reason"] for case in document() if "error" in case}
    known = {value.name.removeprefix("ERROR_REASON_") for value in ErrorReason.DESCRIPTOR.values}
    assert reasons == known - {"UNSPECIFIED"}


def test_cases_are_well_formed() -> None:
    """Each has what the runners look for, and nothing that they do not know."""
    for case in document():
        assert {"group", "name", "rpc"} <= set(case), case
        assert ("reply" in case) != ("error" in case), case
        assert len({"request", "requests", "body"} & set(case)) == 1, case
        known = {
            "group",
            "name",
            "rpc",
            "service",
            "only",
            "metadata",
            "request",
            "requests",
            "body",
            "ignore",
            "trailing",
        }
        assert set(case) <= known | {"reply", "error"}, case
        assert set(case.get("error", {})) <= {
            "code",
            "reason",
            "fields",
            "metadata",
            "retry_after_s",
            "message",
        }


@pytest.mark.parametrize(
    ("got", "path"),
    [
        ({"forecast": [1.0, 2.0]}, ""),
        ({"forecast": [1.0, 2.0000000000000004]}, ".forecast[1]"),
        ({"forecast": [1.0, -2.0]}, ".forecast[1]"),
        ({"forecast": [1.0]}, ".forecast"),
        ({"forecast": [1.0, 2.0], "more": 1}, ".more"),
        ({}, ".forecast"),
    ],
)
def test_a_difference_is_found(got: object, path: str) -> None:
    """A bit, a length, a field too many or too few: the comparison sees it and says where."""
    assert conformance.unlike({"forecast": [1, 2]}, got).partition(":")[0] == path
    assert conformance.unlike([0.0], [-0.0])


# --- the clients ---


def test_plain_stubs(services: dict[str, RunningService], record_property: Record) -> None:
    """Python's plain stubs get what the cases say."""
    run = [
        [cases.judged(case, cases.over_grpc(service, case)) for case in cases.cases(name, "grpc")]
        for name, service in services.items()
    ]
    report(record_property, "Python stubs", services["standard"].ingress, chain.from_iterable(run))


def test_http(services: dict[str, RunningService], record_property: Record) -> None:
    """HTTP gets what the cases say."""
    run = [
        [cases.judged(case, cases.over_http(service, case)) for case in cases.cases(name, "http")]
        for name, service in services.items()
    ]
    report(record_property, "HTTP", services["standard"].ingress, chain.from_iterable(run))


@pytest.mark.parametrize("language", LANGUAGES, ids=lambda language: language.name)
def test_client(
    language: Language, workshop: Workshop, services: dict[str, RunningService], record_property: Record
) -> None:
    """The client in this language gets what the cases say."""
    require(language)
    folder, verdicts = workshop.built(language), list[Verdict]()
    for name, service in services.items():
        command = language.conformance.format(address=service.grpc_address, service=name)
        done = shell(command, folder)
        assert done.returncode in {0, 1}, done.stdout + done.stderr
        lines = [line.split("\t") for line in done.stdout.splitlines()]
        verdicts += [Verdict(group=group, name=case, problem=problem) for group, case, problem in lines]
        asked = [(case["group"], case["name"]) for case in cases.cases(name, "grpc")]
        assert [(group, case) for group, case, _ in lines] == asked
    report(record_property, language.name, services["standard"].ingress, verdicts)


# --- retries ---


def test_an_overloaded_service_is_tried_again(services: dict[str, RunningService]) -> None:
    """The policy makes its five attempts at what the service itself refuses, and waits each time as it is told."""
    started = time.monotonic()
    with Client(services["troubled"].grpc_address) as client, pytest.raises(ForecastError) as caught:
        client.forecast(Request("one-too-many"), timeout_s=30)
    error = caught.value
    assert (error.reason, error.retry_after_s) == ("OVERLOADED", 1.0)
    assert time.monotonic() - started >= 4.0
