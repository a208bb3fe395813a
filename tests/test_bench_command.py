"""`forecast-grpc bench` on the service as it is deployed."""

import json
import subprocess

import pytest

from tests.load import program
from tests.service import COMMAND, RunningService


@pytest.mark.parametrize("client", ["go", "python"])
def test_the_service_is_measured(service: RunningService, client: str) -> None:
    """Both clients get nothing but answers, closed loop and open, each from a tier of the service's memory."""
    if client == "go":
        program()
    for load in ((), ("--rate", "100")):
        options = ("--address", service.grpc_address, "--duration", "1", "--client", client, "--json", *load)
        done = subprocess.run([COMMAND, "bench", *options], capture_output=True, text=True, check=True)
        found = json.loads(done.stdout)
        assert found["outcomes"].keys() == {"OK"}
        assert found["latency_by_tier_ms"].keys() <= {"hot", "warm", "cold"}
        assert found["latency_by_tier_ms"]["hot"]["count"] > 0
