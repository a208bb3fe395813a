"""Pickles: never unpickled where they are off, and models like any other where an operator wants them."""

import ast
import pickle
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from ray import cloudpickle
from typer.testing import CliRunner

from forecast_grpc import artefact
from forecast_grpc.cli import app
from forecast_grpc.domain import Covariate, ForecastQuery, ServedModel
from forecast_grpc.errors import (
    ForecastError,
    ModelCorrupt,
    ModelFormatForbidden,
    ModelNotFound,
    ModelVersionNotFound,
    RequestInvalid,
)
from forecast_grpc.forecasting import answer
from forecast_grpc.models import FAMILIES
from forecast_grpc.models.pickled import PredictFailed
from forecast_grpc.signing import SigningKey
from forecast_grpc.store import FolderStore
from forecast_grpc.trust import Trust
from forecast_grpc.v1.forecast_pb2 import ForecastRequest
from tests import stores
from tests.cli.conftest import trend
from tests.service import TUTORIAL_FORECAST, TUTORIAL_SEQUENCE, RunningService, serving
from tests.stores import WritesAFile
from tests.telemetry.fake_sink import ListSink
from tests.test_engine import engine

ALLOWED = Trust(allow_pickles=True)
PACKAGE = Path(artefact.__file__).parent

TUTORIAL = """
import sys
from {library} import dumps

class ForecastingModel:
    "A customer's model as in the tutorial: a slope and a base level."

    def __init__(self, slope, base_level):
        self.slope, self.base_level = slope, base_level

    def predict(self, sequence_data):
        "Seven days, from the last value."
        last = sequence_data[-1] if sequence_data else self.base_level
        return [round(last + self.slope * step, 2) for step in range(1, 8)]

sys.stdout.buffer.write(dumps(ForecastingModel(1.45, 100.0)))
"""


class Fixed:
    """Returns what it was made with."""

    def __init__(self, result: Any) -> None:
        self.result = result

    def predict(self, sequence: list[float]) -> Any:
        """The result, whatever the sequence."""
        return self.result


class Steps:
    """Forecasts as far as it is asked to."""

    def predict(self, sequence: list[float], horizon: int = 3) -> list[float]:
        """The last value again and again."""
        return [sequence[-1]] * horizon


class Failing:
    """Raises what it was made with."""

    def __init__(self, error: BaseException) -> None:
        self.error = error

    def predict(self, sequence: list[float]) -> list[float]:
        """Fails."""
        raise self.error


class Thread:
    """Says whether it runs in the main thread."""

    def predict(self, sequence: list[float]) -> list[float]:
        """1 in the main thread, else 0."""
        return [float(threading.current_thread() is threading.main_thread())]


def served(model: object, trust: Trust = ALLOWED) -> ServedModel:
    """A pickle that lies in a store by itself."""
    return artefact.decode(pickle.dumps(model), "c", trust=trust)


def asked(model: ServedModel, *values: float, **query: Any) -> list[float]:
    """What the model answers."""
    found = answer(model, ForecastQuery(sequence=np.array(values), **query), max_horizon=10)
    forecast: list[float] = found.forecast.tolist()
    return forecast


# --- off: nothing is unpickled, anywhere ---


def test_one_place_unpickles() -> None:
    """No module but the one of pickled models imports anything that loads pickles."""
    loaders = {"pickle", "cloudpickle", "dill", "joblib", "shelve", "marshal", "_pickle"}
    found = set()
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            found |= {path.name for name in names if loaders & set(name.split("."))}
    assert found == {"pickled.py"}
    assert "pickle" not in FAMILIES


def bombs(store: FolderStore, mark: Path) -> list[str]:
    """Pickles that write a file, under every name that a store has; returns the customers."""
    pickled = pickle.dumps(WritesAFile(mark))
    good, inside = trend(1.0), artefact.encode_pickle(pickled, 1)
    places = {
        "pkl": {"model.pkl": pickled},
        "active": {"model.safetensors": pickled},
        "version": {
            "model.safetensors": good,
            "versions/1.safetensors": good,
            "versions/2.safetensors": pickled,
        },
        "inside": {"model.safetensors": inside, "versions/1.safetensors": inside},
        "inside-a-version": {
            "model.safetensors": good,
            "versions/1.safetensors": good,
            "versions/2.safetensors": artefact.encode_pickle(pickled, 2),
        },
        "beside": {"model.safetensors": good, "versions/1.safetensors": good, "model.pkl": pickled},
        "pkl-inside": {"model.pkl": inside},
    }
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        places[f"protocol-{protocol}"] = {"model.pkl": pickle.dumps(WritesAFile(mark), protocol)}
    for customer, files in places.items():
        for name, data in files.items():
            path = store.root / customer / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
    return list(places)


