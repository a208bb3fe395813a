"""The services that the conformance cases are written for."""

import shutil
from collections.abc import Iterator

import numpy as np
import pytest

from forecast_grpc.models.linear import Linear
from forecast_grpc.store import FolderStore
from tests.clients.toolchains import Workshop, shared_folder
from tests.clients.troubled import troubled_service
from tests.service import RunningService
from tests.stores import HORIZON, publisher, residuals


@pytest.fixture(scope="module")
def standard(service: RunningService) -> Iterator[RunningService]:
    """The shared service, with two more customers: one's model has a longest horizon, one's versions are lost.

    The latter goes again: whoever walks through all customers of the store would meet it.
    """
    bounded = Linear(
        weights=np.full((HORIZON, 4), 0.25, np.float32),
        intercept=np.zeros(HORIZON),
        end=np.arange(4.0),
        residuals=residuals(),
        max_horizon=HORIZON,
    )
    FolderStore(service.store).publish("bounded", publisher(bounded))
    lost = service.store / "versions-lost"
    lost.mkdir()
    shutil.copy(service.store / "weekly" / "model.safetensors", lost)
    (lost / "versions").write_text("A file where a folder should be.")
    yield service
    shutil.rmtree(lost)


@pytest.fixture(scope="session")
def troubled(service: RunningService, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningService]:
    """The service in trouble, behind the same ingress as the shared one."""
    with troubled_service(service.ingress, tmp_path_factory.mktemp("unused")) as running:
        yield running


@pytest.fixture(scope="session")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    """Where the clients are built."""
    return Workshop(shared_folder(tmp_path_factory))
