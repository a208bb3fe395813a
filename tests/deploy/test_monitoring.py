"""Dashboard and alerts: what they ask for is there, in a real Prometheus that scrapes a real service."""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from forecast_grpc.cli._ports import free_port
from tests import stores
from tests.documents import ROOT
from tests.service import RunningService, eventually, serving

DASHBOARD = json.loads((ROOT / "deploy" / "grafana" / "forecast-grpc.json").read_text())
RULES = ROOT / "deploy" / "prometheus" / "rules.yaml"
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
ALERTS = [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]
QUERIES = [target["expr"] for panel in PANELS for target in panel["targets"]]


@pytest.fixture(scope="module")
def tools() -> dict[str, str]:
    """Prometheus and its tool, by name."""
    path = os.pathsep.join([str(ROOT / ".tools" / "bin"), os.environ["PATH"]])
    found = {name: shutil.which(name, path=path) or "" for name in ("prometheus", "promtool")}
    if not all(found.values()):
        (pytest.fail if os.environ.get("CI") else pytest.skip)(
            "prometheus or promtool is neither on the PATH nor in .tools/bin: Debian's package prometheus has both"
        )
    return found


def test_alerts_fire_when_they_should(tools: dict[str, str]) -> None:
    """Each alert has a case in which it fires and one in which it does not, and says what its page is to say."""
    for command in (("check", "rules", RULES.name), ("test", "rules", "rules.test.yaml")):
        done = subprocess.run(
            [tools["promtool"], *command], cwd=RULES.parent, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
    cases = yaml.safe_load((RULES.parent / "rules.test.yaml").read_text())["tests"]
    tested = [(test["alertname"], "exp_alerts" in test) for case in cases for test in case["alert_rule_test"]]
    assert set(tested) == {(alert["alert"], fires) for alert in ALERTS for fires in (True, False)}


def test_panels_explain_themselves() -> None:
    """Each has a title of its own, a sentence, a unit and a place that no other takes."""
    assert len({panel["title"] for panel in PANELS}) == len(PANELS)
    assert all(panel["description"] and panel["fieldConfig"]["defaults"]["unit"] for panel in PANELS)
    places = [
        (x, y)
        for panel in DASHBOARD["panels"]
        for place in [panel["gridPos"]]
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]
    assert len(set(places)) == len(places)
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningService]:
    """A service with room for two models or so, so that models come and go."""
    store: Path = tmp_path_factory.mktemp("watched") / "store"
    stores.build(store)
    tight = ("--max-hot-models", "1", "--set", "max_warm_bytes=4000", "--set", "refresh_interval_s=0.2")
    with serving(store, "haproxy", *tight) as running:
        yield running


@contextmanager
def prometheus(program: str, folder: Path, metrics_url: str) -> Iterator[httpx.Client]:
    """A Prometheus that scrapes the service every second and evaluates the rules."""
    (folder / "prometheus.yaml").write_text(
        yaml.safe_dump(
            {
                "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
                "rule_files": [str(RULES)],
                "scrape_configs": [
                    {
                        "job_name": "ray",
                        "static_configs": [{"targets": [httpx.URL(metrics_url).netloc.decode()]}],
                    }
                ],
            }
        )
    )
    address = f"127.0.0.1:{free_port()}"
    command = [program, f"--web.listen-address={address}", f"--config.file={folder}/prometheus.yaml"]
    with subprocess.Popen([*command, f"--storage.tsdb.path={folder}/data", "--log.level=error"]) as process:
        try:
            with httpx.Client(base_url=f"http://{address}", timeout=20) as client:
                eventually(lambda: is_ready(client))
                yield client
        finally:
            process.terminate()


def is_ready(client: httpx.Client) -> bool:
    """Whether Prometheus answers queries: it listens before."""
    with suppress(httpx.TransportError):
        return client.get("/-/ready").is_success
    return False


def answers(client: httpx.Client, path: str, **parameters: str) -> Any:
    """The data of Prometheus' answer."""
    response = client.get(f"/api/v1/{path}", params=parameters)
    assert response.status_code == 200, response.text
    return response.json()["data"]


def without_variables(query: str) -> str:
    """A query as Grafana sends it."""
    return query.replace("$application", ".*").replace("$__rate_interval", "2m")


def metrics_of(text: str) -> set[str]:
    """The metrics that a query names."""
    return set(re.findall(r"ray_[a-z_]+", text))


def test_what_is_asked_for_is_there(service: RunningService, tools: dict[str, str], tmp_path: Path) -> None:
    """Each metric of the dashboard and of the alerts is exported, with its labels; each panel shows something.

    Also what did not happen: counters stand at 0 from the start, so that the first damaged model is seen to come.
    """
    with prometheus(tools["prometheus"], tmp_path, service.metrics_url) as client:

        def traffic() -> None:
            for number in range(12):
                service.grpc(None, f"shop-{number:02}")
            for _ in range(2):
                service.grpc(None, "nobody")

        def empty() -> set[str]:
            traffic()
            found = {query: answers(client, "query", query=without_variables(query)) for query in QUERIES}
            return {query for query, data in found.items() if not data["result"]}

        eventually(lambda: not empty(), timeout_s=90)
        for metric in set().union(*map(metrics_of, [*QUERIES, *(alert["expr"] for alert in ALERTS)])):
            assert answers(client, "query", query=metric)["result"], metric
        damaged = answers(client, "query", query='ray_forecast_grpc_loads_total{outcome="MODEL_CORRUPT"}')
        assert [sample["value"][1] for sample in damaged["result"]] == ["0"]
        rules = answers(client, "rules")["groups"][0]["rules"]
        assert {rule["name"]: rule["health"] for rule in rules} == {alert["alert"]: "ok" for alert in ALERTS}
        # Alerts tell applications and replicas apart by labels that their metrics have.
        labels = set().union(*(re.findall(r"by \(([\w, ]+)\)", alert["expr"]) for alert in ALERTS))
        wanted = {label.strip() for each in labels for label in each.split(",")} - {"le"}
        (sample, *_) = answers(client, "query", query="ray_forecast_grpc_requests_total")["result"]
        assert wanted <= set(sample["metric"])
