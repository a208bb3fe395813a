"""What there is to spend: on the machine, and in a container."""

import os
from pathlib import Path

import psutil
import pytest

from forecast_grpc import machine


def test_the_machine(tmp_path: Path) -> None:
    """Where no container limits it: the cores that this process may use, and all of the memory."""
    assert machine.cores(tmp_path) == len(os.sched_getaffinity(0))
    assert machine.memory_bytes(tmp_path) == pytest.approx(psutil.virtual_memory().total, rel=0.01)
    assert machine.resident_bytes() == pytest.approx(psutil.Process().memory_info().rss, rel=0.05)


@pytest.mark.parametrize(
    ("cpu", "memory", "cores", "nbytes"),
    [("50000 100000", "268435456", 0.5, 2**28), ("max 100000", "max", None, None)],
)
def test_a_container(tmp_path: Path, cpu: str, memory: str, cores: float | None, nbytes: int | None) -> None:
    """Its limits count, if it has any."""
    (tmp_path / "cpu.max").write_text(f"{cpu}\n")
    (tmp_path / "memory.max").write_text(f"{memory}\n")
    assert machine.cores(tmp_path) == (cores or len(os.sched_getaffinity(0)))
    assert machine.memory_bytes(tmp_path) == (nbytes or machine.memory_bytes(tmp_path / "none"))
