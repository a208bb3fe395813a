"""What the documentation tells its readers to type is typed, against a real service, and prints what it shows."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import numpy as np
import pytest

from forecast_grpc.cli.serve import _SAMPLE
from forecast_grpc.demo import series
from forecast_grpc.fit import fit_series
from forecast_grpc.store import FolderStore
from tests.documents import ROOT, Command, blocks, commands, matches, pages
from tests.models.examples import graph
from tests.service import RunningService, eventually

GUIDES = {ROOT / name for name in ("README.md", "docs/operating.md", "docs/errors.md", "docs/grpcurl.md")}
"""The pages that show every command's output."""

ELSEWHERE = {
    r"python3 -m venv|\.venv/bin/pip install": "tools/setup.sh does the same, and every test run begins with it",
    r"\.venv/bin/forecast-grpc serve|forecast-grpc serve": "tests/test_serve_command.py",
    r"forecast-grpc demo-store --store": "tests/cli/test_demo_store.py",
    r"serve (run|deploy|status|shutdown|config)\b": "tests/deploy/test_serve_config.py",
    r"(pip install )?openapi-python-client": "tests/openapi/test_openapi.py",
    r"anyscale ": "needs an account; service.yaml is checked by tests/deploy/test_anyscale.py",
    r'(?s).*"\$HOST:443"': "needs a service behind TLS, which tests/clients/test_clients.py has",
    r"go build -C benchmarks/load|\.tools/bin/forecast-grpc-load": "tests/test_load_generator.py",
    r"(python )?clients/": "tests/clients/test_clients.py",
}
"""Commands that do not run here, by how they begin, with the reason or the place where they run."""

DEMO_CUSTOMERS = {"car-park-broad-street", "car-park-bull-ring", "co2-mauna-loa"}
"""Customers of the demo store that the pages ask for, beside those of the tutorial."""


@pytest.fixture(scope="module")
def demo_customers(service: RunningService) -> RunningService:
    """The service with customers of the demo in its store, fitted as the demo store's are."""
    store = FolderStore(service.store)
    for file in series.FILES:
        for one in (each for each in file.series() if each.customer_id in DEMO_CUSTOMERS):
            fitted = fit_series(one, season_length=file.season_length, horizon=file.horizon)
            store.publish(one.customer_id, fitted.encode)
    # Ray collects metrics every few seconds, and a page shows those of an earlier call.
    service.grpc(None, "customer_123")
    name = "ray_forecast_grpc_requests_total,code=OK,protocol=grpc"
    eventually(lambda: service.metrics().get(name, 0) > 0)
    return service


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A user's environment: the virtual environment and grpcurl on the PATH, an empty home."""
    path = os.pathsep.join(
        [str(Path(sys.executable).parent), str(ROOT / ".tools" / "bin"), os.environ["PATH"]]
    )
    if shutil.which("grpcurl", path=path) is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(
            "grpcurl is neither on the PATH nor in .tools/bin"
        )
    home = str(tmp_path_factory.mktemp("home"))
    # What Go has fetched and built for the user need not be fetched and built again.
    go = {"GOPATH": str(Path.home() / "go"), "GOCACHE": str(Path.home() / ".cache" / "go-build")}
    return (
        go
        | os.environ
        | {
            "PATH": path,
            "HOME": home,
            "PYTHONUNBUFFERED": "1",
            "COLUMNS": "80",
            "NO_COLOR": "1",
        }
    )


@pytest.mark.parametrize("service", ["haproxy"], indirect=True)
@pytest.mark.parametrize("page", pages(), ids=lambda page: page.name)
def test_commands_do_what_the_page_shows(
    page: Path, demo_customers: RunningService, environment: dict[str, str], tmp_path: Path
) -> None:
    """Each command of a page runs, in the page's order and in one shell, and prints what the page shows."""
    typed = [each for each in commands(page) if not elsewhere(each)]
    for command, (code, printed) in zip(
        typed, run(typed, demo_customers, environment, tmp_path), strict=True
    ):
        shown = "\n".join(command.output or ())
        assert command.fails == (code != 0), f"{page.name}: {command.text}\nexit code {code}\n{printed}"
        assert command.output is None or matches(command.output, tuple(printed.splitlines())), (
            f"{page.name}: {command.text}\n--- the page shows\n{shown}\n--- it prints\n{printed}"
        )


