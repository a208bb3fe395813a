"""The rules of who imports whom, held by reading the sources."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "forecast_grpc"

VALUES = {
    "__version__",
    "call",
    "domain",
    "errors",
    "finite",
    "holding",
    "items",
    "names",
    "own_core",
    "quick",
    "records",
    "timeline",
    "usage",
}
CORE = VALUES | {
    "artefact",
    "config",
    "container",
    "covariates",
    "customer",
    "forecasting",
    "late",
    "layout",
    "loading",
    "metadata",
    "models",
    "signing",
    "store",
    "telemetry",
    "trust",
}
MODELS = {"administration", "fleet", "registry"}
EVERYTHING = (
    CORE
    | MODELS
    | {
        "bulk",
        "demo",
        "engine",
        "fit",
        "http",
        "http2",
        "lane",
        "machine",
        "routing",
        "scaling",
        "service",
        "v1",
        "wire",
    }
)

MAY_IMPORT: dict[str, set[str]] = {
    # The package itself offers what data scientists call, and imports it only when they do.
    "__init__": {"convert"},
    # Leaves: they import nothing of ours.
    "domain": set(),
    "quick": set(),
    "errors": set(),
    "holding": set(),
    "config": {"records"},
    "names": set(),
    "timeline": set(),
    "machine": set(),
    "usage": set(),
    "v1": set(),
    # Values that are made of those.
    "call": {"domain"},
    "finite": {"domain"},
    "items": {"domain", "errors"},
    "own_core": {"holding"},
    "records": {"domain", "errors"},
    # The core: it knows no protocol.
    "customer": VALUES,
    "models": {"domain", "finite", "quick"},
    "layout": {"domain"},
    "container": {"domain", "layout", "quick"},
    "metadata": VALUES | {"container", "models", "quick"},
    "late": {"container", "domain", "layout", "models"},
    "signing": set(),
    "trust": VALUES | {"container", "signing"},
    "artefact": VALUES | {"container", "late", "layout", "metadata", "models", "quick", "signing", "trust"},
    "store": VALUES | {"artefact", "customer", "trust"},
    "telemetry": VALUES,
    "loading": VALUES | {"artefact", "customer", "store", "telemetry"},
    "covariates": VALUES | {"models"},
    "forecasting": VALUES | {"covariates", "models"},
    "fit": VALUES | {"artefact", "customer", "forecasting", "models", "signing", "store"},
    "convert": VALUES | {"artefact", "fit", "forecasting", "models", "store"},
    "demo": VALUES | {"artefact", "fit", "models", "store"},
    # The model service, below the wire.
    "registry": VALUES | {"store"},
    "fleet": VALUES | {"loading", "telemetry"},
    "outcome": VALUES | {"telemetry"},
    "administration": VALUES | {"customer", "fleet", "outcome", "registry", "telemetry"},
    # The doors.
    "wire": VALUES | {"customer", "v1"},
    "endings": VALUES | {"wire"},
    "routing": VALUES | {"config", "endings"},
    "engine": CORE | {"outcome", "wire"},
    "bulk": CORE | {"engine", "outcome"},
    "web": VALUES | {"wire"},
    "openapi": VALUES | {"wire"},
    "model_http": VALUES | {"administration", "openapi", "v1", "web", "wire"},
    "http": CORE | {"administration", "bulk", "engine", "model_http", "openapi", "web", "wire"},
    "rpc": VALUES | {"endings", "engine"},
    "bulk_service": VALUES | {"bulk", "rpc", "v1", "wire"},
    "http2": set(),
    "lane": VALUES | {"endings", "http2", "rpc", "v1", "wire"},
    "scaling": set(),
    "model_service": VALUES | MODELS | {"loading", "rpc", "v1", "wire"},
    "service": CORE
    | MODELS
    | {
        "bulk",
        "bulk_service",
        "engine",
        "http",
        "lane",
        "model_service",
        "routing",
        "rpc",
        "scaling",
        "v1",
        "wire",
    },
    # The roots: app puts the rest together, and only the commands, which start it, know app.
    "app": EVERYTHING,
    "cli": EVERYTHING | {"app", "convert"},
}
"""For each room of the house (a module or a package of forecast_grpc): the other rooms that it may import."""

MAY_USE: dict[str, set[str]] = {
    "google": {"wire", "service", "v1", "cli", "lane"},
    "grpc": {"cli", "endings", "http2", "lane", "routing", "rpc", "service", "v1"},
    "grpc_health": {"cli", "service"},
    "fastapi": {"http", "model_http", "openapi", "service", "app", "web"},
    "starlette": {"http", "service"},
    "ray": {
        "app",
        "bulk_service",
        "cli",
        "fit",
        "fleet",
        "http",
        "lane",
        "loading",
        "model_service",
        "routing",
        "rpc",
        "service",
        "telemetry",
        "web",
    },
    "obstore": {"store"},
    "onnx": {"models"},
    "onnxruntime": {"models"},
    "sklearn": {"convert"},
    "cryptography": {"signing"},
    "typer": {"cli"},
}
"""For each library that belongs to some rooms only: those rooms."""

HEAVY = {
    "cryptography",
    "lightgbm",
    "matplotlib",
    "onnx",
    "onnxruntime",
    "pandas",
    "plotext",
    "polars",
    "pyarrow",
    "scipy",
    "skforecast",
    "sklearn",
    "statsforecast",
}
"""Libraries that nobody loads before a function needs them: each costs megabytes and hundreds of milliseconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Import:
    """One name that a module imports."""

    room: str
    """The room that the importing module is in."""

    name: str
    """The dotted name of what it imports: a module, or a name in one."""

    where: str
    """File and line, for the message of a failed test."""

    @property
    def library(self) -> str:
        """The top-level package imported."""
        return self.name.partition(".")[0]

    @property
    def our_room(self) -> str | None:
        """The room of ours that is imported; None for a library and for the bare package."""
        parts = self.name.split(".")
        return parts[1] if parts[0] == PACKAGE.name and len(parts) > 1 else None