def routes(store: Path, customers: list[str], folder: Path) -> Iterator[tuple[str, ...]]:
    """Every command that reads models or files of models."""
    yield "models", "list"
    yield "models", "list", "--json"
    for customer in customers:
        yield "models", "show", customer
        yield "models", "show", customer, "--version", "2"
        yield "models", "versions", customer
        yield "models", "diff", customer
        yield "models", "rollback", customer
        yield "models", "rollback", customer, "2"
        yield "models", "prune", customer, "--keep", "1", "--dry-run"
    for path in sorted(store.rglob("*.*")):
        copy = folder / f"{path.parent.name}-{path.name}"
        copy.write_bytes(path.read_bytes())
        yield "publish", "new", str(copy)
        yield "publish", "new", str(copy), "--allow-pickles"
        yield "publish", "new", str(copy.rename(copy.with_suffix(".pkl")))


def test_no_command_unpickles(tmp_path: Path) -> None:
    """Whatever is asked of whatever place, by a command: nothing in a pickle runs, also when it is published."""
    store, mark = FolderStore(tmp_path / "store"), tmp_path / "mark"
    customers = bombs(store, mark)
    ran = 0
    for command in list(routes(store.root, customers, tmp_path)):
        result = CliRunner().invoke(app, [*command, "--store", str(store.root)])
        assert isinstance(result.exception, SystemExit | None), command
        assert not mark.exists(), command
        ran += 1
    assert ran > 100
    assert len(store.versions("new")) > len(customers)


@pytest.mark.parametrize(
    "trust",
    [
        Trust(),
        Trust(allow_pickles=False, pickle_digests=frozenset({"0" * 64})),
        Trust(allow_pickles=True, pickle_digests=frozenset({"0" * 64})),
        Trust(allow_pickles=True, public_keys=(SigningKey.generate().public,)),
    ],
    ids=["off", "off, with a list", "not on the list", "not signed"],
)
async def test_no_pickle_is_loaded_that_is_not_allowed(trust: Trust, tmp_path: Path) -> None:
    """Under every name and in every version: refused, and asked for a forecast all the same, it does not run."""
    mark = tmp_path / "mark"
    store = FolderStore(tmp_path / "store", pickles=trust.allow_pickles)
    refused = 0
    for customer in bombs(store, mark):
        for version in (None, 1, 2):
            try:
                fetched = await store.fetch(customer, version=version)
                assert fetched is not None
                model = artefact.decode(fetched.data, customer, version, trust=trust)
                asked(model, 1.0)
            except (ModelFormatForbidden, ModelCorrupt):
                refused += 1
            except (ModelNotFound, ModelVersionNotFound):
                pass
            assert not mark.exists(), (customer, version)
    assert refused >= 12


async def test_no_pickle_is_warmed(tmp_path: Path) -> None:
    """Nor does one run that is to be in memory before requests come."""
    store, mark = FolderStore(tmp_path / "store"), tmp_path / "mark"
    customers = tuple(bombs(store, mark))
    await engine(store, ListSink(), max_waiting=100).prewarm(customers)
    assert not mark.exists()


@pytest.mark.parametrize("service", ["haproxy"], indirect=True)
def test_no_door_unpickles(service: RunningService, tmp_path: Path) -> None:
    """Over gRPC and HTTP, the active artefact and each version, to forecast, to list, to warm and to activate."""
    mark = tmp_path / "mark"
    for customer in bombs(FolderStore(service.store), mark):
        outcomes = [service.grpc(None, customer), service.http({}, customer, path="/v1/forecast")]
        for version in (1, 2):
            outcomes += [
                service.grpc(ForecastRequest(model_version=version), customer),
                service.http({"model_version": version}, customer),
            ]
        assert {each.code for each in outcomes} <= {"OK", "FAILED_PRECONDITION", "DATA_LOSS", "NOT_FOUND"}
        models = f"{service.http_address}/v1/models"
        for path in ("", f"/{customer}", f"/{customer}/versions", f"/{customer}:explain"):
            assert httpx.get(models + path, timeout=20).status_code in {200, 400, 500}, path
        # Whether an order is taken is a setting; what it must not do is the same.
        httpx.post(f"{models}:warm", json={"customer_ids": [customer]}, timeout=20)
        httpx.post(f"{models}/{customer}:activate", json={"version": 2}, timeout=20)
        assert not mark.exists(), customer


