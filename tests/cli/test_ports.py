"""Ports that a service chooses by itself are nobody else's."""

import socket
import subprocess
import sys

import pytest

from forecast_grpc.cli import _ports
from forecast_grpc.cli._common import CommandFailed
from forecast_grpc.cli._ports import free_port, reserve

OTHER = """
import sys
from forecast_grpc.cli._ports import reserve
print(reserve(int(sys.argv[1])), flush=True)
sys.stdin.read()
"""


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Two ports are all there are."""
    ports = [free_port(), free_port()]
    for lock in _ports._locks[-2:]:
        lock.close()
    monkeypatch.setattr(_ports, "FREE_PORTS", ports)
    return ports


def test_no_port_is_chosen_twice(few: list[int]) -> None:
    """A port is given out once, though nothing listens on it yet; and then there is none left."""
    assert {free_port(), free_port()} == set(few)
    with pytest.raises(CommandFailed, match="no free port"):
        free_port()


def test_another_process_is_not_given_it_either(few: list[int]) -> None:
    """As long as the one lives who has chosen it."""
    command = [sys.executable, "-c", OTHER, str(few[0])]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout
        assert other.stdout.readline() == "True\n"
        assert free_port() == few[1]
        other.communicate()
    assert reserve(few[0])


def test_a_port_that_somebody_listens_on_is_not_chosen(few: list[int]) -> None:
    """Whoever that is."""
    with socket.socket() as listening:
        listening.bind(("", few[0]))
        assert free_port() == few[1]
