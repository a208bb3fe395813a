"""Processor time: who had it while something was measured."""

import time
from contextlib import suppress

import psutil


class Meter:
    """Counts the processor time of a service and of everyone else from the moment that it is made."""

    def __init__(self, service: psutil.Process) -> None:
        self._service = service
        self._start = time.perf_counter()
        self._before = self._now()

    def read(self) -> tuple[float, float]:
        """Of the service, in seconds, and of everyone but the service, us and our children, in cores."""
        service, ours, machine = (now - then for now, then in zip(self._now(), self._before, strict=True))
        return service, max(0.0, machine - service - ours) / (time.perf_counter() - self._start)

    def _now(self) -> tuple[float, float, float]:
        everyone = psutil.cpu_times()
        # Stolen and waiting time is nobody's.
        machine = everyone.user + everyone.nice + everyone.system + everyone.irq + everyone.softirq
        return family_s(self._service), sum(psutil.Process().cpu_times()[:4]), machine


def family_s(process: psutil.Process) -> float:
    """Processor time of a process and all of its living descendants so far, in seconds."""
    total = 0.0
    for each in (process, *process.children(recursive=True)):
        with suppress(psutil.NoSuchProcess):
            times = each.cpu_times()
            total += times.user + times.system
    return total
