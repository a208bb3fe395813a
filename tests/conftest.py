"""What all tests share: one running service a session and ingress mode, on a store of known models."""

import json
import signal
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import hypothesis
import pytest

from tests import stores
from tests.service import RunningService, serving

# A shell that runs the tests in the background has SIGINT ignored, which programs that they start would inherit.
signal.signal(signal.SIGINT, signal.default_int_handler)

# A shared machine may stop for a moment: how long an example takes proves nothing.
hypothesis.settings.register_profile("no deadline", deadline=None)
hypothesis.settings.load_profile("no deadline")

INGRESS_MODES = ("haproxy", "proxy")

FINDING = "finding"
"""The name under which a test records what the run's summary is to print."""

CONFORMANCE = "conformance"
"""The name under which a test records how many conformance cases of each group a client has passed, as JSON."""


# Before xdist reads the groups.
@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Says which tests go together where several processes share the work, and which come first.

    Those with the same service, or in the same file and behind the same ingress, go together.
    """
    for item in items:
        item.add_marker(pytest.mark.xdist_group(_group(item)))
    # The long ones first: at the end small ones keep all processes busy.
    items.sort(key=lambda item: not _starts_a_service(item))


def _starts_a_service(item: pytest.Item) -> bool:
    module = item.getparent(pytest.Module)
    starters = ("serving", "serving_bucket", "running", "ray_cluster", "ray_on", "marked")
    named = any(hasattr(getattr(module, "obj", None), starter) for starter in starters)
    return "service" in getattr(item, "fixturenames", ()) or named


def _group(item: pytest.Item) -> str:
    callspec = getattr(item, "callspec", None)
    values = callspec.params.values() if callspec else ()
    ingress = next((each for each in values if isinstance(each, str) and each in INGRESS_MODES), "")
    shared = "service" in getattr(item, "fixturenames", ())
    return f"{'service' if shared else item.path.name}-{ingress}"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Prints what tests have found out: a process that shares the work has no terminal of its own."""
    for report in terminalreporter.getreports("passed"):
        for name, finding in report.user_properties:
            if name == FINDING:
                terminalreporter.write_line(str(finding))
    rows = [
        json.loads(str(value))
        for report in terminalreporter.getreports("passed") + terminalreporter.getreports("failed")
        for name, value in report.user_properties
        if name == CONFORMANCE
    ]
    for line in conformance_table(rows):
        terminalreporter.write_line(line)


def conformance_table(rows: list[dict[str, Any]]) -> Iterator[str]:
    """One line a client and ingress, one column a group of cases: how many passed, of how many if not all did."""
    if not rows:
        return
    groups = list(dict.fromkeys(chain.from_iterable(row["asked"] for row in rows)))
    titles = ["conformance cases", "ingress", *groups, "all"]
    table = [titles]
    for row in sorted(rows, key=lambda row: (row["client"], row["ingress"])):
        passed = [*(row["passed"].get(group, 0) for group in groups), sum(row["passed"].values())]
        asked = [*(row["asked"].get(group, 0) for group in groups), sum(row["asked"].values())]
        cells = [f"{n}" if n == of else f"{n} of {of}" for n, of in zip(passed, asked, strict=True)]
        table.append([row["client"], row["ingress"], *cells])
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for line in table:
        yield "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()


@pytest.fixture(scope="session", params=INGRESS_MODES)
def service(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningService]:
    """Three replicas behind each ingress in turn. pytest runs all tests of one mode before it starts the other."""
    store: Path = tmp_path_factory.mktemp("served") / "store"
    stores.build(store)
    options = ("--num-replicas", "3", "--max-hot-models", "8", "--set", "num_cpus_per_replica=0.1")
    tuning = (
        "--set=refresh_interval_s=0.5",
        "--set=stream_stall_timeout_s=3",
        "--prewarm",
        "customer_123,nobody",
    )
    with serving(store, request.param, *options, *tuning) as running:
        yield running
