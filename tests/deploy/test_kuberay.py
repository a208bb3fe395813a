"""deploy/kuberay is what KubeRay, Kubernetes and Ray Serve accept, and fits the service that it starts."""

import os
import re
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from jsonschema import Draft202012Validator, ValidationError
from jsonschema.protocols import Validator
from ray.serve.schema import ServeDeploySchema

import forecast_grpc
from forecast_grpc.cli._cluster import NODE_ENVIRONMENT, SERVICERS
from forecast_grpc.config import Settings
from forecast_grpc.names import APPLICATION_NAME, DEPLOYMENT_NAME, GRPC_PORT, HTTP_PORT
from forecast_grpc.routing.haproxy import haproxy_environment
from tests.deploy.manifest import (
    CLUSTER,
    GROUP,
    HEAD,
    OBJECTS,
    SERVICE,
    WORKER,
    environment,
    mount,
    serve_config,
)

ROOT = Path(__file__).resolve().parents[2]
KUBERNETES = ("1.30", "1.33")
"""The oldest and the newest Kubernetes that the objects are held to."""


@pytest.fixture(scope="module")
def kuberay() -> Validator:
    """KubeRay's own schema of a RayService, from the Go module of its operator, made to refuse unknown fields."""
    file = next(ROOT.glob(".tools/kuberay-*/ray.io_rayservices.yaml"), None)
    if file is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(
            "KubeRay's schema is not in .tools: see .ci/run"
        )
    assert file is not None
    versions = yaml.load(file.read_text("utf-8"), yaml.CSafeLoader)["spec"]["versions"]
    (found,) = (each["schema"]["openAPIV3Schema"] for each in versions if each["name"] == "v1")
    # Not `jsonschema.validate`, which would check a megabyte of schema anew each time.
    return Draft202012Validator(strict(found))


def strict(part: Any) -> Any:
    """A structural schema as a JSON schema: Kubernetes drops what it does not know, and a typing error with it."""
    if isinstance(part, list):
        return [strict(each) for each in part]
    if not isinstance(part, dict):
        return part
    changed = {name: strict(value) for name, value in part.items()}
    if isinstance(part.get("properties"), dict) and not part.get("x-kubernetes-preserve-unknown-fields"):
        changed.setdefault("additionalProperties", False)
    if part.get("x-kubernetes-int-or-string"):
        changed.pop("format", None)
    return changed


def test_kuberay_accepts_it(kuberay: Validator) -> None:
    """The RayService has only fields that KubeRay knows, each of its type."""
    kuberay.validate(SERVICE)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("spec.serveConfig", "applications: []"),
        ("spec.rayClusterConfig.enableInTreeAutoscaling", "yes"),
        ("spec.rayClusterConfig.workerGroupSpecs.0.minReplicas", "two"),
        (
            "spec.rayClusterConfig.workerGroupSpecs.0.template.spec.containers.0.readinessProbe.grpc.port",
            "grpc",
        ),
        ("spec.rayClusterConfig.headGroupSpec.template.spec.containers.0.envFrom.0.secretRefs", {}),
    ],
)
def test_kuberay_refuses_mistakes(kuberay: Validator, path: str, value: object) -> None:
    """Wrong types and unknown fields are found, however deep: acceptance says something."""
    changed = deepcopy(SERVICE)
    *way, last = path.split(".")
    place: Any = changed
    for step in way:
        place = place[int(step) if step.isdecimal() else step]
    place[last] = value
    with pytest.raises(ValidationError):
        kuberay.validate(changed)


@pytest.mark.parametrize("version", KUBERNETES)
@pytest.mark.parametrize("key", [key for key in OBJECTS if key[0] != "RayService"], ids=" ".join)
def test_kubernetes_accepts_the_rest(key: tuple[str, str], version: str) -> None:
    """Services, disruption budget and network policy are what Kubernetes' schemas say, with no field beside."""
    kubernetes_validate.validate(OBJECTS[key], version, strict=True)
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(OBJECTS[key] | {"specification": {}}, version, strict=True)