def names_of(node: ast.AST) -> list[str]:
    """The dotted names that an import statement names; empty for any other node."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        assert node.level == 0, f"line {node.lineno}: a relative import"
        return [f"{node.module}.{alias.name}" for alias in node.names]
    return []


def imports_of(path: Path) -> Iterator[Import]:
    """All imports of one source file."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    room = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    for node in ast.walk(tree):
        for name in names_of(node):
            where = f"{path.relative_to(PACKAGE.parent)}:{getattr(node, 'lineno', 0)}"
            yield Import(room=room, name=name, where=where)


IMPORTS = [found for path in sorted(PACKAGE.rglob("*.py")) for found in imports_of(path)]


def test_every_room_has_its_row() -> None:
    """A new module or package says in the table above what it may import, before it lands."""
    rooms = {path.relative_to(PACKAGE).parts[0].removesuffix(".py") for path in PACKAGE.rglob("*.py")}
    assert rooms - {"__init__"} <= MAY_IMPORT.keys()


def test_imports_flow_one_way() -> None:
    """No room imports another that its row of the table does not list."""
    crossing = [
        f"{found.where}: {found.room} imports {found.our_room}"
        for found in IMPORTS
        if found.our_room and found.our_room != found.room
        if found.our_room not in MAY_IMPORT.get(found.room, set())
    ]
    assert not crossing, "\n".join(crossing)


def test_the_table_has_no_cycle() -> None:
    """The rooms can be put in an order in which each imports only earlier ones."""
    left = {room: allowed - {room} for room, allowed in MAY_IMPORT.items()}
    while left:
        free = {room for room, allowed in left.items() if not allowed & left.keys()}
        assert free, f"these rooms may import each other in a circle: {sorted(left)}"
        left = {room: allowed for room, allowed in left.items() if room not in free}


@pytest.mark.parametrize("library", MAY_USE)
def test_a_library_stays_in_its_rooms(library: str) -> None:
    """Protobuf, gRPC, Ray and their like are known only to the rooms that the table names."""
    strays = [
        f"{found.where}: {found.room} imports {found.name}"
        for found in IMPORTS
        if found.library == library and found.room not in MAY_USE[library]
    ]
    assert not strays, "\n".join(strays)


def test_values_and_models_stand_on_numpy_alone() -> None:
    """The domain's values and the forecasters need no library but numpy: they are arithmetic, without I/O.

    Only graphs are run by a library, which the module that opens them imports when it opens the first one.
    """
    known = sys.stdlib_module_names | {"numpy", PACKAGE.name}
    strays = [
        f"{found.where}: {found.name}"
        for found in IMPORTS
        if found.room in {"domain", "errors", "models"} and found.library not in known
        if not ("models/graphs.py" in found.where and found.library in {"onnx", "onnxruntime"})
    ]
    assert not strays, "\n".join(strays)


@pytest.mark.parametrize("module", ["app", "cli", "convert", "demo", "fit"])
def test_no_heavy_library_is_loaded_on_import(module: str) -> None:
    """Neither a replica, which imports the application, nor a starting command loads a heavy library.

    Ray Serve takes pandas where it is installed: what Ray loads is not ours to say.
    """
    ray = "import ray.serve; " if module == "app" else ""
    code = (
        f"import sys; {ray}before = set(sys.modules); import forecast_grpc.{module}; "
        "print(*{name.partition('.')[0] for name in set(sys.modules) - before})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "forecast_grpc" in done.stdout.split()
    assert not HEAVY & set(done.stdout.split())
