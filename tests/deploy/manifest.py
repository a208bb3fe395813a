"""deploy/kuberay/rayservice.yaml, taken apart."""

from pathlib import Path
from typing import Any

import yaml

MANIFEST = Path(__file__).resolve().parents[2] / "deploy" / "kuberay" / "rayservice.yaml"


def _objects() -> dict[tuple[str, str], dict[str, Any]]:
    loaded = yaml.safe_load_all(MANIFEST.read_text("utf-8"))
    return {(each["kind"], each["metadata"]["name"]): each for each in loaded}


OBJECTS = _objects()
"""What the file asks for, by kind and name."""

SERVICE = OBJECTS["RayService", "forecast-grpc"]
CLUSTER = SERVICE["spec"]["rayClusterConfig"]
HEAD = CLUSTER["headGroupSpec"]["template"]
(GROUP,) = CLUSTER["workerGroupSpecs"]
WORKER = GROUP["template"]


def serve_config() -> dict[str, Any]:
    """The embedded configuration of Ray Serve."""
    config: dict[str, Any] = yaml.safe_load(SERVICE["spec"]["serveConfigV2"])
    return config


def environment(template: dict[str, Any]) -> dict[str, str]:
    """The variables of a pod's container, but for those from the secret."""
    (container,) = template["spec"]["containers"]
    return {each["name"]: each["value"] for each in container["env"]}


def mount(template: dict[str, Any]) -> str:
    """Where the pod's volume for HAProxy's files is."""
    (container,) = template["spec"]["containers"]
    (found,) = container["volumeMounts"]
    assert found["name"] in {volume["name"] for volume in template["spec"]["volumes"]}
    path: str = found["mountPath"]
    return path


def probes(template: dict[str, Any]) -> list[dict[str, Any]]:
    """What the kubelet asks of a pod, each as it stands in the file."""
    (container,) = template["spec"]["containers"]
    return [probe for name, probe in container.items() if name.endswith("Probe")]
