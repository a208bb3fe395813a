"""The OpenAPI document of the HTTP fallback is complete and true: programs that know nothing else say so."""

import importlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx
import pytest

from tests.documents import blocks
from tests.service import TUTORIAL_FORECAST, TUTORIAL_SEQUENCE, RunningService
from tests.tools import tool

ROOT = Path(__file__).resolve().parents[2]
HOOKS = "tests.openapi.schemathesis_hooks"

pytestmark = pytest.mark.parametrize("service", ["haproxy"], indirect=True)


def test_schemathesis_finds_nothing(service: RunningService, tmp_path: Path) -> None:
    """A thousand requests, good and bad, get answers, errors and headers as the document has them."""
    said = schemathesis(f"{service.http_address}/openapi.json", tmp_path, "--max-examples", "50")
    assert said.returncode == 0, said.stdout
    number = len(list(operations(document(service))))
    assert f"{number} selected / {number} total" in said.stdout
    assert "Stateful" in said.stdout


def test_schemathesis_finds_what_is_wrong(service: RunningService, tmp_path: Path) -> None:
    """It complains of a document with twice the horizon, and with a header that the service does not send."""
    wrong = document(service)
    horizon = wrong["components"]["schemas"]["ForecastBody"]["properties"]["horizon"]
    horizon["anyOf"][0]["maximum"] *= 2
    wrong["paths"]["/v1/forecast"]["post"]["responses"]["200"]["headers"]["colour"] = {
        "required": True, "schema": {"type": "string"}
    }  # fmt: skip
    file = tmp_path / "wrong.json"
    file.write_text(json.dumps(wrong))
    options = ("--url", service.http_address, "--include-operation-id", "forecast", "--max-examples", "20")
    said = schemathesis(str(file), tmp_path, *options)
    assert said.returncode == 1
    assert "Schema-valid request rejected" in said.stdout
    assert "Missing required response headers" in said.stdout


def test_a_generated_client_works(
    service: RunningService, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client that is made of the document alone forecasts, reads errors with their reasons, and lists models."""
    generate_client(service, tmp_path, monkeypatch)
    client = part("").Client(base_url=service.http_address, raise_on_unexpected_status=True)
    models = part("models")

    body = models.ForecastBody(sequence_data=TUTORIAL_SEQUENCE, quantile_levels=[0.1, 0.9])
    answer = part("api.forecast.forecast").sync(
        client=client, body=body, serve_multiplexed_model_id="customer_123"
    )
    assert isinstance(answer, models.AnswerBody)
    assert answer.forecast == TUTORIAL_FORECAST
    assert [quantile.level for quantile in answer.quantiles] == [0.1, 0.9]
    assert answer.model.trained_time.year == 2026

    refused = part("api.forecast.forecast").sync(
        client=client, body=models.ForecastBody(horizon=0), serve_multiplexed_model_id="customer_123"
    )
    assert isinstance(refused, models.ErrorBody)
    info, bad = refused.error.details
    assert (refused.error.code, info.reason) == (400, "REQUEST_INVALID")
    assert [each.field for each in bad.field_violations] == ["horizon"]

    page = part("api.models.list_models").sync(client=client, prefix="customer_", page_size=2)
    assert len(page.models) == 2
    assert page.next_page_token
    assert "forecast_start_time" not in answer.to_dict()
    unknown = part("api.models.get_model").sync(customer_id="nobody", client=client)
    assert unknown.error.details[0].reason == "MODEL_NOT_FOUND"


def test_the_pages_client_works(
    service: RunningService, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The generated client that docs/http.md shows prints what the page says, with the generator that CI has."""
    page = ROOT / "docs" / "http.md"
    program = Path(tool("openapi-python-client"))
    version = subprocess.run(
        [program, "--version"], capture_output=True, text=True, check=True
    ).stdout.split()[-1]
    assert f"openapi-python-client=={version}\n" in page.read_text("utf-8")
    generate_client(service, tmp_path, monkeypatch)
    (block,) = (each for each in blocks(page) if each.language == "py")
    code = block.text.replace("http://127.0.0.1:8000", service.http_address)
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.stdout.splitlines() == re.findall(r"^#> (.*)$", block.text, re.MULTILINE), done.stderr


def test_the_page_names_every_path(service: RunningService) -> None:
    """docs/http.md names what the document has, and nothing else."""
    rows = re.findall(r"^\| .*$", (ROOT / "docs" / "http.md").read_text("utf-8"), re.MULTILINE)
    named = set(re.findall(r"`(?:GET |POST )?(/[^ `]*)`", "\n".join(rows)))
    assert named == set(document(service)["paths"]) | {"/docs", "/openapi.json"}


def generate_client(service: RunningService, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Writes the package `forecast_http_client` into the folder, and makes it importable."""
    program = Path(tool("openapi-python-client"))
    command = [str(program), "generate", "--fail-on-warning", "--meta", "none"]
    source = ["--url", f"{service.http_address}/openapi.json"]
    output = ["--output-path", str(folder / "forecast_http_client")]
    # It formats what it has written with the ruff beside it.
    environment = os.environ | {"PATH": f"{program.parent}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(
        [*command, *source, *output], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    monkeypatch.syspath_prepend(folder)


def part(name: str) -> ModuleType:
    """A module of the generated client."""
    return importlib.import_module(f"forecast_http_client.{name}".rstrip("."))


def document(service: RunningService) -> dict[str, Any]:
    """The document as the service gives it."""
    found: dict[str, Any] = httpx.get(f"{service.http_address}/openapi.json", timeout=20).json()
    return found


def operations(found: dict[str, Any]) -> list[str]:
    """The operations of a document."""
    return [operation["operationId"] for path in found["paths"].values() for operation in path.values()]


def schemathesis(location: str, folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """`schemathesis run LOCATION` with every check; the same requests each time."""
    command = [str(Path(sys.executable).with_name("schemathesis")), "run", location, "--no-color"]
    # Ours do the same, and know what no schema can say.
    checks = ["--checks", "all", "--exclude-checks", "positive_data_acceptance,not_a_server_error"]
    environment = os.environ | {"SCHEMATHESIS_HOOKS": HOOKS, "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [*command, *checks, "--seed", "1", "--continue-on-failure", *options],
        cwd=folder, env=environment, capture_output=True, text=True, timeout=200, check=False,
    )  # fmt: skip
