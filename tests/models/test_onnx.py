"""Graphs, run by ONNX Runtime within bounds."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from onnx import NodeProto, TensorProto, helper, numpy_helper

from forecast_grpc.app import compose
from forecast_grpc.config import Settings
from forecast_grpc.loading.hot import HotModel
from forecast_grpc.models import Onnx
from forecast_grpc.models.graphs import MAX_GRAPH_BYTES, SESSIONS, UnsupportedGraph, session_bytes
from tests.models.examples import graph, informed, linear, onnx, serialised, series

LAGS = 24


@pytest.fixture(autouse=True)
def _no_limit() -> Iterator[None]:
    """The budget of sessions as it was before."""
    yield
    SESSIONS.max_bytes = None


def perceptron(steps: int, hidden: int = 16) -> tuple[bytes, Callable[[Any], Any]]:
    """A network of one hidden layer as torch.onnx exports it (Gemm, Relu, Gemm), and the same in numpy."""
    rng = np.random.default_rng(5)
    first, second = rng.normal(size=(hidden, LAGS)), rng.normal(size=(steps, hidden))
    weights = {"first": first / 10, "first_bias": rng.normal(size=hidden), "second": second}
    weights = {name: value.astype(np.float32) for name, value in weights.items()}
    nodes = [
        helper.make_node("Gemm", ["window", "first", "first_bias"], ["hidden"], transB=1),
        helper.make_node("Relu", ["hidden"], ["positive"]),
        helper.make_node("Gemm", ["positive", "second"], ["forecast"], transB=1),
    ]
    data = model(
        nodes, {name: numpy_helper.from_array(value, name) for name, value in weights.items()}, steps
    )

    def by_hand(window: Any) -> Any:
        hidden = np.maximum(weights["first"] @ window.astype(np.float32) + weights["first_bias"], 0.0)
        return weights["second"] @ hidden

    return data, by_hand


def model(
    nodes: list[NodeProto], weights: dict[str, TensorProto] | None = None, steps: int = 1, **options: Any
) -> bytes:
    """A graph from a float window of shape (1, LAGS) to a float forecast of shape (1, steps)."""
    inputs = [helper.make_tensor_value_info("window", TensorProto.FLOAT, [1, LAGS])]
    outputs = [helper.make_tensor_value_info("forecast", TensorProto.FLOAT, [1, steps])]
    initialisers = list((weights or {}).values())
    return serialised(helper.make_graph(nodes, "made", inputs, outputs, initialisers), **options)


def loaded(data: bytes) -> Onnx:
    """The family's model of a graph, checked as it is when an artefact is loaded."""
    return Onnx.from_arrays(onnx(data).arrays())


# --- the arithmetic ---


def test_a_graph_of_doubles_gives_what_numpy_gives() -> None:
    """The whole product is taken in float64."""
    parameters = linear(LAGS).arrays()
    window = series(50)
    expected = parameters["weights"] @ window[-LAGS:] + parameters["intercept"]
    assert loaded(graph()).forecast(window, 7) == pytest.approx(expected, rel=1e-12)


def test_a_network_forecasts_several_steps_at_once() -> None:
    """A float32 network gives its forecast, of as many steps as it was trained for."""
    data, by_hand = perceptron(7)
    window = series(30)
    assert loaded(data).forecast(window, 7) == pytest.approx(by_hand(window[-LAGS:]), rel=1e-5)


def test_a_graph_of_one_step_goes_on_from_its_own_forecasts() -> None:
    """The window moves on over what was forecast."""
    data, by_hand = perceptron(1)
    path = series(LAGS)
    for _ in range(5):
        path = np.concatenate([path, by_hand(path[-LAGS:])])
    assert loaded(data).forecast(series(LAGS), 5) == pytest.approx(path[LAGS:], rel=1e-5)


def test_the_horizon_is_bounded_where_the_publisher_bounded_it() -> None:
    """The bound travels with the graph."""
    assert Onnx.from_arrays(replace(onnx(), max_horizon=7).arrays()).max_horizon == 7
    assert loaded(graph()).max_horizon is None


# --- what is refused ---

IDENTITY = helper.make_node("ReduceMean", ["window"], ["forecast"], axes=[1])


def branch(name: str, *nodes: NodeProto) -> Any:
    """The body of an If, or of a Loop."""
    outputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 1])]
    return helper.make_graph(list(nodes), name, [], outputs)


def hidden_in_a_branch() -> bytes:
    """A random number in one branch of an If."""
    yes = branch("yes", helper.make_node("RandomUniform", [], ["yes"], shape=[1, 1]))
    no = branch(
        "no", helper.make_node("Constant", [], ["no"], value=helper.make_tensor("", 1, [1, 1], [0.0]))
    )
    condition = helper.make_tensor("condition", TensorProto.BOOL, [], [True])
    node = helper.make_node("If", ["condition"], ["forecast"], then_branch=yes, else_branch=no)
    return model([node], {"condition": condition})


