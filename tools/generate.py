"""Generates every language's stubs from protos/: `python tools/generate.py BUF [--check]`.

Each language has its template for `buf generate`. Python's modules are rewritten to live in our packages:
docs/decisions/0003-generated-code.md has the reasons, and 0011-clients.md those of the other languages.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import google.rpc

ROOT = Path(__file__).resolve().parent.parent
PYTHON = "forecast_grpc/v1"
"""Where the service's own modules live."""

CLIENT = "clients/python/forecast_grpc_client"
"""The package of the Python client, which brings modules of its own."""

CROSS_IMPORT = re.compile(r"^(\s*)from forecast\.v1 import (\w+_pb2)\b", re.MULTILINE)
"""How one generated module imports another; the same in `.py` and `.pyi`."""

MODULE_NAME = re.compile(r"'forecast\.v1\.(\w+_pb2)'")
"""The `__module__` that messages get: pickle and tracebacks look them up by it."""

RETRIES = "clients/service_config.json"
"""The retry policy, which the packages of some languages can only ship from inside their folders."""

Files = dict[str, str]
"""Texts by their paths from the root."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Language:
    """One language's generated files."""

    name: str
    """For people."""

    owned: tuple[str, ...]
    """Patterns of the files that are ours to write and to delete."""

    generate: Callable[[Path], Files]
    """The files, made by the buf at this path. Raises CalledProcessError where it fails."""

    program: str = "python"
    """What it needs on the PATH. The Makefile brings it where the language's toolchain is there."""


def relocate(source: str, package: str) -> str:
    """The text of a generated module as it must read inside the package."""
    source = CROSS_IMPORT.sub(rf"\1from {package} import \2", source)
    return MODULE_NAME.sub(rf"'{package}.\1'", source)


def in_own_pool(source: str) -> str:
    """The text of a generated module whose messages live in a pool of the client's own (see its `_pool.py`)."""
    source = source.replace(
        "from google.protobuf import descriptor_pool as _descriptor_pool\n",
        "from forecast_grpc_client.v1 import _pool\n",
    )
    return source.replace("_descriptor_pool.Default()", "_pool.POOL")


def built(buf: Path, template: str, *inputs: str | Path) -> Files:
    """What buf makes by a template, by paths from its output folder."""
    programs = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(
            [buf, "generate", "--template", template, "-o", folder, *inputs],
            cwd=ROOT,
            check=True,
            env={**os.environ, "PATH": programs},
        )
        paths = sorted(path for path in Path(folder).rglob("*") if path.is_file())
        return {path.relative_to(folder).as_posix(): path.read_text(encoding="utf-8") for path in paths}


def python(buf: Path) -> Files:
    """The modules of the service and those of the client."""
    modules = {
        Path(path).name: text
        for path, text in built(buf, "buf.gen.yaml").items()
        if not is_empty_grpc(path, text)
    }
    ours = {f"{PYTHON}/{name}": relocate(text, "forecast_grpc.v1") for name, text in modules.items()}
    client = {
        f"{CLIENT}/v1/{name}": in_own_pool(relocate(text, "forecast_grpc_client.v1"))
        for name, text in modules.items()
    }
    return ours | client


def is_empty_grpc(name: str, text: str) -> bool:
    """Whether this is the gRPC module of a proto without a service: the plugins write one all the same."""
    return "_pb2_grpc." in name and "Stub" not in text


def go(buf: Path) -> Files:
    """Go's packages."""
    return {f"clients/go/{path}": text for path, text in built(buf, "clients/go/buf.gen.yaml").items()}


def typescript(buf: Path) -> Files:
    """TypeScript's modules, with those of `google.rpc`: no package on npm has them for this generator."""
    template = "clients/typescript/buf.gen.yaml"
    with error_protos() as folder:
        files = built(buf, template) | built(buf, template, folder)
    return {f"clients/typescript/{path}": text for path, text in files.items()}


@contextmanager
def error_protos() -> Iterator[Path]:
    """A folder with the protos of rich errors alone, out of googleapis-common-protos."""
    with tempfile.TemporaryDirectory() as folder:
        inside = Path(folder) / "google" / "rpc"
        inside.mkdir(parents=True)
        for name in ("status.proto", "error_details.proto"):
            shutil.copy(Path(next(iter(google.rpc.__path__))) / name, inside)
        yield Path(folder)


def retries(_buf: Path) -> Files:
    """The copies of the retry policy."""
    text = (ROOT / RETRIES).read_text(encoding="utf-8")
    return {f"{folder}/service_config.json": text for folder in (CLIENT, "clients/go", "clients/typescript")}


LANGUAGES = (
    Language(name="Python", owned=(f"{PYTHON}/*_pb2*.py*", f"{CLIENT}/v1/*_pb2*.py*"), generate=python),
    Language(name="Go", owned=("clients/go/**/*.pb.go",), generate=go, program="protoc-gen-go"),
    Language(
        name="TypeScript",
        owned=("clients/typescript/src/gen/**/*.ts",),
        generate=typescript,
        program="protoc-gen-es",
    ),
    Language(name="retry policy", owned=("clients/*/**/service_config.json",), generate=retries),
)


def committed(language: Language) -> Files:
    """The generated files in the working tree."""
    paths = sorted(path for pattern in language.owned for path in ROOT.glob(pattern))
    ours = [path for path in paths if not {"node_modules", "dist", "target"} & set(path.parts)]
    return {path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8") for path in ours}


def write(old: Mapping[str, str], new: Mapping[str, str]) -> None:
    """Makes the working tree hold the new files and none of the old ones."""
    for path in old.keys() - new.keys():
        (ROOT / path).unlink()
    for path, text in new.items():
        (ROOT / path).parent.mkdir(parents=True, exist_ok=True)
        (ROOT / path).write_text(text, encoding="utf-8")


def differences(old: Mapping[str, str], new: Mapping[str, str]) -> list[str]:
    """One line for each file that is missing, stale or left over; empty where both are the same."""
    return [
        f"{'left over' if path not in new else 'missing' if path not in old else 'stale'}: {path}"
        for path in sorted(old.keys() | new.keys())
        if old.get(path) != new.get(path)
    ]


def main() -> int:
    """Writes the files, or with --check compares them. Returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("buf", help="the buf executable")
    parser.add_argument("--check", action="store_true", help="compare, write nothing")
    args = parser.parse_args()
    problems: list[str] = []
    for language in LANGUAGES:
        if shutil.which(language.program) is None and language.program != "python":
            print(f"{language.name} is left out: there is no {language.program} here.", file=sys.stderr)
            problems += [f"missing: {language.program}"] if os.environ.get("CI") else []
            continue
        old, new = committed(language), language.generate(Path(args.buf).absolute())
        if args.check:
            problems += differences(old, new)
        else:
            write(old, new)
    if problems:
        print(*problems, "Run `make gen` and commit the result.", sep="\n", file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