async def test_the_pickle_of_these_tests_runs_when_it_may(tmp_path: Path) -> None:
    """The tests above would notice: the same pickle does write its file where pickles are on."""
    mark = tmp_path / "mark"
    data = pickle.dumps(WritesAFile(mark))
    for trust in (ALLOWED, Trust(allow_pickles=True, pickle_digests=frozenset({sha256(data).hexdigest()}))):
        model = artefact.decode(data, "c", trust=trust)
        assert not mark.exists()
        with pytest.raises(ModelCorrupt, match="no method predict"):
            asked(model, 1.0)
        assert mark.exists()
        mark.unlink()


def test_a_digest_of_the_artefact_is_not_the_operators() -> None:
    """What an artefact says of itself allows nothing: the list is the setting's alone."""
    data = artefact.encode_pickle(pickle.dumps(Fixed([1.0])), 1)
    digest = artefact.inspect(data, "c").sha256
    assert digest == sha256(pickle.dumps(Fixed([1.0]))).hexdigest()
    with pytest.raises(ModelFormatForbidden, match=digest):
        artefact.decode(data, "c", trust=Trust(allow_pickles=True, pickle_digests=frozenset({"f" * 64})))


# --- on: models like any other ---


@pytest.mark.parametrize("library", ["cloudpickle", "ray.cloudpickle"])
def test_the_tutorials_model_is_served(library: str) -> None:
    """A class of a script's own, pickled as the tutorial does; an empty sequence goes on from its base level."""
    code = TUTORIAL.format(library=library)
    data = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout
    for each in (data, artefact.encode_pickle(data, 1)):
        model = artefact.decode(each, "c", trust=ALLOWED)
        assert asked(model, *TUTORIAL_SEQUENCE) == TUTORIAL_FORECAST
        assert asked(model) == [101.45, 102.9, 104.35, 105.8, 107.25, 108.7, 110.15]
        assert asked(model, *TUTORIAL_SEQUENCE, horizon=7) == TUTORIAL_FORECAST


@pytest.mark.parametrize("result", [[1.0, 2.5], (1, 2.5), np.array([1.0, 2.5], np.float32)], ids=str)
def test_any_list_of_numbers_is_a_forecast(result: Any) -> None:
    """Lists, tuples and arrays; missing observations are filled before the model sees them."""
    assert asked(served(Fixed(result)), 1.0, float("nan"), 3.0) == [1.0, 2.5]


@pytest.mark.parametrize(
    "result",
    [[], 1.0, None, "text", ["1", "x"], [[1.0]], [1.0, float("nan")], [float("inf")], {"a": 1.0}],
    ids=str,
)
def test_anything_else_is_the_models_fault(result: Any) -> None:
    """No list of finite numbers: the model is corrupt, in a sentence."""
    with pytest.raises(ModelCorrupt, match=r"^The model, a pickle, returned something else than a list of"):
        asked(served(Fixed(result)), 1.0)


def test_the_horizon_is_the_models() -> None:
    """Another one than it forecasts is refused with the one it has, unless predict takes it."""
    with pytest.raises(
        RequestInvalid, match="horizon: must be left out or 2, which is what this model forecasts"
    ):
        asked(served(Fixed([1.0, 2.0])), 1.0, horizon=3)
    assert asked(served(Steps()), 5.0) == [5.0] * 3
    assert asked(served(Steps()), 5.0, horizon=6) == [5.0] * 6
    for beyond in (0, 11):
        with pytest.raises(RequestInvalid, match="horizon: must be from 1 to 10"):
            asked(served(Steps()), 5.0, horizon=beyond)
    with pytest.raises(RequestInvalid, match="the limit is 10"):
        asked(served(Fixed([1.0] * 11)), 1.0)


def test_what_it_does_not_know_is_refused() -> None:
    """Quantiles, covariates and times, each by the field's name."""
    model = served(Fixed([1.0]))
    for query, field in (
        ({"quantile_levels": (0.5,)}, "quantile_levels"),
        ({"covariates": (Covariate(name="price", values=np.ones(2)),)}, "covariates"),
        ({"start_time": stores.TRAINED}, "start_time"),
    ):
        with pytest.raises(RequestInvalid) as caught:
            asked(model, 1.0, **query)
        assert [each.field for each in caught.value.violations] == [field]


@pytest.mark.parametrize(
    "error", [ValueError("x"), SystemExit(3), KeyboardInterrupt(), StopIteration()], ids=repr
)
def test_what_predict_raises_is_caught(error: BaseException) -> None:
    """Also what would end the process or upset an event loop; it becomes INTERNAL, and the log gets the cause."""
    with pytest.raises(PredictFailed) as caught:
        asked(served(Failing(error)), 1.0)
    assert type(caught.value.__cause__) is type(error)
    assert not isinstance(caught.value, ForecastError)


