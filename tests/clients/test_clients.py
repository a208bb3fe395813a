"""The clients to copy, each as a user starts it, against a real service."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clients.tls_front import TOKEN, TlsFront, tls_front
from tests.service import TUTORIAL_FORECAST, RunningService

ROOT = Path(__file__).resolve().parents[2]
CLIENTS = ROOT / "clients"
NOBODY_THERE = "127.0.0.1:1"
ANSWER = "customer_123: " + " ".join(f"{value:g}" for value in TUTORIAL_FORECAST)


def run(command: list[str], **environment: str) -> subprocess.CompletedProcess[str]:
    """A client, run to its end."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("ANYSCALE_")}
    path = os.pathsep.join([str(ROOT / ".tools" / "bin"), os.environ["PATH"]])
    return subprocess.run(
        command, capture_output=True, text=True, timeout=60, check=False,
        env=kept | {"PATH": path, "COLUMNS": "100"} | environment,
    )  # fmt: skip


def python(name: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """A client in Python."""
    return run([sys.executable, str(CLIENTS / "python" / name), *arguments], **environment)


def shell(name: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """A client in shell."""
    return run(["sh", str(CLIENTS / "shell" / name), *arguments], **environment)


def numbers(text: str) -> list[float]:
    """The point forecast in an answer as JSON, whichever its layout."""
    found = re.search(r'"forecast": ?\[([^]]*)\]', text)
    assert found, text
    return [float(value) for value in found[1].split(",")]


@pytest.fixture
def grpcurl() -> None:
    """Needs grpcurl, which people install themselves and CI always has."""
    path = os.pathsep.join([str(ROOT / ".tools" / "bin"), os.environ["PATH"]])
    if shutil.which("grpcurl", path=path) is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(
            "grpcurl is neither on the PATH nor in .tools/bin"
        )


# --- one forecast, gRPC and HTTP ---


def addressed(name: str, address: str) -> list[str]:
    """The option that names the service."""
    return ["--url", f"http://{address}"] if name == "client_http.py" else ["--address", address]


def address_of(name: str, service: RunningService) -> str:
    """Where this client finds the service."""
    http = service.http_address.removeprefix("http://")
    return http if name == "client_http.py" else service.grpc_address


SINGLE = ("client.py", "client_http.py")


@pytest.mark.parametrize("name", SINGLE)
def test_a_client_prints_forecast_and_provenance(name: str, service: RunningService) -> None:
    """Both print the tutorial's forecast, the quantiles, the model, and where the answer came from."""
    done = python(name, *addressed(name, address_of(name, service)))
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[0] == ANSWER
    assert [line.split(":")[0].strip() for line in lines[1:4]] == ["quantile 0.1", "quantile 0.9", "model"]
    assert lines[3].strip() == "model: trend, version 1"
    said = dict(line.strip().split(": ", 1) for line in lines[4:])
    assert {"request_id", "forecast-replica", "forecast-cache"} <= set(said)
    assert said["forecast-cache"] in {"hot", "warm", "cold"}


@pytest.mark.parametrize("name", SINGLE)
def test_a_client_sends_what_it_is_given(name: str, service: RunningService) -> None:
    """Observations, a missing one among them, customer and horizon reach the service."""
    options = ["--customer", "customer_456", "--horizon", "2", "--", "10", "nan", "12"]
    done = python(name, *addressed(name, address_of(name, service)), *options)
    assert done.stdout.splitlines()[0] == "customer_456: 11.5 11", done.stderr


@pytest.mark.parametrize("name", SINGLE)
def test_a_client_explains_a_refusal(name: str, service: RunningService) -> None:
    """An unknown customer ends with exit code 1, the status, the reason, and the request id to quote."""
    done = python(name, *addressed(name, address_of(name, service)), "--customer", "nobody")
    assert (done.returncode, done.stdout) == (1, "")
    first, *rest = done.stderr.splitlines()
    assert first == "NOT_FOUND: The store has no model of the customer nobody."
    assert "  reason: MODEL_NOT_FOUND" in rest
    assert any(line.startswith("  request_id: ") for line in rest)


@pytest.mark.parametrize("name", SINGLE)
def test_a_client_names_the_field_at_fault(name: str, service: RunningService) -> None:
    """A horizon of 0 is reported with the field's name and what is accepted."""
    done = python(name, *addressed(name, address_of(name, service)), "--horizon", "0")
    assert done.returncode == 1
    assert "  reason: REQUEST_INVALID" in done.stderr.splitlines()
    assert "  field: horizon: must be from 1 to 1000, got 0" in done.stderr.splitlines()


@pytest.mark.parametrize("name", SINGLE)
def test_a_client_says_that_nobody_is_there(name: str) -> None:
    """Where nothing listens, one line says so, with exit code 1."""
    done = python(name, *addressed(name, NOBODY_THERE))
    assert (done.returncode, done.stdout) == (1, "")
    (line,) = done.stderr.splitlines()
    assert re.match(r"(UNAVAILABLE: .*|http://127.0.0.1:1: .*)[Cc]onnection refused", line)


# --- many forecasts ---


def test_many_requests_are_counted(service: RunningService) -> None:
    """100 requests over the tutorial's customers all come back, and each is counted under its cache tier."""
    done = python("client_multiple_requests.py", "--address", service.grpc_address)
    assert done.returncode == 0, done.stderr
    assert "100%" in done.stderr
    rows = re.findall(r"(customer_\w+)\D+(\d+)\D+(\d+)\D+(\d+)\D+(\d+)", done.stdout)
    counts = {row[0]: [int(number) for number in row[1:]] for row in rows}
    assert [counts[f"customer_{name}"][0] for name in ("123", "456", "789", "abc", "def", "hij")] == [
        17, 17, 17, 17, 16, 16
    ]  # fmt: skip
    assert all(answered == sum(tiers) for answered, *tiers in counts.values())
    p50, p99 = map(float, re.findall(r"p\d+ ([\d.]+) ms", done.stdout))
    assert 0 < p50 <= p99


def test_many_requests_report_their_errors() -> None:
    """Where nothing listens, the errors are counted, with exit code 1."""
    done = python("client_multiple_requests.py", "--address", NOBODY_THERE, "--requests", "3")
    assert done.returncode == 1
    errors = re.findall(r"^(\d+) times UNAVAILABLE: ", done.stderr, re.MULTILINE)
    assert sum(map(int, errors)) == 3


# --- Anyscale ---

Front = tuple[TlsFront, str, Path]


@pytest.fixture
def front(service: RunningService, tmp_path: Path) -> Iterator[Front]:
    """The service behind TLS and a token, as on Anyscale."""
    with tls_front(service.grpc_address, tmp_path) as running:
        yield running


def anyscale(front: Front, *options: str, token: str = TOKEN) -> subprocess.CompletedProcess[str]:
    """The Anyscale client, told by its environment where to go."""
    _, endpoint, trusted = front
    sequence = ["100", "102", "98", "105", "110", "108", "112", "115", "118", "120"]
    arguments = [*sequence, "--ca-certificate", str(trusted), *options]
    environment = {"ANYSCALE_ENDPOINT": f"https://{endpoint}/", "ANYSCALE_TOKEN": token}
    return python("client_anyscale_service.py", *arguments, **environment)


def test_the_anyscale_client_speaks_tls_with_a_token(front: Front) -> None:
    """It sends the bearer token, the customer and the application, and gets the same numbers."""
    done = anyscale(front, "--application", "default")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0] == ANSWER
    assert "forecast-replica: " in done.stdout
    (seen,) = front[0].seen
    assert seen["authorization"] == f"Bearer {TOKEN}"
    assert (seen["multiplexed_model_id"], seen["application"]) == ("customer_123", "default")


def test_the_anyscale_client_leaves_the_application_out(front: Front) -> None:
    """Without the option there is no such metadata: one application needs none."""
    assert anyscale(front).returncode == 0
    assert "application" not in front[0].seen[0]


def test_the_anyscale_client_is_refused_without_the_token(front: Front) -> None:
    """A wrong token is UNAUTHENTICATED, one line and exit code 1; an option takes the environment's place."""
    done = anyscale(front, token="wrong")  # noqa: S106 - that it is wrong is the point
    assert done.returncode == 1
    assert done.stderr == "UNAUTHENTICATED: The token is not that of this service.\n"
    assert anyscale(front, "--token", TOKEN, token="wrong").returncode == 0  # noqa: S106 - the same


def test_the_anyscale_client_explains_a_refusal(front: Front) -> None:
    """The service's own errors come through with their reason."""
    done = anyscale(front, "--customer", "nobody")
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        "NOT_FOUND: The store has no model of the customer nobody.",
        "  reason: MODEL_NOT_FOUND",
    ]


