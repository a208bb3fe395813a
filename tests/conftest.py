"""What all tests share: one running service a session and ingress mode, on a store of known models."""

import signal
from collections.abc import Iterator
from pathlib import Path

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


@pytest.fixture(scope="session", params=INGRESS_MODES)
def service(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningService]:
    """Three replicas behind each ingress in turn. pytest runs all tests of one mode before it starts the other."""
    store: Path = tmp_path_factory.mktemp("served") / "store"
    stores.build(store)
    options = ("--num-replicas", "3", "--max-hot-models", "8", "--set", "num_cpus_per_replica=0.1")
    tuning = ("--set", "refresh_interval_s=0.5", "--prewarm", "customer_123,nobody")
    with serving(store, request.param, *options, *tuning) as running:
        yield running
