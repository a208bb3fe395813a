"""The documentation is held to the product: its links lead somewhere, and its names are right."""

import ast
import json
import re
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import httpx
import pytest

from forecast_grpc import errors
from forecast_grpc.config import Settings
from forecast_grpc.telemetry import ray_sink
from forecast_grpc.v1 import forecast_pb2, model_pb2
from forecast_grpc.v1.error_reason_pb2 import ErrorReason
from tests.documents import ROOT, anchors, blocks, commands, links, pages, prose
from tests.service import RunningService, eventually

OPERATING = ROOT / "docs" / "operating.md"
ERRORS = ROOT / "docs" / "errors.md"
ENVIRONMENT_OF_COMMANDS = {"FORECAST_GRPC_ADDRESS", "FORECAST_GRPC_TOKEN", "FORECAST_GRPC_STORE"}
RAYS_LABELS = {"application", "deployment", "replica", "le", "Component", "NodeAddress"}


# --- links ---


@pytest.mark.parametrize("page", [*pages(), *ROOT.glob("C*.md"), *ROOT.glob("docs/decisions/*.md")], ids=str)
def test_links_lead_somewhere(page: Path) -> None:
    """Each relative link leads to a file that is there, and to a heading that it has."""
    for path, anchor in links(page):
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), path
        assert not anchor or anchor in anchors(target), f"{path}#{anchor}"


def test_every_page_is_in_the_index() -> None:
    """docs/index.md leads to every page beside it."""
    listed = {path for path, _ in links(ROOT / "docs" / "index.md")}
    assert {page.name for page in pages()[1:]} - listed - {"index.md"} == set()


# --- names ---


def test_metrics_are_those_that_there_are() -> None:
    """The page lists each of our metrics with its labels, and no other; its queries use them rightly."""
    kinds = {"_total": ray_sink._COUNTERS, "": {**ray_sink._HISTOGRAMS, **ray_sink._GAUGES}}
    real = {
        f"ray_forecast_grpc_{name}{suffix}": set(tags)
        for suffix, table in kinds.items()
        for name, (_, tags) in table.items()
    }
    rows = re.findall(
        r"^\| `(ray_forecast_grpc_\w+)` \| \w+ \| (.*?) \|", OPERATING.read_text(), re.MULTILINE
    )
    assert {name: set(re.findall(r"`(\w+)`", labels)) for name, labels in rows} == real
    for page in pages():
        for name, selector in re.findall(r"(ray_forecast_grpc_[a-z_]+)(?:\{([^}\n]*)\})?", page.read_text()):
            metric = name if name in real else re.sub(r"_(bucket|sum|count)$", "", name)
            assert metric in real, f"{page.name}: {name}"
            assert set(re.findall(r"(\w+)\s*[=!]", selector)) <= real[metric] | RAYS_LABELS, selector


@pytest.mark.parametrize("service", ["haproxy"], indirect=True)
def test_rays_metrics_are_exported(service: RunningService) -> None:
    """Each of Ray's metrics that the page names is at the endpoint, once a model has come and gone."""
    named = set(re.findall(r"^\| `(ray_serve_\w+)`", OPERATING.read_text(), re.MULTILINE))
    assert named
    for number in range(60):
        service.grpc(None, f"shop-{number:02}")

    def missing() -> set[str]:
        text = httpx.get(service.metrics_url, timeout=20).text
        there = set(re.findall(r"^(ray_serve_\w+)\{", text, re.MULTILINE))
        return {name for name in named if not {name, f"{name}_count"} & there}

    eventually(lambda: not missing(), timeout_s=60)


def section(heading: str) -> str:
    """A section of docs/operating.md."""
    return OPERATING.read_text().partition(f"\n## {heading}\n")[2].partition("\n## ")[0]


def log_table() -> dict[str, set[str]]:
    """The events of the page, each with its fields."""
    rows = re.findall(r"^\| `(\w+)` \|.*\| (`.*`) \|$", section("The log"), re.MULTILINE)
    return {event: set(re.findall(r"`(\w+)`", fields)) for event, fields in rows}


@pytest.mark.parametrize("service", ["haproxy"], indirect=True)
def test_log_lines_are_those_that_there_are(service: RunningService) -> None:
    """The page lists each event of the log, and each field that the log of a real service has, and no other."""
    tree = ast.parse((ROOT / "forecast_grpc" / "telemetry" / "collect.py").read_text())
    calls = [
        node for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
    ]
    named = {
        argument.value
        for call in calls
        if isinstance(call.func, ast.Attribute) and call.func.attr in {"_event", "_note"}
        for argument in call.args
        if isinstance(argument, ast.Constant)
    }
    table = log_table()
    assert set(table) == named

    service.grpc(None, "customer_123")
    service.grpc(None, "nobody")
    httpx.get(f"{service.http_address}/v1/models/customer_123")
    httpx.post(
        f"{service.http_address}/v1/forecast:batch",
        json={"items": [{"customer_id": "customer_123", "request": {}}]},
    )
    asked = ("request", "model_loaded", "model_load_failed")
    eventually(lambda: all(fields_seen(service).get(event) == table[event] for event in asked))
    assert all(fields <= table[event] for event, fields in fields_seen(service).items())
    explained = re.findall(r"^\| ([`\w, ]+) \| [^|]*\|$", section("The log"), re.MULTILINE)
    assert set().union(*table.values()) == set(re.findall(r"`(\w+)`", " ".join(explained)))


