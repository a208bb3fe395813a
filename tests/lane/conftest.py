"""What the tests of the lanes share: each runs in both."""

from pathlib import Path

import pytest

from tests import stores
from tests.lane.held_calls import DIRECT_LANE
from tests.slow_model import Gate


@pytest.fixture(scope="module", params=list(DIRECT_LANE))
def lane(request: pytest.FixtureRequest) -> str:
    """Which way calls take behind HAProxy."""
    return str(request.param)


@pytest.fixture(scope="module")
def gate(lane: str, tmp_path_factory: pytest.TempPathFactory) -> Gate:
    """A store with models that can be held up."""
    store: Path = tmp_path_factory.mktemp(lane) / "store"
    stores.build(store)
    return Gate(store)
