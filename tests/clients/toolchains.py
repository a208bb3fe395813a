"""The clients in every language, built as their README says it from a copy of what a clone holds."""

import fcntl
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.documents import ROOT, blocks

BUILD_TIMEOUT_S = 600


@dataclass(frozen=True, slots=True, kw_only=True)
class Language:
    """A language that there is a client in."""

    name: str
    """For people."""

    folder: str
    """Of clients/."""

    programs: tuple[str, ...]
    """Its ordinary toolchain."""

    conformance: str
    """The command that runs the cases, in its folder; with {address} and {service}."""

    @property
    def readme(self) -> Path:
        """The page that says how to build and run it."""
        return ROOT / "clients" / self.folder / "README.md"


LANGUAGES = (
    Language(
        name="Python",
        folder="python",
        programs=("python3",),
        conformance=".venv/bin/python conformance.py --address {address} --service {service} ../cases.json",
    ),
    Language(
        name="Go",
        folder="go",
        programs=("go",),
        conformance="go run ./cmd/conformance -address {address} -service {service} ../cases.json",
    ),
    Language(
        name="TypeScript",
        folder="typescript",
        programs=("node", "npm"),
        conformance="node dist/conformance.js --address {address} --service {service} ../cases.json",
    ),
    Language(
        name="Java",
        folder="java",
        programs=("java", "javac", "mvn"),
        conformance=(
            "java -cp 'target/forecast-grpc-client-0.1.0.jar:target/lib/*' forecastgrpc.Conformance"
            " {address} {service} ../cases.json"
        ),
    ),
)


def require(language: Language) -> None:
    """Skips the test where the language's toolchain is missing, and says so; fails under CI=true."""
    missing = [program for program in language.programs if shutil.which(program) is None]
    if missing:
        left_out = f"the client in {language.name} is left out: there is no {' and no '.join(missing)} here"
        (pytest.fail if os.environ.get("CI") else pytest.skip)(left_out)


def shell(script: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs commands as a reader of a README types them."""
    return subprocess.run(
        ["bash", "-ec", script],
        cwd=folder,
        env=os.environ | environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=BUILD_TIMEOUT_S,
        check=False,
    )


class Workshop:
    """A copy of what a clone holds, in which each client is built once, whichever process comes first."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        """The root of the copy."""
        with self._locked("copy"):
            if not (folder / "clients").exists():
                self._copy()

    def built(self, language: Language) -> Path:
        """The folder of a client that has been built by the `sh` blocks of its README."""
        commands = "".join(block.text for block in blocks(language.readme) if block.language == "sh")
        done = self.folder / f"{language.folder}.built"
        with self._locked(language.folder):
            if not done.exists():
                ran = shell(commands, self.folder)
                done.write_text(f"{ran.returncode}\n{commands}\n{ran.stdout}{ran.stderr}")
        status, _, said = done.read_text().partition("\n")
        assert status == "0", said
        return self.folder / "clients" / language.folder

    def _copy(self) -> None:
        listed = subprocess.run(
            ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "clients", "protos"],
            cwd=ROOT, capture_output=True, text=True, check=True,
        )  # fmt: skip
        for name in filter(None, listed.stdout.split("\0")):
            (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, self.folder / name)

    @contextmanager
    def _locked(self, name: str) -> Iterator[None]:
        self.folder.mkdir(exist_ok=True)
        with (self.folder / f"{name}.lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield


def shared_folder(factory: pytest.TempPathFactory) -> Path:
    """A folder that all processes of a test run have in common."""
    base = factory.getbasetemp()
    return (base.parent if re.fullmatch(r"popen-gw\d+", base.name) else base) / "clone"