def test_ray_serve_accepts_its_configuration() -> None:
    """The embedded configuration is one of Ray Serve's: our ports, servicers and application, settings of ours."""
    accepted = ServeDeploySchema.model_validate(serve_config())
    assert (accepted.http_options.port, accepted.grpc_options.port) == (HTTP_PORT, GRPC_PORT)
    assert tuple(accepted.grpc_options.grpc_servicer_functions) == SERVICERS
    (application,) = accepted.applications
    assert (application.name, application.import_path) == (APPLICATION_NAME, "forecast_grpc.app:app")
    settings = Settings(**application.args)
    assert settings.model_dump(include=set(application.args)) == application.args
    (deployment,) = application.deployments
    assert deployment.name == DEPLOYMENT_NAME


def test_it_runs_behind_haproxy_from_the_start() -> None:
    """Head and workers get the environment of `forecast-grpc serve`, with HAProxy's files in a volume."""
    for template in (HEAD, WORKER):
        wanted = {**NODE_ENVIRONMENT, **haproxy_environment(Path(mount(template)))}
        assert wanted.items() <= environment(template).items()


def test_its_image_has_our_version_and_its_ray() -> None:
    """One image for all, named after this version; `rayVersion` is the Ray that the lock has."""
    images = {
        container["image"] for template in (HEAD, WORKER) for container in template["spec"]["containers"]
    }
    assert images == {f"your-registry.example.com/forecast-grpc:{forecast_grpc.__version__}"}
    locked = re.search(r"^ray\[?.*?==([\d.]+)", (ROOT / "requirements.txt").read_text(), re.MULTILINE)
    assert locked
    assert CLUSTER["rayVersion"] == locked[1]


def test_its_selectors_find_its_pods() -> None:
    """Services and budget choose the workers, the policy all pods, by labels that those have."""
    ours = WORKER["metadata"]["labels"]
    # KubeRay sets these on each worker of a RayService.
    worker = ours | {"ray.io/node-type": "worker", "ray.io/serve": "true", "ray.io/group": GROUP["groupName"]}
    head = HEAD["metadata"]["labels"] | {"ray.io/node-type": "head", "ray.io/serve": "false"}
    for selector in selectors():
        assert selector.items() <= worker.items()
        assert not selector.items() <= head.items()
    policy = OBJECTS["NetworkPolicy", "forecast-grpc"]["spec"]["podSelector"]["matchLabels"]
    assert policy.items() <= worker.items() & head.items()


def selectors() -> Iterator[dict[str, str]]:
    """What the services and the disruption budget choose pods by."""
    for (kind, _), each in OBJECTS.items():
        if kind == "Service":
            yield each["spec"]["selector"]
        elif kind == "PodDisruptionBudget":
            yield each["spec"]["selector"]["matchLabels"]


def test_its_ports_lead_to_the_service() -> None:
    """Each port of a service is a port of the worker by its name, and both protocols have one."""
    (container,) = WORKER["spec"]["containers"]
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert (ports["grpc"], ports["serve"]) == (GRPC_PORT, HTTP_PORT)
    for (kind, _), each in OBJECTS.items():
        for port in each["spec"].get("ports", ()) if kind == "Service" else ():
            assert ports[port["targetPort"]] == port["port"]
    assert container["readinessProbe"]["grpc"]["port"] == GRPC_PORT


def test_its_replicas_fit_into_its_workers() -> None:
    """The most replicas have processors in the most workers, the fewest in the fewest."""
    config = serve_config()["applications"][0]
    scaling = config["deployments"][0]["autoscaling_config"]
    (container,) = WORKER["spec"]["containers"]
    each = float(container["resources"]["requests"]["cpu"]) // config["args"]["num_cpus_per_replica"]
    assert scaling["max_replicas"] <= each * GROUP["maxReplicas"]
    assert scaling["min_replicas"] <= each * GROUP["minReplicas"]
    assert GROUP["minReplicas"] > OBJECTS["PodDisruptionBudget", "forecast-grpc"]["spec"]["maxUnavailable"]


def test_a_replica_that_ends_is_waited_for() -> None:
    """Pods stay for longer than Ray Serve gives a replica to answer what it has been asked."""
    assert WORKER["spec"]["terminationGracePeriodSeconds"] > 35
