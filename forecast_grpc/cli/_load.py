"""The load generator of benchmarks/load, a Go program: found or built, and run."""

import json
import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import forecast_grpc
from forecast_grpc.cli._common import CommandFailed, ExitCode

NAME = "forecast-grpc-load"
"""What the program is called."""

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


def run(program: Path, options: Mapping[str, object]) -> dict[str, Any]:
    """Runs it with `--key=value` for each option, and returns what it printed.

    Ends the command where it could not send anything.
    """
    command = [str(program), *(f"--{key}={value}" for key, value in options.items())]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - ours.
    if done.returncode != 0:
        # It has the exit codes of our commands, but where it crashed.
        known = done.returncode in {int(code) for code in ExitCode}
        raise CommandFailed(
            done.stderr.strip().removeprefix("Error: ") or f"{NAME} ended with exit code {done.returncode}.",
            ExitCode(done.returncode) if known else ExitCode.FAILED,
        )
    result: dict[str, Any] = json.loads(done.stdout)
    return result
