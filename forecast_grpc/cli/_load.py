"""The load generator of benchmarks/load, a Go program: found or built, and run."""

import json
import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import forecast_grpc
from forecast_grpc.cli._call import Target
from forecast_grpc.cli._common import CommandFailed, ExitCode
from forecast_grpc.cli._plan import Plan

NAME = "forecast-grpc-load"
"""What the program is called."""

_TOKEN_VARIABLE = "FORECAST_GRPC_TOKEN"  # noqa: S105 - a name.
_CHECKOUT = Path(forecast_grpc.__file__).parent.parent
_SOURCE = _CHECKOUT / "benchmarks" / "load"
_BUILT = _CHECKOUT / ".tools" / "bin" / NAME


class BuildFailedError(Exception):
    """Go could not build the program; the text is what it said."""


def generator() -> Path | None:
    """The program: built anew where Go and its source are, else one that is there; None where there is none.

    Raises BuildFailedError.
    """
    go = shutil.which("go")
    if go is not None and _SOURCE.is_dir():
        return _build(go)
    found = shutil.which(NAME)
    if found is not None:
        return Path(found)
    return _BUILT if _BUILT.exists() else None


def _build(go: str) -> Path:
    """Costs half a second where nothing has changed: Go knows what it has built."""
    _BUILT.parent.mkdir(parents=True, exist_ok=True)
    # Beside it first: another process may be running the one that is there, or building the same.
    beside = _BUILT.with_suffix(f".{os.getpid()}")
    command = [go, "build", "-trimpath", "-o", str(beside), "."]
    done = subprocess.run(command, cwd=_SOURCE, capture_output=True, text=True, check=False)  # noqa: S603 - Go.
    if done.returncode != 0:
        raise BuildFailedError(done.stderr.strip())
    return beside.replace(_BUILT)


def measure(program: Path, target: Target, plan: Plan) -> dict[str, Any]:
    """Sends the load of a plan, and returns what the program printed. Ends the command as `run` does."""
    with TemporaryDirectory() as folder:
        request, customers = Path(folder, "request.bin"), Path(folder, "customers")
        request.write_bytes(plan.request)
        customers.write_text("\n".join(plan.customers), "utf-8")
        options: dict[str, object] = {
            "address": target.address,
            "tls": str(target.tls).lower(),
            "customers-file": customers,
            "order": plan.order,
            "zipf": plan.zipf,
            "request-file": request,
            "connections": plan.connections,
            "in-flight": plan.in_flight,
            "rate": plan.rate,
            "duration": f"{plan.duration_s}s",
            "warm-up": f"{plan.warm_up_s}s",
            "timeout": f"{target.timeout_s}s",
            "tiers": "true",
        }
        if target.application:
            options["metadata"] = f"application={target.application}"
        return run(program, options, target.token)


def run(program: Path, options: Mapping[str, object], token: str | None = None) -> dict[str, Any]:
    """Runs it with `--key=value` for each option, and returns what it printed.

    Ends the command where it could not send anything.
    """
    command = [str(program), *(f"--{key}={value}" for key, value in options.items())]
    # Not on its command line, which every user of the machine can read.
    environment = {key: value for key, value in os.environ.items() if key != _TOKEN_VARIABLE}
    environment |= {_TOKEN_VARIABLE: token} if token else {}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)  # noqa: S603 - ours.
    if done.returncode != 0:
        # It has the exit codes of our commands, but where it crashed.
        known = done.returncode in {int(code) for code in ExitCode}
        raise CommandFailed(
            done.stderr.strip().removeprefix("Error: ") or f"{NAME} ended with exit code {done.returncode}.",
            ExitCode(done.returncode) if known else ExitCode.FAILED,
        )
    result: dict[str, Any] = json.loads(done.stdout)
    return result
