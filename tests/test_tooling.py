"""The workshop: make targets, the lock, the generated code."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from itertools import chain
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parent.parent

CONTRACT = {"help", "setup", "serve", "test", "check", "gen", "bench", "lock", "clean", "format"}
"""The make targets that people and scripts rely on."""


def make(*args: str, **env: str) -> subprocess.CompletedProcess[str]:
    """Runs make in the repository, as a user without a make around it would."""
    outer = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    return subprocess.run(
        [str(shutil.which("make")), *args],
        cwd=ROOT,
        env={**outer, **env},
        capture_output=True,
        text=True,
        check=False,
    )


def tracked_files() -> list[Path]:
    """The files of the repository, those about to be added included."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return [path for name in listed.stdout.split("\0") if name and (path := ROOT / name).is_file()]


def test_make_alone_lists_every_target() -> None:
    """`make` prints the targets of the contract, each with a line of help, and does nothing else."""
    listed = re.findall(r"^  make (\S+) +\S", make().stdout, re.MULTILINE)
    assert set(listed) == CONTRACT
    assert make("help").stdout == make().stdout


def test_no_target_is_left_out_of_the_help() -> None:
    """Every phony target is in the help, but for the parts of `make check`."""
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    (phony,) = re.findall(r"^\.PHONY: (.*)$", makefile, re.MULTILINE)
    (checks,) = re.findall(r"^CHECKS := (.*)$", makefile, re.MULTILINE)
    assert set(phony.split()) - {"$(CHECKS)"} == CONTRACT
    assert all(re.search(rf"^{check}:", makefile, re.MULTILINE) for check in checks.split())


def stand_in(folder: Path, *, version: str, status: int) -> Path:
    """An executable that answers `--version` like a Python of that version, and every `-c` with that status."""
    path = folder / "python"
    path.write_text(f'#!/bin/sh\n[ "$1" = --version ] && echo "Python {version}" && exit 0\nexit {status}\n')
    path.chmod(0o755)
    return path


def old_python(folder: Path) -> Path:
    """A Python that is too old: a real one where there is one, else a stand-in that says it is."""
    for name in ("python3.10", "python3.9", "python3.8"):
        found = shutil.which(name)
        if found and subprocess.run([found, "--version"], capture_output=True, check=False).returncode == 0:
            return Path(found)
    return stand_in(folder, version="3.10.4", status=1)


def sentences(done: subprocess.CompletedProcess[str]) -> list[str]:
    """The lines of standard error that are ours and not make's own."""
    return [line for line in done.stderr.splitlines() if not line.startswith("make")]


def test_a_wrong_python_is_refused_in_one_sentence(tmp_path: Path) -> None:
    """`make setup` with a Python older than 3.11 names it, says what is needed, makes nothing and fails."""
    venv = tmp_path / "venv"
    done = make("setup", f"PYTHON={old_python(tmp_path)}", f"VENV={venv}")
    assert done.returncode != 0
    (sentence,) = sentences(done)
    assert re.search(
        r"Python 3\.(10|9|8)\.\d+, and forecast-grpc needs Python 3\.11, 3\.12 or 3\.13", sentence
    )
    assert not venv.exists()


def test_a_missing_python_is_refused_in_one_sentence(tmp_path: Path) -> None:
    """`make setup` with a Python that is not there says so and fails."""
    done = make("setup", f"PYTHON={tmp_path}/python", f"VENV={tmp_path}/venv")
    assert done.returncode != 0
    (sentence,) = sentences(done)
    assert sentence.startswith(f"There is no {tmp_path}/python here")


def test_a_machine_without_python_is_told_what_to_install(tmp_path: Path) -> None:
    """Where no Python is on the PATH, `make setup` says which one to install and fails."""
    for program in ("sh", "dirname"):
        (tmp_path / program).symlink_to(str(shutil.which(program)))
    done = make("setup", f"VENV={tmp_path}/venv", PATH=str(tmp_path))
    assert done.returncode != 0
    (sentence,) = sentences(done)
    assert sentence.startswith("forecast-grpc needs Python 3.11, 3.12 or 3.13, and none is on the PATH")


