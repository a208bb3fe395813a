"""service.yaml is what Anyscale's own command accepts, and names what is really there."""

from importlib import import_module
from pathlib import Path
from typing import Any

import anyscale
import click
import pytest
import yaml
from anyscale.commands.login_commands import anyscale_login as login
from anyscale.commands.service_commands import deploy, rollback, status, terminate, wait
from anyscale.service.models import ServiceConfig
from click.testing import CliRunner
from ray.serve.schema import ServeDeploySchema

import forecast_grpc
from forecast_grpc.cli._cluster import SERVICERS
from forecast_grpc.config import Settings
from forecast_grpc.names import APPLICATION_NAME, DEPLOYMENT_NAME
from forecast_grpc.v1 import forecast_pb2, model_pb2
from tests.documents import commands

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


def test_the_command_takes_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """`anyscale service deploy -f service.yaml` itself reads the file, and would send what stands in it.

    Only the last step is not taken, which needs an account: the call of Anyscale's interface.
    """
    sent: list[ServiceConfig] = []
    monkeypatch.setattr(anyscale.service, "deploy", lambda config, **_: sent.append(config))
    image = "registry.example.com/mine:1"
    done = CliRunner().invoke(deploy, ["-f", str(SERVICE), "--image-uri", image])
    assert done.exit_code == 0, done.output
    (config,) = sent
    assert (config.name, config.image_uri) == ("forecast-grpc", image)
    wrong = CliRunner().invoke(deploy, ["-f", str(SERVICE), "--image-uri", "no such image"])
    assert wrong.exit_code != 0


@pytest.mark.parametrize("command", [login, deploy, wait, status, rollback, terminate])
def test_the_pages_options_are_the_commands(command: click.Command) -> None:
    """Each command of docs/deploy-anyscale.md is one of Anyscale's, with options that it has."""
    typed = [
        each.text.split()
        for each in commands(ROOT / "docs" / "deploy-anyscale.md")
        if each.text.startswith("anyscale")
    ]
    known = {option for parameter in command.params for option in parameter.opts}
    mine = [words for words in typed if command.name in words[1:3]]
    assert mine
    for words in mine:
        assert {word for word in words if word.startswith("-")} <= known


def test_its_number_of_replicas_is_that_of_the_deployment(config: dict[str, Any]) -> None:
    """What scales is our deployment: Ray refuses a name that there is not only when it deploys."""
    (application,) = ServeDeploySchema.model_validate({"applications": config["applications"]}).applications
    (deployment,) = application.deployments
    assert deployment.name == DEPLOYMENT_NAME
    assert isinstance(deployment.autoscaling_config, dict)


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
