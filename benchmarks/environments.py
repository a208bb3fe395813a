"""The environment of each peer: a virtual environment of its own, with the versions that its folder pins."""

import subprocess
import sys
from pathlib import Path

_ROOT = Path(__file__).parent.parent
_PEERS = _ROOT / "benchmarks" / "peers"
_ENVIRONMENTS = _ROOT / ".tools" / "peers"


def python_of(peer: str) -> Path:
    """The Python of a peer's environment, which is made anew where its requirements have changed."""
    folder = _ENVIRONMENTS / peer
    python, stamp = folder / "bin" / "python", folder / "installed.txt"
    requirements = (_PEERS / peer / "requirements.txt").read_text("utf-8")
    if not stamp.exists() or stamp.read_text("utf-8") != requirements:
        print(f"Installing the peer {peer} ...", file=sys.stderr, flush=True)
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
        install = [
            "-m",
            "pip",
            "--quiet",
            "--disable-pip-version-check",
            "install",
            "--no-deps",
            "--requirement",
        ]
        subprocess.run([str(python), *install, str(_PEERS / peer / "requirements.txt")], check=True)
        stamp.write_text(requirements, "utf-8")
    return python
