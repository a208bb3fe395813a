"""The generated wire: what users of forecast_grpc.v1 may rely on."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

ROOT = Path(__file__).resolve().parent.parent
PROTOS = sorted((ROOT / "protos").rglob("*.proto"))
GENERATED = ROOT / "forecast_grpc" / "v1"


def test_protos_say_what_they_mean() -> None:
    """Every message, field, service, RPC and enum value in protos/ has a comment, for readers of no Python."""
    declaration = re.compile(r"^\s*(message|service|rpc|enum|optional|repeated|[\w.]+)\s+\w+.*[{;]$")
    for path in PROTOS:
        lines = path.read_text(encoding="utf-8").splitlines()
        body = [(number, line) for number, line in enumerate(lines) if declaration.match(line)]
        bare = [
            f"{path.relative_to(ROOT)}:{number + 1}: {line.strip()}"
            for number, line in body
            if not line.startswith(("syntax", "package", "import", "option "))
            and not lines[number - 1].lstrip().startswith("//")
        ]
        assert not bare, "\n".join(bare)


def in_a_fresh_process(code: str, *path: Path) -> str:
    """What a new interpreter prints, with these folders first on its path. Raises where it fails."""
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, path))},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_a_users_own_stubs_live_beside_ours(tmp_path: Path) -> None:
    """Stubs that a user generates from the same protos work in one process with ours, in either order."""
    files = [path.relative_to(ROOT / "protos").as_posix() for path in PROTOS]
    arguments = [
        sys.executable,
        "-m",
        "grpc_tools.protoc",
        f"-I{ROOT / 'protos'}",
        f"--python_out={tmp_path}",
        f"--grpc_python_out={tmp_path}",
    ]
    subprocess.run([*arguments, *files], check=True)
    theirs = "from forecast.v1 import error_reason_pb2, forecast_pb2 as theirs, forecast_pb2_grpc"
    ours = "from forecast_grpc.v1 import error_reason_pb2, forecast_pb2 as ours, forecast_pb2_grpc"
    use = (
        "assert theirs.__file__ != ours.__file__\n"
        "sent = theirs.ForecastRequest(sequence_data=[1, 2], horizon=3).SerializeToString()\n"
        "print(ours.ForecastRequest.FromString(sent).horizon)"
    )
    assert in_a_fresh_process("\n".join([theirs, ours, use]), tmp_path) == "3"
    assert in_a_fresh_process("\n".join([ours, theirs, use]), tmp_path) == "3"


def test_messages_survive_pickle() -> None:
    """A message knows the module that it really lives in, so that Ray can send it between processes."""
    code = (
        "import pickle\n"
        "from forecast_grpc.v1.forecast_pb2 import ForecastRequest\n"
        "print(pickle.loads(pickle.dumps(ForecastRequest(horizon=3))).horizon, ForecastRequest.__module__)"
    )
    assert in_a_fresh_process(code) == "3 forecast_grpc.v1.forecast_pb2"


def test_descriptors_keep_their_canonical_names() -> None:
    """The wire's file and package names are those of protos/, whatever package the Python lives in."""
    code = (
        "from forecast_grpc.v1 import forecast_pb2 as it\n"
        "print(it.DESCRIPTOR.name, it.DESCRIPTOR.package, it.ForecastRequest.DESCRIPTOR.full_name)"
    )
    expected = "forecast/v1/forecast.proto forecast.v1 forecast.v1.ForecastRequest"
    assert in_a_fresh_process(code) == expected


def lowest(requirement: Requirement) -> Version:
    """The oldest version that satisfies a requirement of the form `>=X` or `>=X,<Y`."""
    return min(Version(clause.version) for clause in requirement.specifier if clause.operator == ">=")


