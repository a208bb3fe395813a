"""Which converter takes a model, what is said beside it, and that nothing is published without its proof."""

import pickle
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import numpy as np
import onnx as onnx_library
import pytest
from sklearn.linear_model import Ridge
from statsforecast.models import AutoETS, SeasonalNaive

import forecast_grpc
from forecast_grpc.artefact import decode
from forecast_grpc.convert import ConversionError, convert
from forecast_grpc.convert.conversion import Conversion, Proof
from forecast_grpc.convert.proving import prove
from forecast_grpc.domain import Covariate, ForecastQuery
from forecast_grpc.errors import CustomerIdInvalid
from forecast_grpc.forecasting import answer
from forecast_grpc.store import FolderStore
from tests.convert.examples import SEASON, TRAINED, daily, sales, served, windows
from tests.models.examples import graph, informed


def ridge() -> Ridge:
    """An autoregression on twelve values."""
    lagged, ahead = windows(12, 1)
    return Ridge().fit(lagged, ahead[:, 0])


def test_publish_makes_the_next_version(tmp_path: Path) -> None:
    """Each call publishes a version, into a folder that is made where there is none, or into an open store."""
    folder = tmp_path / "models"
    assert forecast_grpc.publish(str(folder), "shop", ridge(), history=sales()) == 1
    store = FolderStore(folder)
    assert forecast_grpc.publish(store, "shop", AutoETS(season_length=SEASON).fit(sales())) == 2
    model = decode(store.read("shop").data, "shop")
    assert (model.metadata.family, model.metadata.model_version) == ("ets", 2)


def test_what_was_converted_is_published_as_it_is(tmp_path: Path) -> None:
    """A model can be converted first, looked at, and published then."""
    fitted = convert(ridge(), history=sales())
    store = FolderStore(tmp_path)
    forecast_grpc.publish(store, "shop", fitted)
    assert store.read("shop").data == fitted.encode(1)


def test_a_malformed_customer_is_refused(tmp_path: Path) -> None:
    """As everywhere else."""
    with pytest.raises(CustomerIdInvalid):
        forecast_grpc.publish(FolderStore(tmp_path), "../x", ridge(), history=sales())


def test_time_comes_with_a_pandas_series() -> None:
    """Frequency and state time are read from its index, and the season and the horizon follow from them."""
    metadata = convert(ridge(), history=daily(sales())).metadata
    assert (metadata.frequency, metadata.state_time) == ("P1D", "2020-05-23T00:00:00Z")
    assert (metadata.season_length, metadata.horizon) == (7, 14)


def test_what_is_said_comes_first() -> None:
    """Every option stands in the artefact, whatever the history says."""
    metadata = convert(
        ridge(),
        history=daily(sales()),
        horizon=5,
        season_length=3,
        frequency="PT24H",
        time_zone="Europe/Berlin",
        state_time=datetime(2024, 1, 1, 1, tzinfo=timezone(timedelta(hours=1))),
    ).metadata
    assert (metadata.horizon, metadata.season_length, metadata.frequency) == (5, 3, "PT24H")
    assert (metadata.time_zone, metadata.state_time) == ("Europe/Berlin", "2024-01-01T00:00:00Z")


@pytest.mark.parametrize(
    ("time", "text"),
    [(143, "143"), ("2024-01-01", "2024-01-01T00:00:00Z"), (datetime(2024, 1, 1), "2024-01-01T00:00:00Z")],  # noqa: DTZ001
)
def test_state_times(time: Any, text: str) -> None:
    """A step, a text, and a time without a zone, which is UTC's."""
    assert convert(ridge(), history=sales(), state_time=time).metadata.state_time == text


def test_missing_values_of_the_history_are_filled() -> None:
    """As they are in a request."""
    history = sales()
    history[-3] = np.nan
    filled = sales()
    filled[-3] = (filled[-4] + filled[-2]) / 2
    assert served(convert(ridge(), history=history)) == pytest.approx(
        served(convert(ridge(), history=filled)), rel=1e-12
    )


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"horizon": 0}, "horizon"),
        ({"season_length": 1.5}, "season_length"),
        ({"frequency": "daily"}, "daily"),
        ({"state_time": "yesterday"}, "yesterday"),
        ({"history": "abc"}, "sequence of numbers"),
        ({"history": []}, "no observation"),
        ({"history": [np.nan] * 20}, "no observation"),
        ({"history": [np.inf] * 20}, "infinite"),
        ({"history": np.zeros((20, 2))}, "one series"),
    ],
)
def test_options_that_make_no_sense(options: Any, reason: str) -> None:
    """Each is refused in a sentence that names it."""
    with pytest.raises(ValueError, match=reason):
        convert(ridge(), **({"history": sales()} | options))


def test_a_model_of_an_unknown_library_is_refused() -> None:
    """With those that are known."""
    with pytest.raises(ConversionError, match=r"PosixPath is not known here.*statsforecast.*ONNX"):
        convert(Path())


