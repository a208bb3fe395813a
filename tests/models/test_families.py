"""What every family has in common."""

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from forecast_grpc.domain import FloatArray, Forecaster
from forecast_grpc.models import FAMILIES
from tests.models.examples import FORMS, HORIZON, MODELS, series

models = pytest.mark.parametrize("model", FORMS.values(), ids=FORMS.keys())
LONGEST = 80
windows = arrays(np.float64, LONGEST, elements=st.floats(-(2.0**100), 2.0**100, width=32))


def test_families_are_known_by_their_own_names() -> None:
    """The table of families holds each class under the name that it writes into artefacts."""
    assert {name: kind.family for name, kind in FAMILIES.items()} == {name: name for name in MODELS}


@models
@pytest.mark.parametrize("horizon", [1, HORIZON - 1, HORIZON, HORIZON + 1, 200])
def test_the_first_steps_do_not_depend_on_how_many_follow(model: Forecaster, horizon: int) -> None:
    """A longer forecast starts with the shorter one, to the last bit."""
    window = series(100)
    assert model.forecast(window, horizon).tolist() == model.forecast(window, 300)[:horizon].tolist()


@pytest.mark.parametrize(
    "model", [model for name, model in MODELS.items() if name not in {"dynamic_theta", "ets"}]
)
def test_the_tail_stands_for_the_whole_series(model: Forecaster) -> None:
    """Of a longer window only its end, as long as the tail, is looked at: an empty request needs no more.

    Exponential smoothing keeps what an empty request needs in its state instead: see test_ets.py.
    """
    window = series(100)
    assert model.forecast(window, 20).tolist() == model.forecast(window[-model.tail.size :], 20).tolist()
    assert model.tail.size >= model.min_length


@models
@settings(deadline=None)
@given(window=windows)
def test_finite_windows_give_finite_forecasts(model: Forecaster, window: FloatArray) -> None:
    """Values of any sign and any size up to 2^100 are forecast without a warning, an infinity or a NaN."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert np.isfinite(model.forecast(window, 3 * HORIZON)).all()


@models
@pytest.mark.parametrize("value", [0.0, 5.0, -5.0, 1e-300])
def test_a_constant_window_is_forecast(model: Forecaster, value: float) -> None:
    """All values the same, zero and negative too: the forecast is finite and there is no warning."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert np.isfinite(model.forecast(np.full(100, value), HORIZON)).all()


@models
def test_the_shortest_window_is_enough(model: Forecaster) -> None:
    """A window of `min_length` values gives a forecast of every length."""
    window = series(model.min_length)
    assert model.forecast(window, 1).shape == (1,)
    assert model.forecast(window, 500).shape == (500,)


@models
def test_forecasts_are_doubles(model: Forecaster) -> None:
    """Whatever the parameters are kept in: their bytes go out as they are (`wire.plain`)."""
    assert [model.forecast(window, HORIZON).dtype for window in (series(100), model.tail)] == [np.float64] * 2


@models
def test_a_forecast_leaves_the_window_as_it_was(model: Forecaster) -> None:
    """The window is read, never written to."""
    window = series(100)
    window.flags.writeable = False
    model.forecast(window, HORIZON)


@models
def test_parameters_make_the_same_model_again(model: Forecaster) -> None:
    """What `arrays` gives, `from_arrays` takes: forecasts and quantiles are the same to the last bit."""
    again = type(model).from_arrays(model.arrays())
    window = series(100)
    assert again.forecast(window, 20).tolist() == model.forecast(window, 20).tolist()
    assert again.tail.tolist() == model.tail.tolist()
    levels = (0.01, 0.5, 0.99)
    assert again.quantile_offsets(levels, 20).tolist() == model.quantile_offsets(levels, 20).tolist()


@models
def test_a_missing_parameter_is_named(model: Forecaster) -> None:
    """Without any one of its arrays a model is refused, by the name of what is missing."""
    for name in model.arrays():
        rest = {key: array for key, array in model.arrays().items() if key != name}
        with pytest.raises(ValueError, match=name.rpartition(".")[2]):
            type(model).from_arrays(rest)


@models
def test_a_misshapen_parameter_is_named(model: Forecaster) -> None:
    """An array with another number of dimensions is refused by its name."""
    for name, array in model.arrays().items():
        with pytest.raises(ValueError, match=name.rpartition(".")[2]):
            type(model).from_arrays({**model.arrays(), name: array[np.newaxis]})
