"""`python -m benchmarks` runs every benchmark, `python -m benchmarks NAME [OPTIONS]` one of them."""

import subprocess
import sys
from pathlib import Path

FOLDER = Path(__file__).parent


def _names() -> list[str]:
    """The scripts that have a main, in alphabetical order."""
    return [path.stem for path in sorted(FOLDER.glob("[!_]*.py")) if "\nif __name__" in path.read_text()]


def _run(name: str, *options: str) -> int:
    """Runs one benchmark in a process of its own and returns its exit code."""
    print(f"--- {name}", flush=True)
    return subprocess.run([sys.executable, "-m", f"benchmarks.{name}", *options], check=False).returncode


# Not guarded by a test of `__name__`: nobody imports this file, and it is not a benchmark itself.
name, *options = sys.argv[1:] or [""]
if name and name not in _names():
    sys.exit(f"There is no benchmark {name}: the benchmarks are {', '.join(_names())}.")
sys.exit(max(_run(each, *options) for each in ([name] if name else _names())))
