"""One matrix, one product."""

from dataclasses import replace

import numpy as np
import pytest

from forecast_grpc.models import Linear
from tests.models.examples import HORIZON, linear, residuals, series


def test_a_step_is_a_weighted_sum_of_what_the_last_value_leaves() -> None:
    """Two lags, two horizons, by hand: the last value 4 leaves -3 and 0 of the window."""
    weights = np.array([[0.5, 9.0], [-1.0, 9.0]], np.float32)
    intercept = np.array([0.25, 0.0])
    model = Linear(weights=weights, intercept=intercept, end=np.zeros(2), residuals=residuals(2))
    assert model.forecast(np.array([77.0, 1.0, 4.0]), 2).tolist() == [0.5 * -3 + 0.25 + 4, 3.0 + 4]


def test_beyond_its_horizon_it_goes_on_from_its_own_forecasts() -> None:
    """The second block of H steps is the forecast from the window with the first block appended."""
    model, window = linear(), series(50)
    first = model.forecast(window, HORIZON)
    second = model.forecast(np.concatenate([window, first]), HORIZON)
    assert model.forecast(window, 2 * HORIZON).tolist() == [*first.tolist(), *second.tolist()]


def test_the_product_is_taken_in_float64() -> None:
    """Differences far beyond float32 are forecast: only the weights are rounded to it."""
    model = Linear(
        weights=np.ones((1, 2), np.float32), intercept=np.zeros(1), end=np.zeros(2), residuals=residuals(1)
    )
    assert model.forecast(np.array([1e200, 0.0]), 1).tolist() == [1e200]


def test_a_plain_regression_takes_the_window_as_it_is() -> None:
    """One step of an autoregression by hand, its second step from the first, and back from its arrays."""
    model = Linear(
        weights=np.array([[0.5, 0.25]]),
        intercept=np.array([1.0]),
        end=np.array([2.0, 4.0]),
        residuals=residuals(1),
        anchored=False,
    )
    for each in (model, Linear.from_arrays(model.arrays())):
        assert each.forecast(model.tail, 2).tolist() == [3.0, 0.5 * 4 + 0.25 * 3 + 1]


def test_weights_keep_the_precision_that_they_came_with() -> None:
    """Float64 weights stay float64 through an artefact, float32 ones float32."""
    exact = np.full((HORIZON, 24), 0.1)
    for weights in (exact, exact.astype(np.float32)):
        again = Linear.from_arrays(replace(linear(), weights=weights).arrays()).arrays()["weights"]
        assert again.dtype == weights.dtype
        assert again.tolist() == weights.tolist()


def test_a_bounded_model_says_so() -> None:
    """The bound is stored with the weights, and no bound is none."""
    bounded = replace(linear(), max_horizon=HORIZON)
    assert Linear.from_arrays(bounded.arrays()).max_horizon == HORIZON
    assert Linear.from_arrays(linear().arrays()).max_horizon is None
    for wrong in (0.0, np.nan):
        with pytest.raises(ValueError, match="max_horizon"):
            Linear.from_arrays({**linear().arrays(), "max_horizon": np.array([wrong])})


def test_shapes_that_do_not_fit_are_refused() -> None:
    """Rows of the weights are horizons, columns are lags."""
    arrays = linear().arrays()
    with pytest.raises(ValueError, match="do not fit"):
        Linear.from_arrays({**arrays, "tail": arrays["tail"][1:]})
    with pytest.raises(ValueError, match="do not fit"):
        Linear.from_arrays({**arrays, "intercept": arrays["intercept"][1:]})