@pytest.mark.parametrize("content", [7, {"predict": 1}, [1.0]], ids=str)
def test_a_pickle_without_predict_is_corrupt(content: object) -> None:
    """Whatever else it holds; and it is loaded once, not for each request."""
    model = served(content)
    for _ in range(2):
        with pytest.raises(ModelCorrupt, match="cannot be loaded here, or has no method predict"):
            asked(model, 1.0)


def test_a_broken_pickle_is_run_once(tmp_path: Path) -> None:
    """What it did when it was loaded, it does not do again."""
    mark = tmp_path / "mark"
    model = served(WritesAFile(mark))
    with pytest.raises(ModelCorrupt):
        asked(model, 1.0)
    mark.unlink()
    with pytest.raises(ModelCorrupt):
        asked(model, 1.0)
    assert not mark.exists()


def test_it_has_no_version_by_itself_and_one_inside_an_artefact() -> None:
    """A model.pkl has none, and its digest is that of the file."""
    data = pickle.dumps(Fixed([1.0]))
    alone = artefact.decode(data, "c", trust=ALLOWED).metadata
    inside = artefact.decode(artefact.encode_pickle(data, 4), "c", 4, trust=ALLOWED).metadata
    assert (alone.model_version, inside.model_version) == (0, 4)
    assert alone.sha256 == inside.sha256 == sha256(data).hexdigest()
    with pytest.raises(ModelFormatForbidden):
        artefact.decode(data, "c", 4, trust=ALLOWED)


def test_signatures_hold_for_pickles_too() -> None:
    """Where they are required, a pickle travels in a signed artefact; a bare one is refused unloaded."""
    key = SigningKey.generate()
    trust = Trust(allow_pickles=True, public_keys=(key.public,))
    signed = artefact.sign(artefact.encode_pickle(pickle.dumps(Fixed([1.0])), 1), "c", key)
    assert asked(artefact.decode(signed, "c", trust=trust), 1.0) == [1.0]
    for data in (pickle.dumps(Fixed([1.0])), artefact.encode_pickle(pickle.dumps(Fixed([1.0])), 1)):
        with pytest.raises(ModelCorrupt, match="not signed"):
            artefact.decode(data, "c", trust=trust)


# --- in a service ---


@pytest.fixture(scope="module")
def allowing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningService]:
    """One that allows pickles, with those of these tests."""
    store = FolderStore(tmp_path_factory.mktemp("pickles"))
    code = TUTORIAL.format(library="cloudpickle")
    # A replica does not have this module.
    cloudpickle.register_pickle_by_value(sys.modules[__name__])  # type: ignore[no-untyped-call]
    by_value: Callable[[object], bytes] = cloudpickle.dumps
    models = {
        "tutorial": subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout,
        "thread": by_value(Thread()),
        "failing": by_value(Failing(SystemExit("secret"))),
        "broken": by_value(Fixed(["secret"])),
    }
    for customer, data in models.items():
        (store.root / customer).mkdir()
        (store.root / customer / "model.pkl").write_bytes(data)
    store.publish("published", partial(artefact.encode_pickle, models["tutorial"]))
    options = ("--allow-pickles", "--set", "num_cpus_per_replica=0.1", "--prewarm", "tutorial")
    with serving(store.root, "haproxy", *options) as running:
        yield running


def test_a_service_serves_pickles(allowing: RunningService) -> None:
    """The tutorial's layout and an artefact alike, over both protocols; and a fault in one stops nobody else."""
    request = ForecastRequest(sequence_data=TUTORIAL_SEQUENCE)
    for customer in ("tutorial", "published"):
        assert allowing.grpc(request, customer).forecast == TUTORIAL_FORECAST
        body = {"sequence_data": TUTORIAL_SEQUENCE, "horizon": 7}
        assert allowing.http(body, customer).forecast == TUTORIAL_FORECAST
    failed = allowing.grpc(request, "failing")
    assert (failed.code, failed.reason) == ("INTERNAL", "INTERNAL")
    broken = allowing.http({"sequence_data": [1.0]}, "broken")
    assert (broken.code, broken.reason) == ("DATA_LOSS", "MODEL_CORRUPT")
    assert "secret" not in failed.everything + broken.everything
    assert allowing.grpc(request, "thread").forecast == [0.0]
    assert allowing.grpc(ForecastRequest(horizon=3), "tutorial").fields == ("horizon",)
    assert allowing.grpc(ForecastRequest(model_version=1), "tutorial").reason == "MODEL_VERSION_NOT_FOUND"
    assert allowing.grpc(ForecastRequest(model_version=1), "published").code == "OK"
    assert allowing.grpc(request, "tutorial").forecast == TUTORIAL_FORECAST
