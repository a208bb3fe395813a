"""Processes that are found again whatever their parent: each inherits a mark in its environment."""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import psutil

_VARIABLE = "FORECAST_GRPC_TEST_MARK"


@contextmanager
def marked() -> Iterator[dict[str, str]]:
    """A variable for the environment of what the body starts; in the end everything that has it is killed."""
    mark = uuid.uuid4().hex
    try:
        yield {_VARIABLE: mark}
    finally:
        _kill(mark)


def alive(environment: dict[str, str]) -> list[psutil.Process]:
    """The processes that have inherited the mark of this environment and still run."""
    return list(_found(environment[_VARIABLE]))


def _kill(mark: str) -> None:
    """Kills what carries the mark; again, for what was being started meanwhile."""
    while found := list(_found(mark)):
        for process in found:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(found, timeout=10)


def _found(mark: str) -> Iterator[psutil.Process]:
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.environ().get(_VARIABLE) == mark and process.status() != psutil.STATUS_ZOMBIE:
                yield process
