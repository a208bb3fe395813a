"""service.yaml is what Anyscale's own command accepts, and names what is really there."""

import re
import tomllib
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import yaml
from anyscale.service.models import ServiceConfig
from packaging.specifiers import SpecifierSet

import forecast_grpc
from forecast_grpc.cli._cluster import SERVICERS
from forecast_grpc.config import Settings
from forecast_grpc.names import APPLICATION_NAME
from forecast_grpc.v1 import forecast_pb2, model_pb2

ROOT = Path(__file__).resolve().parents[2]
SERVICE = ROOT / "service.yaml"
CONTAINERFILE = (ROOT / "deploy" / "anyscale" / "Containerfile").read_text("utf-8")


@pytest.fixture
def config() -> dict[str, Any]:
    """What service.yaml says."""
    read: dict[str, Any] = yaml.safe_load(SERVICE.read_text("utf-8"))
    return read


def test_anyscale_accepts_it() -> None:
    """Anyscale's model of the file takes it as it is."""
    accepted = ServiceConfig.from_yaml(str(SERVICE))
    assert accepted.name == "forecast-grpc"
    assert accepted.query_auth_token_enabled is True


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"grpc_option": {}}, TypeError),
        ({"query_auth_token_enabled": "yes"}, TypeError),
        ({"grpc_options": ["forecast.v1.ForecastService"]}, TypeError),
        ({"grpc_options": {"port": 9000}}, ValueError),
        ({"applications": []}, ValueError),
        ({"applications": [{"import_path": "forecast_grpc.app"}]}, ValueError),
        ({"image_uri": "no such image"}, ValueError),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else None,
)
def test_anyscale_refuses_mistakes(
    config: dict[str, Any], change: dict[str, Any], error: type[Exception]
) -> None:
    """An unknown key, a wrong type, a port, no application: each is refused, so that acceptance says something."""
    with pytest.raises(error):
        ServiceConfig.from_dict(config | change)


def test_its_settings_are_settings(config: dict[str, Any]) -> None:
    """The one application imports, is the default one, and its args are settings of ours."""
    (application,) = config["applications"]
    assert application["name"] == APPLICATION_NAME
    module, name = application["import_path"].split(":")
    assert callable(getattr(import_module(module), name))
    settings = Settings(**application["args"])
    assert settings.model_dump(include=set(application["args"])) == application["args"]


def test_its_servicers_are_those_of_serve(config: dict[str, Any]) -> None:
    """It offers the services that `forecast-grpc serve` offers, and Anyscale is told to route each of them."""
    functions = config["grpc_options"]["grpc_servicer_functions"]
    assert tuple(functions) == SERVICERS
    for path in functions:
        module, _, name = path.rpartition(".")
        assert callable(getattr(import_module(module), name))
    files = (forecast_pb2.DESCRIPTOR, model_pb2.DESCRIPTOR)
    ours = {service.full_name for file in files for service in file.services_by_name.values()}
    assert set(config["grpc_options"]["service_names"]) == ours | {"grpc.health.v1.Health"}


def test_its_image_is_that_of_this_version(config: dict[str, Any]) -> None:
    """The image is named after the version that is in it."""
    assert config["image_uri"].endswith(f"/forecast-grpc:{forecast_grpc.__version__}")


def test_its_code_comes_with_the_image_alone(config: dict[str, Any]) -> None:
    """No working_dir and no requirements: the gRPC proxies would not see them, and replicas would see two."""
    assert not {"working_dir", "py_modules", "requirements", "containerfile"} & set(config)
    assert not any("runtime_env" in application for application in config["applications"])


def test_the_image_has_the_locked_ray_and_a_python_of_ours() -> None:
    """Anyscale's image below ours has the Ray of requirements.txt, and a Python that the package supports."""
    locked = re.search(r"^ray\[?.*?==([\d.]+)", (ROOT / "requirements.txt").read_text(), re.MULTILINE)
    base = re.search(r"^FROM anyscale/ray:([\d.]+)-slim-py3(\d+)$", CONTAINERFILE, re.MULTILINE)
    assert locked
    assert base
    assert base[1] == locked[1]
    supported = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["requires-python"]
    assert f"3.{base[2]}.0" in SpecifierSet(supported)


def test_the_image_has_package_and_lock_where_it_looks_for_them() -> None:
    """What it copies is there, the package lies on its PYTHONPATH, and it installs the whole lock."""
    copied = dict(re.findall(r"^COPY (\S+) (\S+)$", CONTAINERFILE, re.MULTILINE))
    assert all((ROOT / name).exists() for name in copied)
    (path,) = re.findall(r"^ENV PYTHONPATH=(\S+)$", CONTAINERFILE, re.MULTILINE)
    assert copied["forecast_grpc"] == f"{path}/forecast_grpc"
    assert f"--require-hashes --no-deps -r {copied['requirements.txt']}requirements.txt\n" in CONTAINERFILE