def test_a_python_without_venv_is_told_what_to_install(tmp_path: Path) -> None:
    """A Python whose distribution keeps venv in a package of its own (Debian) is told that package's name."""
    bare = tmp_path / "python"
    bare.write_text(
        f'#!/bin/sh\ncase "$2" in *ensurepip*) exit 1 ;; esac\nexec {sys.executable} "$@"\n', encoding="utf-8"
    )
    bare.chmod(0o755)
    done = make("setup", f"PYTHON={bare}", f"VENV={tmp_path}/venv")
    assert done.returncode != 0
    (sentence,) = sentences(done)
    assert "python3-venv" in sentence


def test_buf_without_npm_is_explained_in_one_sentence(tmp_path: Path) -> None:
    """`make check` on a machine without npm says what to install and fails."""
    (tmp_path / "sh").symlink_to(str(shutil.which("sh")))
    done = make("check-protos", f"TOOLS={tmp_path}/tools", PATH=f"{tmp_path}")
    assert done.returncode != 0
    (sentence,) = sentences(done)
    assert "install Node.js" in sentence


def locked() -> dict[str, str]:
    """Each requirement of the lock file with its version, and the lines of its hashes as written."""
    text = (ROOT / "requirements.txt").read_text(encoding="utf-8")
    return dict(re.findall(r"^([A-Za-z0-9._-]+==[^\s;]+)((?:.*\\\n)+.*)$", text, re.MULTILINE))


def test_every_locked_package_has_a_hash() -> None:
    """requirements.txt pins every line to one version and at least one SHA-256."""
    text = (ROOT / "requirements.txt").read_text(encoding="utf-8")
    starts = [line for line in text.splitlines() if line and not line.startswith(("#", " "))]
    assert len(starts) == len(locked()) > 100
    assert all("--hash=sha256:" in hashes for hashes in locked().values())


def test_the_lock_names_no_index() -> None:
    """requirements.txt has no address in it: the lock works behind any mirror."""
    text = (ROOT / "requirements.txt").read_text(encoding="utf-8")
    assert not re.search(r"://|--index|--extra-index|--find-links|^-i |^-f ", text, re.MULTILINE)


def test_the_lock_covers_what_the_project_declares() -> None:
    """Every dependency of pyproject.toml, extras included, is in the lock at a version that satisfies it."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    declared = chain(project["dependencies"], *project["optional-dependencies"].values())
    pins = [line.split("==") for line in locked()]
    for requirement in map(Requirement, declared):
        if requirement.name == project["name"]:
            continue
        versions = [version for name, version in pins if name == requirement.name.lower()]
        assert versions, f"{requirement} is not in the lock: run `make lock`"
        assert all(version in requirement.specifier for version in versions), (
            f"{requirement}: locked {versions}"
        )


def test_no_file_names_this_machine() -> None:
    """No file of the repository holds a path of a developer's machine, or a registry's address."""
    secrets = [str(ROOT), str(Path.home()) + "/", "py" + "pi.org", "pythonhosted" + ".org", "npmjs" + ".org",
               "npmjs" + ".com", "proxy.go" + "lang.org", "crates" + ".io", "/opt/" + "wheels"]  # fmt: skip
    found = [
        f"{path.relative_to(ROOT)}: {secret}"
        for path in tracked_files()
        for secret in secrets
        if secret.encode() in path.read_bytes()
    ]
    assert not found, "\n".join(found)


def test_processes_share_the_tests_by_groups(request: pytest.FixtureRequest) -> None:
    """Where several run the tests, those of one service run in one of them: it starts once."""
    shared = hasattr(request.config, "workerinput")
    assert request.node.nodeid.endswith("@test_tooling.py-") == shared


def test_tool_versions_are_exact() -> None:
    """The Makefile pins each tool to one version; npm's lock file, which names its registry, is not kept."""
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    tools = ["BUF", "UV", "GO_PLUGIN", "GO_GRPC_PLUGIN", "ES_PLUGIN"]
    assert re.findall(r"^(\w+)_VERSION := \d+\.\d+\.\d+$", makefile, re.MULTILINE) == tools
    assert not [path for path in tracked_files() if path.name == "package-lock.json"]