def test_the_anyscale_client_trusts_no_stranger(front: Front, tmp_path: Path) -> None:
    """A certificate that the system's authorities have not signed is refused, and the token is not sent."""
    _, endpoint, _ = front
    done = python("client_anyscale_service.py", "--endpoint", endpoint, "--token", TOKEN)
    assert done.returncode == 1
    # gRPC's core may log a line of its own before.
    last = done.stderr.splitlines()[-1]
    assert last.startswith("UNAVAILABLE: ")
    assert "CERTIFICATE_VERIFY_FAILED" in last
    assert front[0].seen == []


def test_the_anyscale_client_asks_for_endpoint_and_token() -> None:
    """Without them it says what to set."""
    done = python("client_anyscale_service.py")
    assert done.returncode == 2
    assert "ANYSCALE_ENDPOINT and ANYSCALE_TOKEN" in done.stderr


# --- shell ---


def test_grpcurl_script_forecasts(service: RunningService, grpcurl: None) -> None:
    """clients/shell/grpcurl.sh prints the forecast and the trailing metadata; an unknown customer fails."""
    done = shell("grpcurl.sh", FORECAST_GRPC_ADDRESS=service.grpc_address)
    assert done.returncode == 0, done.stderr
    assert numbers(done.stdout) == TUTORIAL_FORECAST
    assert "forecast-cache: " in done.stdout
    refused = shell("grpcurl.sh", "nobody", FORECAST_GRPC_ADDRESS=service.grpc_address)
    assert refused.returncode != 0
    assert "Code: NotFound" in refused.stderr
    assert "The store has no model of the customer nobody." in refused.stderr


def test_curl_script_forecasts(service: RunningService) -> None:
    """clients/shell/curl.sh prints the forecast as JSON; an unknown customer's error too, with curl's code 22."""
    done = shell("curl.sh", FORECAST_HTTP_URL=service.http_address)
    assert done.returncode == 0, done.stderr
    assert numbers(done.stdout) == TUTORIAL_FORECAST
    refused = shell("curl.sh", "nobody", FORECAST_HTTP_URL=service.http_address)
    assert refused.returncode == 22
    assert '"MODEL_NOT_FOUND"' in refused.stdout


# --- to copy ---


@pytest.mark.parametrize("path", sorted((CLIENTS / "python").glob("client*.py")), ids=lambda path: path.name)
def test_a_client_is_small_and_stands_alone(path: Path) -> None:
    """Each is at most 60 lines, and imports nothing of this project but the generated stubs."""
    text = path.read_text("utf-8")
    assert len(text.splitlines()) <= 60
    ours = re.findall(r"^(?:from|import) ((?:forecast_grpc|client|tests)\S*)", text, re.MULTILINE)
    assert all(name.startswith("forecast_grpc.v1.") for name in ours)