@pytest.mark.parametrize("service", ["haproxy"], indirect=True)
@pytest.mark.parametrize("page", pages(), ids=lambda page: page.name)
def test_python_does_what_the_page_shows(
    page: Path, demo_customers: RunningService, environment: dict[str, str], tmp_path: Path
) -> None:
    """Each piece of Python on a page runs, and prints what the page shows behind `#>`."""
    for block in (each for each in blocks(page) if each.language == "python"):
        code = addressed(block.text, demo_customers)
        done = subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            check=False,
            cwd=tmp_path,
            env=environment,
        )
        assert done.returncode == 0, f"{page.name}, line {block.line}:\n{done.stderr}"
        assert re.findall(r"^#> (.*)$", block.text, re.MULTILINE) == done.stdout.splitlines()


def test_what_runs_elsewhere_is_still_there() -> None:
    """The list of commands that do not run here names tests that exist, and commands that some page has."""
    typed = list(chain.from_iterable(map(commands, pages())))
    for beginning, reason in ELSEWHERE.items():
        assert any(re.match(beginning, each.text) for each in typed), f"no page has {beginning}"
        assert all(
            (ROOT / name).exists() for name in re.findall(r"(?:tests|tools)/\S+\.(?:py|sh)", reason)
        ), reason


@pytest.mark.parametrize("page", sorted(GUIDES), ids=lambda page: page.name)
def test_guides_show_what_comes_back(page: Path) -> None:
    """The pages for first steps and for trouble show the output of each command that runs here and prints any."""
    silent = [each.text for each in commands(page) if each.output is None and not elsewhere(each)]
    assert [text for text in silent if not re.search(r"-o /dev/null|^sleep ", text)] == []


def test_the_readmes_first_call_is_what_serve_prints() -> None:
    """The README's first two commands are those that `forecast-grpc serve` gives to try."""
    first = [each.text for each in commands(ROOT / "README.md") if re.match("grpcurl|curl", each.text)]
    assert all(f"-d '{_SAMPLE}'" in text for text in first[:2])


def elsewhere(command: Command) -> bool:
    """Whether a command is one of those that do not run here."""
    return any(re.match(beginning, command.text) for beginning in ELSEWHERE)


def addressed(text: str, service: RunningService) -> str:
    """Text with the addresses and folders of this service in place of those of a service with the defaults."""
    for usual, here in (
        ("127.0.0.1:9000", service.grpc_address),
        ("http://127.0.0.1:8000", service.http_address),
        ("http://127.0.0.1:8080/metrics", service.metrics_url),
        ("/tmp/ray/session_latest/logs/serve", str(service.logs)),  # noqa: S108 - looked for, not used
    ):
        text = text.replace(usual, here)
    return text


def run(
    typed: list[Command], service: RunningService, environment: dict[str, str], folder: Path
) -> Iterator[tuple[int, str]]:
    """Runs commands in one shell; yields the exit code and what was printed, of each."""
    work, out = folder / "work", folder / "out"
    work.mkdir()
    out.mkdir()
    furnish(work, service)
    script = ""
    for number, command in enumerate(typed):
        script += f"{{\n{addressed(command.text, service)}\n}} >'{out}/{number}' 2>&1 </dev/null\n"
        script += f"echo $? >'{out}/{number}.code'\n"
    ours = {"FORECAST_GRPC_STORE": str(service.store), "FORECAST_GRPC_ADDRESS": service.grpc_address}
    subprocess.run(["bash", "-c", script], cwd=work, env=environment | ours, timeout=200, check=False)
    for number in range(len(typed)):
        yield int((out / f"{number}.code").read_text()), (out / str(number)).read_text()


def furnish(work: Path, service: RunningService) -> None:
    """What a user has at hand: the checkout's folders, an artefact, a graph, a table of histories."""
    for name in ("forecast_grpc", "protos", "clients", "service.yaml"):
        (work / name).symlink_to(ROOT / name)
    shutil.copy(service.store / "customer_123" / "model.safetensors", work)
    (work / "model.onnx").write_bytes(graph())
    rows = [
        f"{customer},{step},{10 + step % 18 + step / 9}" for customer in ("a", "b") for step in range(180)
    ]
    (work / "history.csv").write_text("\n".join(["customer,step,value", *rows]))
    sold = [
        f"{customer},{step},{100 + step}"
        for customer in ("customer_123", "customer_456")
        for step in range(9)
    ]
    (work / "sales.csv").write_text("\n".join(["customer,step,value", *sold]))
    days = [(np.datetime64("2026-01-01") + day, day % 7 == 5, day % 11 == 3) for day in range(180)]
    sales = [
        f"{shop},{day},{100 + 20 * weekend + 40 * promo},{promo:d}"
        for shop in ("shop-a", "shop-b")
        for day, weekend, promo in days
    ]
    (work / "promotions.csv").write_text("\n".join(["shop,day,sales,promo", *sales]))