class Touches:
    """A pickle that shows that it was run."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return Path.touch, (self.path,)


def test_a_pickle_is_not_run(tmp_path: Path) -> None:
    """Bytes are never unpickled: the object itself is what is converted."""
    path = tmp_path / "exploded"
    with pytest.raises(ConversionError, match="object instead of a pickle"):
        convert(pickle.dumps(Touches(path)))
    assert not path.exists()


def test_a_graph_is_a_model() -> None:
    """An ONNX graph as `onnx.load` gives it is served, and reads its window's length from its input."""
    converted = convert(onnx_library.load_model_from_string(graph()), history=sales())
    metadata = converted.metadata
    assert (metadata.family, metadata.min_length, metadata.horizon) == ("onnx", 24, 7)


def test_a_graph_takes_covariates() -> None:
    """A second input takes what is known beside the series, by names that a request must give."""
    made, by_hand = informed(7, 3)
    history, rng = sales(), np.random.default_rng(2)
    past = {"price": rng.normal(size=history.size), "promotion": rng.normal(size=history.size)}
    graph_ = onnx_library.load_model_from_string(made.graph.tobytes())
    converted = convert(graph_, history=history, covariates=past)
    assert converted.metadata.covariates == ("price", "promotion")
    ahead = rng.normal(size=(2, 7))
    known = np.concatenate([np.array(list(past.values()))[:, -3:], ahead], axis=1)
    asked = tuple(Covariate(name=name, values=row) for name, row in zip(past, ahead, strict=True))
    model = decode(converted.encode(1), "")
    found = answer(model, ForecastQuery(sequence=np.empty(0), covariates=asked), max_horizon=7)
    assert found.forecast == pytest.approx(by_hand(history[-24:], known), rel=1e-6)


@pytest.mark.parametrize(
    ("covariates", "reason"),
    [
        ({}, "takes 2 covariates, not 0"),
        ({"price": np.ones(TRAINED)}, "takes 2 covariates, not 1"),
        (
            {"price": np.ones(TRAINED), "promotion": np.ones(3)},
            f"promotion must hold {TRAINED} finite numbers",
        ),
        ({"price": np.ones(TRAINED), "promotion": ["no"]}, "promotion must be a sequence of numbers"),
    ],
)
def test_covariates_that_do_not_fit_the_graph(covariates: Any, reason: str) -> None:
    """One sentence says which covariates are missing, or which one is wrong."""
    made, _ = informed(7, 3)
    graph_ = onnx_library.load_model_from_string(made.graph.tobytes())
    with pytest.raises(ConversionError, match=reason):
        convert(graph_, history=sales(), covariates=covariates)


def test_a_graph_of_any_length_needs_a_window() -> None:
    """Where the input's length is not fixed, it has to be said."""
    model = onnx_library.load_model_from_string(graph())
    model.graph.input[0].type.tensor_type.shape.dim[1].dim_param = "length"
    with pytest.raises(ConversionError, match="`window`"):
        convert(model, history=sales())
    assert convert(model, history=sales(), window=24).metadata.min_length == 24


def test_a_graph_that_is_not_served_says_why() -> None:
    """Wrong lengths and refused operators come as one error."""
    model = onnx_library.load_model_from_string(graph())
    model.opset_import.add(domain="evil.example", version=1)
    with pytest.raises(ConversionError, match="cannot be served"):
        convert(model, history=sales())


def conversion() -> Conversion:
    """A converted model and its proof."""
    model = SeasonalNaive(season_length=SEASON).fit(sales())
    proof = Proof(sequence=np.empty(0), expected=model.predict(5)["mean"])
    return Conversion(forecaster=convert(model).forecaster, horizon=5, proofs=(proof,), season_length=SEASON)


def test_a_conversion_that_is_off_is_not_served() -> None:
    """A forecast that differs from the library's by more than the tolerance stops the conversion."""
    right = conversion()
    fitted = convert(SeasonalNaive(season_length=SEASON).fit(sales()))
    prove(fitted, right)
    (proof,) = right.proofs
    for factor, holds in ((1 + 1e-10, True), (1 + 1e-8, False), (np.nan, False)):
        off = replace(right, proofs=(replace(proof, expected=proof.expected * factor),))
        if holds:
            prove(fitted, off)
        else:
            with pytest.raises(ConversionError, match="differ"):
                prove(fitted, off)


def test_the_time_of_conversion_is_the_models() -> None:
    """Nobody knows when it was fitted, but when it was converted."""
    trained = convert(ridge(), history=sales()).metadata.trained_time
    assert trained is not None
    assert abs(datetime.now(UTC) - trained) < timedelta(minutes=5)


def test_no_library_is_loaded_that_is_not_there_yet() -> None:
    """Converting a graph loads neither scikit-learn nor pandas nor statsforecast."""
    code = """
import sys, numpy, onnx
from forecast_grpc.convert import convert
convert(onnx.load_model_from_string(sys.stdin.buffer.read()), history=numpy.arange(50.0))
print(*{name.partition(".")[0] for name in sys.modules})
"""
    done = subprocess.run([sys.executable, "-c", code], input=graph(), capture_output=True, check=True)
    loaded = set(done.stdout.decode().split())
    assert "onnxruntime" in loaded
    assert not loaded & {"sklearn", "pandas", "statsforecast", "skforecast", "lightgbm", "scipy"}