def test_dependencies_are_new_enough_for_the_generated_code() -> None:
    """The oldest protobuf and grpcio that pip may install are ones that the generated modules accept."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    requirements = {found.name: found for found in map(Requirement, project["dependencies"])}
    messages = (GENERATED / "forecast_pb2.py").read_text(encoding="utf-8")
    stubs = (GENERATED / "forecast_pb2_grpc.py").read_text(encoding="utf-8")
    (protobuf,) = re.findall(r"^# Protobuf Python Version: (\S+)$", messages, re.MULTILINE)
    (grpcio,) = re.findall(r"^GRPC_GENERATED_VERSION = '(\S+)'$", stubs, re.MULTILINE)
    assert lowest(requirements["protobuf"]) >= Version(protobuf)
    assert lowest(requirements["grpcio"]) >= Version(grpcio)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the package as its wheel holds it: what a user installs."""
    folder = tmp_path_factory.mktemp("site")
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*pip, "--wheel-dir", folder, ROOT], check=True)
    (wheel,) = folder.glob("*.whl")
    zipfile.ZipFile(wheel).extractall(folder)
    wheel.unlink()
    return folder


def test_the_wheel_holds_the_types_and_nothing_of_the_workshop(site: Path) -> None:
    """The built package ships its type stubs and their marker, and no other top-level package."""
    assert (site / "forecast_grpc" / "py.typed").is_file()
    assert (site / "forecast_grpc" / "v1" / "forecast_pb2_grpc.pyi").is_file()
    assert [path.name for path in site.iterdir() if path.suffix != ".dist-info"] == ["forecast_grpc"]


STRICT_USER = """
import asyncio
import grpc
from forecast_grpc.v1 import forecast_pb2, forecast_pb2_grpc


def ask(channel: grpc.Channel) -> list[float]:
    stub = forecast_pb2_grpc.ForecastServiceStub(channel)
    reply: forecast_pb2.ForecastResponse = stub.Forecast(forecast_pb2.ForecastRequest(horizon=3), timeout=1.0)
    return list(reply.forecast)


async def ask_soon(channel: grpc.aio.Channel) -> str:
    stub = forecast_pb2_grpc.ForecastServiceStub(channel)
    reply = await stub.Forecast(forecast_pb2.ForecastRequest(sequence_data=[1.0]))
    return reply.customer_id
"""


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ("", None),
        ("horizon=3->horizon='3'", "incompatible type"),
        ("reply.customer_id->reply.customer", "has no attribute"),
    ],
)
def test_strict_callers_are_typed(site: Path, tmp_path: Path, change: str, complaint: str | None) -> None:
    """A caller under `mypy --strict` gets types for messages and both kinds of stub, and its mistakes shown."""
    old, _, new = change.partition("->")
    caller = tmp_path / "caller.py"
    caller.write_text(STRICT_USER.replace(old, new) if change else STRICT_USER, encoding="utf-8")
    mypy = [sys.executable, "-m", "mypy", "--strict", "--cache-dir", str(ROOT / ".mypy_cache" / "callers")]
    # As for a package that is installed: the caller's mistakes are shown, not what our own imports lack.
    mypy.append("--follow-imports=silent")
    env = {**os.environ, "MYPYPATH": str(site)}
    done = subprocess.run(
        [*mypy, str(caller)], cwd=tmp_path, env=env, capture_output=True, text=True, check=False
    )
    assert (complaint in done.stdout) if complaint else (done.returncode == 0), done.stdout


BUILT = shutil.ignore_patterns("node_modules", "target", "dist", ".venv", "__pycache__")
"""What the builds of the clients leave behind."""


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A clone of the repository to break, with the working tree's protos and tools in it."""
    folder = tmp_path / "clone"
    subprocess.run(["git", "clone", "--quiet", ROOT, folder], check=True)
    for name in ("protos", "tools", "forecast_grpc/v1", "clients"):
        shutil.copytree(ROOT / name, folder / name, ignore=BUILT, dirs_exist_ok=True)
    for name in ("Makefile", "buf.yaml", "buf.gen.yaml"):
        shutil.copy(ROOT / name, folder / name)
    return folder


def check(clone: Path, target: str) -> subprocess.CompletedProcess[str]:
    """Runs one part of `make check` in the clone, with this environment's Python and buf."""
    found = sorted(ROOT.glob(".tools/buf-*/node_modules/.bin/buf"))
    if not found and "CI" not in os.environ:
        pytest.skip("buf is not installed: `make check` installs it")
    assert found, "buf is not installed: `make check` installs it"
    arguments = ["make", target, f"BUF={found[-1]}", f"PY={sys.executable}", f"TOOLS={ROOT / '.tools'}"]
    return subprocess.run(arguments, cwd=clone, capture_output=True, text=True, check=False)


