"""Peers that speak the V2 inference protocol: KServe's Python SDK, MLServer, Triton."""

import json
import math
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.environments import python_of
from benchmarks.processes import TargetFailedError
from benchmarks.targets import Target, started
from benchmarks.workload import FORECAST

PORTS = {"kserve": 2, "mlserver": 3, "triton": 3}
"""The peers, with the number of ports that each wants: gRPC, HTTP, metrics."""

METHOD = "/inference.GRPCInferenceService/ModelInfer"
"""The RPC that all of them serve."""


@contextmanager
def rival(name: str, peer: str) -> Iterator[Target]:
    """A peer in its own environment, which has answered right. Raises TargetFailedError."""
    python = str(python_of(peer))

    def command(ports: Sequence[int]) -> tuple[str, ...]:
        return (python, "-m", f"benchmarks.peers.{peer}.serve", *map(str, ports[: PORTS[peer]]))

    with started(command) as (ports, process), TemporaryDirectory() as folder:
        _require_right(name, [python, "-m", "benchmarks.peers.asking", peer, str(ports[0]), folder])
        options = {
            "address": f"127.0.0.1:{ports[0]}",
            "method": METHOD,
            "customer": "none",  # The request itself names one.
            "request-file": Path(folder) / "request.bin",
            "expect-file": Path(folder) / "answer.bin",
        }
        yield Target(name=name, grpc_port=ports[0], process=process, options=options)


def _require_right(name: str, ask: Sequence[str]) -> None:
    done = subprocess.run(ask, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise TargetFailedError(f"{name} does not answer:\n{done.stderr}")
    forecast = json.loads(done.stdout)
    pairs = zip(forecast, FORECAST, strict=True)
    if not all(math.isclose(one, other, rel_tol=1e-12) for one, other in pairs):
        raise TargetFailedError(f"{name} answers {forecast}")