def outside(location: str) -> bytes:
    """Weights that lie in a file beside the graph."""
    weights = numpy_helper.from_array(np.zeros((LAGS, 1), np.float32), "weights")
    weights.ClearField("raw_data")
    weights.data_location = TensorProto.EXTERNAL
    weights.external_data.add(key="location", value=location)
    return model([helper.make_node("MatMul", ["window", "weights"], ["forecast"])], {"weights": weights})


def custom(domain: str) -> bytes:
    """An operator of another domain."""
    return model([helper.make_node("Gelu", ["window"], ["forecast"], domain=domain)], domains=(domain,))


REFUSED = {
    "random": (model([helper.make_node("RandomNormal", [], ["forecast"], shape=[1, 1])]), "RandomNormal"),
    "in a branch": (hidden_in_a_branch(), "RandomUniform"),
    "loop": (model([helper.make_node("Loop", [], ["forecast"], body=branch("x", IDENTITY))]), "Loop"),
    "custom": (custom("evil.example"), "evil.example"),
    "a runtime's own": (custom("com.microsoft"), "com.microsoft"),
    "another file": (outside("weights.bin"), "another file"),
    "any file": (outside("/etc/passwd"), "another file"),
    "too large": (bytes(MAX_GRAPH_BYTES + 1), "at most"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_a_graph_may_not_hold(case: str) -> None:
    """Loops, chance, foreign operators, other files and great size are refused by name, before a session opens."""
    data, named = REFUSED[case]
    opened = len(SESSIONS)
    with pytest.raises(UnsupportedGraph, match=named):
        loaded(data)
    assert len(SESSIONS) == opened


def two_inputs() -> bytes:
    """A graph that wants more than a window."""
    inputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, LAGS]) for name in ("a", "b")]
    outputs = [helper.make_tensor_value_info("c", TensorProto.FLOAT, [1, LAGS])]
    return serialised(
        helper.make_graph([helper.make_node("Add", ["a", "b"], ["c"])], "made", inputs, outputs)
    )


def of_integers() -> bytes:
    """A graph whose window is of integers."""
    ends = [helper.make_tensor_value_info(name, TensorProto.INT64, [1, LAGS]) for name in ("a", "b")]
    return serialised(helper.make_graph([helper.make_node("Abs", ["a"], ["b"])], "made", ends[:1], ends[1:]))


def a_column() -> bytes:
    """A graph whose forecast is a matrix."""
    shape = numpy_helper.from_array(np.array([12, 2]), "shape")
    inputs = [helper.make_tensor_value_info("window", TensorProto.FLOAT, [1, LAGS])]
    outputs = [helper.make_tensor_value_info("forecast", TensorProto.FLOAT, [12, 2])]
    node = helper.make_node("Reshape", ["window", "shape"], ["forecast"])
    return serialised(helper.make_graph([node], "made", inputs, outputs, [shape]))


UNFIT = {
    "no graph": (b"\xff" * 100, "damaged"),
    "empty graph": (b"\x08\x09", "cannot load"),
    "unknown operator": (model([helper.make_node("Oracle", ["window"], ["forecast"])]), "cannot load"),
    "two inputs": (two_inputs(), "one input"),
    "integers": (of_integers(), "one input"),
    "other length": (graph(LAGS + 24), f"window of {LAGS}"),
    "a matrix": (a_column(), r"\(1, H\)"),
}


@pytest.mark.parametrize("case", UNFIT)
def test_what_is_no_forecaster(case: str) -> None:
    """What does not take a window, or gives no forecast, is found when it is loaded, not by the first request."""
    data, reason = UNFIT[case]
    with pytest.raises(ValueError, match=reason):
        loaded(data)


def test_a_graph_must_be_bytes() -> None:
    """Numbers in place of the graph's bytes are refused."""
    with pytest.raises(ValueError, match="graph"):
        Onnx.from_arrays({**onnx().arrays(), "graph": np.zeros(5)})


@pytest.mark.parametrize("missing", ["onnx", "onnxruntime"])
def test_without_the_runtime_it_says_what_to_install(missing: str) -> None:
    """Where a package of the extra is not installed, the model is refused with the name of the extra."""
    code = f"""
import sys
sys.modules[{missing!r}] = None
from forecast_grpc.models.graphs import UnsupportedGraph, check_graph, open_session
try:
    check_graph(open(0, "rb").read()), open_session(b"")
except UnsupportedGraph as exc:
    print(exc)
"""
    done = subprocess.run([sys.executable, "-c", code], input=graph(), capture_output=True, check=True)
    assert b"install forecast-grpc[onnx]" in done.stdout


# --- sessions ---


def test_a_session_has_no_threads_of_its_own() -> None:
    """Fifty sessions in use leave the process with the threads that it had with one."""
    onnx().forecast(series(LAGS), 1)
    before = psutil.Process().num_threads()
    models = [onnx() for _ in range(50)]
    for each in models:
        each.forecast(series(LAGS), 1)
    assert psutil.Process().num_threads() <= before


