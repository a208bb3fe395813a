"""The weighted mean of several models."""

from dataclasses import replace

import numpy as np
import pytest

from forecast_grpc.models import Combination
from forecast_grpc.models.covariates import Regression
from tests.models.examples import HORIZON, MEMBERS, SINGLE, combination, linear, series


def test_it_is_the_weighted_mean_of_its_members() -> None:
    """Seasonal naive weighs a third, theta two: so does what each of them forecasts."""
    window = series(90)
    parts = [SINGLE[family].forecast(window, 20) for family in ("seasonal_naive", "theta")]
    mean = combination("seasonal_naive", "theta").forecast(window, 20)
    assert mean == pytest.approx(parts[0] / 3.0 + 2.0 * parts[1] / 3.0)


def test_members_share_one_tail() -> None:
    """The longest is stored once, and each member gets as much of its end as it had."""
    model = combination("seasonal_naive", "theta", "trend")
    names = list(model.arrays())
    assert [name for name in names if name.endswith("tail")] == ["tail"]
    again = Combination.from_arrays(model.arrays())
    assert [member.tail.size for member in again.members] == [member.tail.size for member in model.members]


def test_a_short_window_is_left_to_those_that_can() -> None:
    """Members that need more observations are left out, and the weights of the others add up to 1 again."""
    model = combination("seasonal_ar", "theta", "trend")
    window = series(SINGLE["seasonal_ar"].min_length - 1)
    without = combination("theta", "trend")
    shares = model.weights[1:] / model.weights[1:].sum()
    expected = replace(without, weights=shares).forecast(window, 9)
    assert model.forecast(window, 9) == pytest.approx(expected)
    assert model.min_length == min(SINGLE[family].min_length for family in ("theta", "trend"))


def test_a_member_with_covariates_is_never_left_out() -> None:
    """The covariates' effects are its alone: a request must bring what it needs."""
    regression = Regression(effects=np.ones((1, 1)), tail=np.empty((1, 0)))
    informed = replace(linear(), regression=regression)
    model = replace(combination("linear", "trend"), members=(informed, MEMBERS["trend"]))
    assert model.min_length == informed.min_length


def test_the_shortest_limit_on_the_horizon_holds() -> None:
    """A member that goes no further stops the others."""
    model = combination("seasonal_ar", "theta", "trend")
    assert model.max_horizon is None
    bounded = replace(model, members=(*model.members[:-1], replace(linear(), max_horizon=HORIZON)))
    assert bounded.max_horizon == HORIZON


def test_the_place_of_the_window_reaches_the_members() -> None:
    """Exponential smoothing resumes its state where the window goes on from training."""
    model, window = combination("ets", "trend"), series(30)
    assert model.forecast(window, 5, 1).tolist() != model.forecast(window, 5).tolist()


@pytest.mark.parametrize(
    ("name", "value"),
    [("theta.share", [-0.1, 48.0]), ("theta.share", [0.5, 999.0]), ("oracle.share", [0.5, 0.0])],
)
def test_what_cannot_be_a_member_is_refused(name: str, value: list[float]) -> None:
    """A weight below 0, more of the tail than there is, an unknown family; the message names the member."""
    arrays = combination("seasonal_naive", "theta").arrays()
    with pytest.raises(ValueError, match=name.partition(".")[0]):
        Combination.from_arrays({**arrays, name: np.array(value)})
