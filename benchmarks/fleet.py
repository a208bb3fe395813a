"""forecast-grpc as it is deployed, and what can be asked of it while it runs: load, memory, metrics."""

import re
import sys
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import psutil

from benchmarks.generator import WrongAnswersError
from benchmarks.processes import free_ports, running
from benchmarks.processor import family_s
from forecast_grpc.cli import _load

METRICS_AGE_S = 12.0
"""How old what Ray's Prometheus endpoint says may be, in seconds."""

Result = dict[str, Any]
"""What the load generator says of a load."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fleet:
    """A service that runs."""

    port: int
    """Where it listens for gRPC."""

    metrics_port: int
    """Where Prometheus would scrape it."""

    process: psutil.Process
    """What was started; everything else is among its descendants."""

    def load(self, **options: object) -> Result:
        """Sends load until it is answered. `in_flight=1` is `--in-flight=1` of benchmarks/load."""
        return load(self.port, **options)

    def replicas(self) -> list[psutil.Process]:
        """The processes of the replicas, by the names that Ray gives them."""
        children = self.process.children(recursive=True)
        return [each for each in children if "ray::ServeReplica" in " ".join(each.cmdline())]

    def replica_bytes(self) -> int:
        """Resident memory of the replicas, of pages that they share each its part."""
        return sum(each.memory_full_info().pss for each in self.replicas())

    def all_bytes(self) -> int:
        """Resident memory of everything that was started."""
        total = 0
        for each in (self.process, *self.process.children(recursive=True)):
            with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
                total += each.memory_full_info().pss
        return total

    def busy(self, seconds: float) -> float:
        """Cores that the replicas keep busy over so many seconds, together."""
        replicas = self.replicas()
        before = sum(map(family_s, replicas))
        time.sleep(seconds)
        return (sum(map(family_s, replicas)) - before) / seconds

    def metric(self, name: str, **labels: str) -> float:
        """The sum of a metric's samples that have these labels, as they were `METRICS_AGE_S` ago or later."""
        with urlopen(f"http://127.0.0.1:{self.metrics_port}/metrics", timeout=20) as answer:
            lines = answer.read().decode().splitlines()
        samples = (re.fullmatch(rf"ray_forecast_grpc_{name}\{{(.*)\}} (\S+)", line) for line in lines)
        wanted = {f'{key}="{value}"' for key, value in labels.items()}
        return sum(float(each[2]) for each in samples if each and wanted <= set(each[1].split(",")))


@contextmanager
def serving(store: Path | str, *, replicas: int = 1, **settings: object) -> Iterator[Fleet]:
    """The service on this store, with settings as `serve --set` takes them, and `ingress` as `serve` does."""
    ingress = settings.pop("ingress", "haproxy")
    port, metrics_port, *replica_ports = free_ports()
    command = (
        *(str(Path(sys.executable).with_name("forecast-grpc")), "serve", "--store", str(store)),
        *("--ingress", str(ingress)),
        *("--grpc-port", str(port), "--http-port", "0", "--metrics-port", str(metrics_port)),
        *("--num-replicas", str(replicas), "--set", "num_cpus_per_replica=0.1"),
        *(f"--set={name}={value}" for name, value in settings.items()),
    )
    with running(command, replica_ports) as process:
        yield Fleet(port=port, metrics_port=metrics_port, process=process)


def load(port: int, **options: object) -> Result:
    """Sends load to whatever listens there, until it is answered."""
    dashed = {name.replace("_", "-"): value for name, value in options.items()}
    return _load.run(_program(), {"address": f"127.0.0.1:{port}", **dashed})


@contextmanager
def beside(fleet: Fleet, **options: object) -> Iterator[Future[Result]]:
    """Sends load while the body runs and until it is answered, which is waited for; what came of it."""
    with ThreadPoolExecutor(1) as pool:
        yield pool.submit(fleet.load, **options)


def require(result: Result, *codes: str) -> Result:
    """The result, where every request had one of these codes. Raises WrongAnswersError."""
    others = {code: count for code, count in result["outcomes"].items() if code not in (codes or ("OK",))}
    if others:
        raise WrongAnswersError(f"{others} of {result['requests']} requests: {result.get('messages')}")
    return result


@cache
def _program() -> Path:
    found = _load.generator()
    if found is None:
        sys.exit("There is no load generator: Go 1.26 or newer builds it, see docs/benchmarks.md.")
    return found