def fields_seen(service: RunningService) -> dict[str, set[str]]:
    """The events in the log so far, each with the fields that its lines have had."""
    seen: dict[str, set[str]] = {}
    for line in service.log_lines():
        seen.setdefault(line["event"], set()).update(set(line) - {"time", "event", "replica"})
    return seen


def test_grpcurl_shows_every_rpc() -> None:
    """docs/grpcurl.md has a call of each RPC of ours, with what it prints."""
    files = (forecast_pb2.DESCRIPTOR, model_pb2.DESCRIPTOR)
    services = chain.from_iterable(file.services_by_name.values() for file in files)
    rpcs = {f"{service.full_name}/{name}" for service in services for name in service.methods_by_name}
    shown = [each.text for each in commands(ROOT / "docs" / "grpcurl.md") if each.output]
    assert {rpc for rpc in rpcs if not any(text.endswith(rpc) for text in shown)} == set()


def test_reasons_are_those_that_there_are() -> None:
    """docs/errors.md lists each reason once with its status over both protocols, and explains it."""
    classes = {each.reason: each for each in leaves(errors.ForecastError)}
    rows = re.findall(r"^\| \[`(\w+)`\]\(#\w+\) \| `(\w+)` \| (\d+) \|", ERRORS.read_text(), re.MULTILINE)
    assert sorted(rows) == sorted(
        (reason, each.code.name, str(errors.HTTP_STATUS[each.code])) for reason, each in classes.items()
    )
    wire = {name.removeprefix("ERROR_REASON_") for name in ErrorReason.keys()} - {"UNSPECIFIED"}  # noqa: SIM118 - an enum's
    assert set(classes) == wire
    assert wire <= set(re.findall(r"^### (\w+)$", ERRORS.read_text(), re.MULTILINE))


def test_error_bodies_are_those_of_their_reasons() -> None:
    """Each JSON error body of the page has the code, the status and the domain that go with its reason."""
    classes = {each.reason: each for each in leaves(errors.ForecastError)}
    bodies = [json.loads(block.text)["error"] for block in blocks(ERRORS) if block.language == "json"]
    assert {body["details"][0]["reason"] for body in bodies} == {
        "STORE_UNAVAILABLE", "OVERLOADED", "DEADLINE_EXCEEDED", "INTERNAL", "MODEL_SERVICE_DISABLED"
    }  # fmt: skip
    for body in bodies:
        error = classes[body["details"][0]["reason"]]
        assert (body["code"], body["status"]) == (errors.HTTP_STATUS[error.code], error.code.name)
        assert body["details"][0]["domain"] == errors.DOMAIN


def leaves(error: type[errors.ForecastError]) -> Iterator[type[errors.ForecastError]]:
    """The errors that a caller may get."""
    kinds = error.__subclasses__()
    yield from chain.from_iterable(map(leaves, kinds)) if kinds else [error]


def test_settings_are_those_that_there_are() -> None:
    """Every setting is documented, and no page names one that there is not."""
    text = "\n".join(page.read_text() for page in pages())
    assert {name for name in Settings.model_fields if f"`{name}`" not in text} == set()
    named = set(re.findall(r"--set[ =]([a-z_]+)=", text))
    named |= set(re.findall(r"^\| `(\w+)` \|", section("Limits"), re.MULTILINE))
    named |= {name.lower() for name in set(re.findall(r"FORECAST_GRPC_([A-Z_]+[A-Z])", text))} - {
        name.removeprefix("FORECAST_GRPC_").lower() for name in ENVIRONMENT_OF_COMMANDS
    }
    assert named - set(Settings.model_fields) == set()


def test_limits_have_their_defaults() -> None:
    """The limits that docs/operating.md lists have the defaults of the code."""
    rows = re.findall(r"^\| `(\w+)` \|.*\| ([\d,]+)[^|]*\|$", section("Limits"), re.MULTILINE)
    assert len(rows) == section("Limits").count("\n| `")
    for name, default in rows:
        assert Settings.model_fields[name].default == float(default.replace(",", ""))


def test_prose_shouts_no_unknown_reason() -> None:
    """A word in capitals between backticks that looks like one of our reasons is one."""
    reasons = {each.reason for each in leaves(errors.ForecastError)}
    families = {reason.partition("_")[0] for reason in reasons if "_" in reason}
    for page in pages():
        for word in re.findall(r"`([A-Z]+_[A-Z_]+)`", prose(page)):
            known = word in reasons or word in {code.name for code in errors.Code}
            assert known or word.partition("_")[0] not in families, f"{page.name}: {word}"