def edit(path: Path, old: str, new: str) -> None:
    """Replaces the one place in a file."""
    text = path.read_text(encoding="utf-8")
    assert text.count(old) == 1
    path.write_text(text.replace(old, new), encoding="utf-8")


def test_a_breaking_change_is_refused(clone: Path) -> None:
    """`make check` fails, and names the field, when the wire changes in a way that breaks callers."""
    assert check(clone, "check-breaking").returncode == 0
    edit(
        clone / "protos/forecast/v1/forecast.proto",
        "repeated double forecast = 2;",
        "repeated float forecast = 2;",
    )
    done = check(clone, "check-breaking")
    assert done.returncode != 0
    assert "forecast" in done.stdout + done.stderr
    assert "double" in done.stdout + done.stderr


def test_the_last_release_is_what_counts(clone: Path) -> None:
    """What came after the first protos may change until it is released, and from then on no more."""
    edit(clone / "protos/forecast/v1/forecast.proto", "repeated ForecastItem items = 1;\n\n", "")
    assert check(clone, "check-breaking").returncode == 0
    subprocess.run(["git", "tag", "v1.0.0"], cwd=clone, check=True)
    done = check(clone, "check-breaking")
    assert done.returncode != 0
    assert '"items"' in done.stdout + done.stderr


def test_stale_generated_code_is_refused(clone: Path) -> None:
    """`make check` fails, and names the files, when a proto's comment alone has changed since `make gen`."""
    assert check(clone, "check-generated").returncode == 0
    edit(
        clone / "protos/forecast/v1/forecast.proto",
        "// The customer whose model answered.",
        "// Whose model.",
    )
    done = check(clone, "check-generated")
    assert done.returncode != 0
    assert "stale: forecast_grpc/v1/forecast_pb2.pyi" in done.stderr


STALE = (
    ("clients/go/forecast/v1/forecast.pb.go", "package forecastv1", "package forecastv2"),
    ("clients/typescript/src/gen/forecast/v1/forecast_pb.ts", "/* eslint-disable */", "/* eslint */"),
    ("clients/python/forecast_grpc_client/v1/forecast_pb2.py", "_pool.POOL", "_pool.Default"),
    ("clients/go/service_config.json", '"maxAttempts": 5', '"maxAttempts": 4'),
)
"""Changes to what `make gen` writes for the clients."""


def test_stale_code_of_each_language_is_refused(clone: Path) -> None:
    """`make check` fails, and names the files, where they are not what `make gen` would write."""
    for path, old, new in STALE:
        text = (clone / path).read_text(encoding="utf-8")
        assert old in text
        (clone / path).write_text(text.replace(old, new, 1), encoding="utf-8")
    done = check(clone, "check-generated")
    assert done.returncode != 0
    assert {f"stale: {path}" for path, _, _ in STALE} <= set(done.stderr.splitlines())


def test_a_language_without_its_generator_is_left_out(clone: Path, tmp_path: Path) -> None:
    """Without Go and npm `make check` says what it has left out; under CI=true it fails."""
    for program in ("sh", "git", "tar"):
        (tmp_path / program).symlink_to(str(shutil.which(program)))
    generate = [
        sys.executable,
        "tools/generate.py",
        str(max(ROOT.glob(".tools/buf-*/node_modules/.bin/buf"))),
    ]
    # buf's launcher is a script for Node.js.
    node = Path(str(shutil.which("node"))).parent
    for ci, code in (({}, 0), ({"CI": "true"}, 1)):
        done = subprocess.run(
            [*generate, "--check"],
            cwd=clone,
            env={"PATH": f"{tmp_path}:{node}", "HOME": str(tmp_path), **ci},
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == code, done.stderr
        for language in ("Go", "TypeScript"):
            assert f"{language} is left out" in done.stderr