def test_the_least_recently_used_session_goes_first() -> None:
    """Over the budget a session is closed, and the model that had it forecasts the same from another."""
    models = [onnx() for _ in range(3)]
    window = series(LAGS)
    expected = models[0].forecast(window, 7).tolist()
    SESSIONS.limit(2 * session_bytes(models[0].graph.size))
    for each in models:
        each.forecast(window, 7)
    assert len(SESSIONS) == 2
    assert SESSIONS.resident_bytes <= 2 * session_bytes(models[0].graph.size)
    assert models[0].forecast(window, 7).tolist() == expected
    assert len(SESSIONS) == 2


def test_a_budget_below_one_session_leaves_one() -> None:
    """However small the budget, what is asked for is answered."""
    SESSIONS.limit(0)
    assert onnx().forecast(series(LAGS), 7).shape == (7,)
    assert len(SESSIONS) <= 1


async def test_the_setting_is_the_budget(tmp_path: Path) -> None:
    """A replica holds its sessions to `max_onnx_bytes`."""

    async def nobody(customer_id: str) -> HotModel:
        raise AssertionError(customer_id)

    compose(Settings(store=str(tmp_path), max_onnx_bytes=12_345), "replica", nobody)
    assert SESSIONS.max_bytes == 12_345


def test_a_session_goes_with_its_model() -> None:
    """A model that nobody holds any more has no session, nor has one that was closed; closing twice is no harm."""
    opened, held = len(SESSIONS), SESSIONS.resident_bytes
    dropped, closed = onnx(), onnx()
    for each in (dropped, closed):
        each.forecast(series(LAGS), 1)
    assert len(SESSIONS) == opened + 2
    del dropped, each
    closed.close()
    closed.close()
    assert (len(SESSIONS), SESSIONS.resident_bytes) == (opened, held)
    assert closed.forecast(series(LAGS), 1).shape == (1,)


def test_memory_comes_back() -> None:
    """Opening and dropping the same sessions again and again takes no more memory than the first time."""
    data, _ = perceptron(7, hidden=8_000)

    def resident() -> int:
        models = [onnx(data) for _ in range(30)]
        for each in models:
            each.forecast(series(LAGS), 1)
        used: int = psutil.Process().memory_info().rss
        return used

    first = resident()
    later = [resident() for _ in range(4)]
    assert max(later) - first < 10 * len(data)


def test_memory_is_estimated_on_the_safe_side() -> None:
    """The size that counts against the budget is no less than what the process grew by."""
    data, _ = perceptron(7, hidden=8_000)
    resident_bytes, held = SESSIONS.resident_bytes, []
    before = psutil.Process().memory_info().rss
    for _ in range(30):
        held.append(onnx(data))
        held[-1].forecast(series(LAGS), 1)
    grown = psutil.Process().memory_info().rss - before
    assert grown <= SESSIONS.resident_bytes - resident_bytes


# --- covariates ---


@pytest.mark.parametrize("past", [0, 3])
def test_covariates_reach_the_graph(past: int) -> None:
    """A graph of several steps gets the past of each covariate and its values at the steps."""
    model, by_hand = informed(7, past)
    model = Onnx.from_arrays(model.arrays())
    window, known = series(30), np.random.default_rng(1).normal(size=(2, past + 7))
    assert model.forecast(window, 7, None, known) == pytest.approx(by_hand(window[-LAGS:], known), rel=1e-9)
    # A shorter horizon is the beginning of a longer one.
    shorter = model.forecast(window, 4, None, known[:, : past + 4])
    assert shorter == pytest.approx(by_hand(window[-LAGS:], known)[:4], rel=1e-9)


@pytest.mark.parametrize("past", [0, 3])
def test_covariates_move_on_with_the_window(past: int) -> None:
    """A graph of one step gets, at each step, the covariates of that step and the ones before."""
    model, by_hand = informed(1, past)
    path, known = series(LAGS), np.random.default_rng(1).normal(size=(2, past + 5))
    for step in range(5):
        block = by_hand(path[-LAGS:], known[:, step : step + past + 1])
        path = np.concatenate([path, block])
    assert model.forecast(series(LAGS), 5, None, known) == pytest.approx(path[LAGS:], rel=1e-9)


def test_a_graph_with_covariates_has_two_inputs() -> None:
    """A model that names covariates for a graph without them is damaged, and so is the reverse."""
    model, _ = informed(1, 2)
    arrays = model.arrays()
    with pytest.raises(ValueError, match="two inputs of floats"):
        Onnx.from_arrays(arrays | {"graph": onnx().graph})
    with pytest.raises(ValueError, match="one input of floats"):
        Onnx.from_arrays(onnx().arrays() | {"graph": model.graph})
    with pytest.raises(ValueError, match="covariate_tail holds 2 covariates instead of 3"):
        Onnx.from_arrays(arrays | {"covariate_count": np.array([3.0])})
