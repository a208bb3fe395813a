"""deploy/Containerfile fits what is there: no engine runs here to build it, but all that it names is looked at.

The clusters of the other tests run on what its lock holds, and on no more: see `ray_cluster`.
"""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.specifiers import SpecifierSet

from tests.deploy.image import LOCK, locked

ROOT = Path(__file__).resolve().parents[2]
RECIPE = (ROOT / "deploy" / "Containerfile").read_text("utf-8")
COPIED = dict(re.findall(r"^COPY (\S+) (\S+)$", RECIPE, re.MULTILINE))
BASES = re.findall(r"BASE=(\S+)", RECIPE)


@pytest.mark.parametrize("base", BASES)
def test_its_base_has_the_locked_ray_and_a_python_of_ours(base: str) -> None:
    """Each base has the Ray of the lock, which pip leaves as it is, and a Python that the package supports."""
    found = re.fullmatch(r"(?:rayproject|anyscale)/ray:([\d.]+)-(?:slim-)?py3(\d+)(?:-cpu)?", base)
    assert found
    (ray,) = (requirement for requirement in locked() if requirement.name == "ray")
    assert str(ray.specifier) == f"=={found[1]}"
    supported = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["requires-python"]
    assert f"3.{found[2]}.0" in SpecifierSet(supported)


def test_it_names_a_base_for_kubernetes_and_one_for_anyscale() -> None:
    """Ray's own image unless told otherwise, and Anyscale's."""
    assert [base.partition("/")[0] for base in BASES] == ["anyscale", "rayproject"]


def test_package_and_lock_lie_where_it_looks_for_them() -> None:
    """What it copies is there, the package lies on its PYTHONPATH, and it installs the lock with its hashes."""
    assert all((ROOT / name).exists() for name in COPIED)
    (path,) = re.findall(r"^ENV PYTHONPATH=(\S+)$", RECIPE, re.MULTILINE)
    assert COPIED["forecast_grpc"] == f"{path}/forecast_grpc"
    lock = f"{COPIED['deploy/requirements.txt']}requirements.txt"
    assert f"--require-hashes --no-deps -r {lock}\n" in RECIPE


def test_the_engine_is_given_what_it_copies_and_little_else() -> None:
    """.dockerignore lets through what the recipe copies: a checkout holds environments of gigabytes."""
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    assert "*" in lines
    assert {line.removeprefix("!") for line in lines if line.startswith("!")} == set(COPIED)


def test_its_lock_is_part_of_the_tested_one() -> None:
    """Every version and hash in the image's lock is one of requirements.txt, with which everything was tested."""
    found = r"^[a-z][^\s;]*==[^\s;]*|--hash=\S+"
    ours, whole = (
        set(re.findall(found, file.read_text("utf-8"), re.MULTILINE))
        for file in (LOCK, ROOT / "requirements.txt")
    )
    assert ours
    assert ours <= whole


def test_its_lock_has_no_tools_for_development() -> None:
    """No test runner, type checker, notebook or deployment tool is in the image."""
    tools = {
        "pytest",
        "mypy",
        "ruff",
        "ipykernel",
        "schemathesis",
        "anyscale",
        "grpcio-tools",
        "moto",
        "scikit-learn",
    }
    assert not tools & {requirement.name for requirement in locked()}


def test_pip_takes_its_command() -> None:
    """The recipe's own `pip install`, on the lock as it is here, takes each package, its version and hashes."""
    (command,) = re.findall(r"^RUN (pip install .*)$", RECIPE, re.MULTILINE)
    here = command.replace(f"{COPIED['deploy/requirements.txt']}requirements.txt", str(LOCK))
    # Everything is installed: nothing is fetched, but the file is read and each line of it is checked.
    done = subprocess.run(
        [sys.executable, "-m", *here.split(), "--dry-run", "--no-index"],
        capture_output=True, text=True, check=False, cwd=ROOT,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("Requirement already satisfied") == len(list(locked()))
