"""A regression by small integers."""

import numpy as np
import pytest

from forecast_grpc.domain import FloatArray
from forecast_grpc.models import Linear
from forecast_grpc.models.factored import Factored
from forecast_grpc.models.lags import Lags, places
from tests.models.examples import factored, residuals, series


def whole(model: Factored) -> tuple[FloatArray, FloatArray]:
    """The weights of the whole window, shape (H, L), and the intercept, shape (H,)."""
    numbers = model.codes * model.unit
    horizon, first = len(numbers), 1 + model.lags.count
    weights = np.zeros((horizon, model.lags.window))
    index = places(model.lags, horizon)
    np.add.at(weights, (np.arange(horizon)[:, None], index), numbers[:, 1:first])
    if model.directions is not None:
        weights += numbers[:, first:] @ model.directions
    return weights, numbers[:, 0]


@pytest.mark.parametrize("rank", [0, 2])
def test_it_is_the_product_with_its_weights(rank: int) -> None:
    """Lags, directions and intercept add up to one matrix and one vector; many windows are taken at once."""
    model = factored(rank)
    weights, intercept = whole(model)
    windows = np.stack([series(24, seed) for seed in range(3)])
    assert model.of(windows) == pytest.approx(windows @ weights.T + intercept)
    assert model.of(windows[1]) == pytest.approx(model.of(windows)[1], rel=1e-14)


@pytest.mark.parametrize("rank", [0, 2])
def test_a_linear_model_forecasts_by_it(rank: int) -> None:
    """As by the same weights in one matrix, also beyond its horizon, and after a round trip."""
    codes = factored(rank)
    weights, intercept = whole(codes)
    model = Linear(weights=codes, intercept=None, end=series(24), residuals=residuals())
    plain = Linear(weights=weights, intercept=intercept, end=series(24), residuals=residuals())
    window = series(60)
    assert model.forecast(window, 20) == pytest.approx(plain.forecast(window, 20), rel=1e-12)
    again = Linear.from_arrays(model.arrays())
    assert again.forecast(window, 20).tolist() == model.forecast(window, 20).tolist()


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("weights", np.zeros(8 * 9 + 2 * 24 - 1, np.int8)),
        ("weights", np.zeros(2 * 24, np.int8)),
        ("weights", np.zeros((8, 9), np.int8)),
        ("weights_unit", np.ones(3)),
        ("weights_unit", np.ones((1, 9))),
        ("lags", np.array([25.0, 0.0])),
        ("lags", np.array([12.0])),
    ],
)
def test_arrays_that_do_not_fit_each_other_are_refused(name: str, wrong: FloatArray) -> None:
    """Codes for half a step or for none, fewer units than lags, a season longer than the window."""
    with pytest.raises(ValueError, match=name.partition("_")[0]):
        Factored.from_arrays({**factored(2).arrays(), name: wrong}, 24)


def test_lags_are_one_object_for_all_models_of_a_form() -> None:
    """Thousands of models share what is the same for them."""
    first, second = (Factored.from_arrays(factored(0).arrays(), 24) for _ in range(2))
    assert first.lags is second.lags
    assert first.lags == Lags(window=24, season_length=12, recent=3)
