"""service.yaml is what Anyscale's own command accepts, and names what is really there."""

import re
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import yaml
from anyscale.service.models import ServiceConfig
from anyscale.utils.runtime_env import parse_requirements_file

from forecast_grpc.cli._cluster import SERVICERS
from forecast_grpc.config import APPLICATION_NAME, Settings
from forecast_grpc.v1 import forecast_pb2

ROOT = Path(__file__).resolve().parents[2]
SERVICE = ROOT / "service.yaml"


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
    ours = {service.full_name for service in forecast_pb2.DESCRIPTOR.services_by_name.values()}
    assert set(config["grpc_options"]["service_names"]) == ours | {"grpc.health.v1.Health"}


def test_its_image_has_the_locked_ray_and_python(config: dict[str, Any]) -> None:
    """The image's Ray is the one in requirements.txt, and its Python is one that the package supports."""
    locked = re.search(r"^ray\[?.*?==([\d.]+)", (ROOT / "requirements.txt").read_text(), re.MULTILINE)
    assert locked
    assert f":{locked[1]}-" in config["image_uri"]
    assert config["image_uri"].endswith("-py311")


def test_anyscale_reads_the_requirements_whole(config: dict[str, Any]) -> None:
    """Anyscale's own reader of requirements.txt keeps each pinned package together with its digests."""
    lines = parse_requirements_file(str(ROOT / config["requirements"]))
    assert lines
    packages = re.split(r"(?<!\\)\n", "\n".join(lines))
    assert len(packages) > 50
    assert all(re.match(r"[\w.\[\],-]+==\S+", each) and "--hash=sha256:" in each for each in packages)
    assert len(set(lines)) == len(lines), "Ray drops lines that it has seen"


def test_what_it_excludes_is_not_needed(config: dict[str, Any]) -> None:
    """The package, its lock and the file itself go up."""
    assert not {"forecast_grpc", config["requirements"], "service.yaml"} & set(config["excludes"])
