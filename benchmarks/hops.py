"""Where a service's processor time and memory go: by what each of its processes is there for."""

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import suppress

import psutil

_KINDS = {
    "ServeReplica": "replica",
    "ProxyActor": "proxy",
    "triton_python_backend_stub": "replica",
    "tritonserver": "proxy",
    "haproxy -": "HAProxy",
    "HAProxyManager": "rest",
    "ray": "rest",
    "gcs_server": "rest",
}
"""The kind of a process, by what its command line holds: the first that fits. `rest` only keeps things up."""


def kind(process: psutil.Process) -> str:
    """What a process is there for; `replica` for a server that is one process."""
    line = " ".join(process.cmdline())
    return next((kind for mark, kind in _KINDS.items() if mark in line), "replica")


def processor_s(service: psutil.Process) -> Mapping[str, float]:
    """Processor time so far, in seconds, by kind."""
    spent: Counter[str] = Counter()
    for process in family(service):
        with suppress(psutil.NoSuchProcess):
            times = process.cpu_times()
            spent[kind(process)] += times.user + times.system  # type: ignore[assignment]  # Counter of floats.
    return spent


def memory_mib(service: psutil.Process) -> float:
    """Memory of all its processes now, in MiB; pages that they share are counted once."""
    total = 0
    for process in family(service):
        with suppress(psutil.NoSuchProcess):
            total += process.memory_full_info().pss
    return total / 2**20


def family(service: psutil.Process) -> Iterator[psutil.Process]:
    """What was started, and all of its living descendants."""
    yield service
    yield from service.children(recursive=True)
