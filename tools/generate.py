"""Generates forecast_grpc/v1 from protos/: `python tools/generate.py BUF [--check]`.

Python's protoc derives the import path from the proto's file name: forecast/v1/forecast.proto becomes the module
forecast.v1.forecast_pb2. The file name is part of the wire's identity, so it stays; the modules are rewritten to
live in our package. docs/decisions/0003-generated-code.md has the reasons.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
OUT = ROOT / "forecast_grpc" / "v1"
"""Where the generated modules live. Everything there named `*_pb2*` is ours to write and to delete."""

CROSS_IMPORT = re.compile(r"^(\s*)from forecast\.v1 import (\w+_pb2)\b", re.MULTILINE)
"""How one generated module imports another; the same in `.py` and `.pyi`."""

MODULE_NAME = re.compile(r"'forecast\.v1\.(\w+_pb2)'")
"""The `__module__` that messages get: pickle and tracebacks look them up by it."""


def relocate(source: str) -> str:
    """The text of a generated module as it must read inside the package forecast_grpc.v1."""
    source = CROSS_IMPORT.sub(r"\1from forecast_grpc.v1 import \2", source)
    return MODULE_NAME.sub(r"'forecast_grpc.v1.\1'", source)


def generate(buf: Path) -> dict[str, str]:
    """The generated modules, text by file name. Raises CalledProcessError where `buf generate` fails."""
    programs = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(
            [buf, "generate", "-o", folder], cwd=ROOT, check=True, env={**os.environ, "PATH": programs}
        )
        files = {path.name: path.read_text(encoding="utf-8") for path in Path(folder).rglob("*_pb2*.py*")}
    return {name: relocate(text) for name, text in sorted(files.items()) if not is_empty_grpc(name, text)}


def is_empty_grpc(name: str, text: str) -> bool:
    """Whether this is the gRPC module of a proto without a service: the plugins write one all the same."""
    return "_pb2_grpc." in name and "Stub" not in text


def committed() -> dict[str, str]:
    """The generated modules in the working tree, text by file name."""
    return {path.name: path.read_text(encoding="utf-8") for path in OUT.glob("*_pb2*.py*")}


def write(files: Mapping[str, str]) -> None:
    """Makes the working tree hold these modules and no others."""
    for name in committed().keys() - files.keys():
        (OUT / name).unlink()
    for name, text in files.items():
        (OUT / name).write_text(text, encoding="utf-8")


def differences(old: Mapping[str, str], new: Mapping[str, str]) -> list[str]:
    """One line for each module that is missing, stale or left over; empty where both are the same."""
    return [
        f"{'left over' if name not in new else 'missing' if name not in old else 'stale'}: {OUT.name}/{name}"
        for name in sorted(old.keys() | new.keys())
        if old.get(name) != new.get(name)
    ]


def main() -> int:
    """Writes the modules, or with --check compares them. Returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("buf", help="the buf executable")
    parser.add_argument("--check", action="store_true", help="compare, write nothing")
    args = parser.parse_args()
    files = generate(Path(args.buf).absolute())
    if not args.check:
        write(files)
        return 0
    found = differences(committed(), files)
    if found:
        print(*found, "Run `make gen` and commit the result.", sep="\n", file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
