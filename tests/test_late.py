"""Combinations that are made late."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from forecast_grpc import late
from forecast_grpc.artefact import decode, encode
from forecast_grpc.domain import ModelMetadata
from forecast_grpc.errors import ModelCorrupt
from forecast_grpc.models import Combination, Ets, SeasonalAr, Trend
from forecast_grpc.models.combination import LateMembers
from forecast_grpc.models.covariates import Regression
from tests.models.examples import HORIZON, combination, factored, knots, linear, series
from tests.test_artefact import rewritten


@pytest.fixture(autouse=True)
def _no_forms(monkeypatch: pytest.MonkeyPatch) -> None:
    """No form is known yet, and none is afterwards."""
    monkeypatch.setattr(late, "_forms", {})


def model(level: float = 100.0, **changes: Any) -> Combination:
    """Four members, those of our own fits in their own forms; `changes` of the exponential smoothing."""
    made = combination("ets", "seasonal_ar", "theta", "trend")
    ets, regression, theta, trend = made.members
    assert isinstance(ets, Ets)
    assert isinstance(regression, SeasonalAr)
    regression = replace(regression, weights=factored(0), lags=factored(0).lags, intercept=None)
    members = replace(ets, level=level, **changes), regression, theta, trend
    return replace(made, members=members, residuals=knots())


def artefact(made: Combination, **changes: Any) -> bytes:
    """Its artefact."""
    metadata = ModelMetadata(
        family="combination", model_version=1, horizon=HORIZON, min_length=made.min_length, **changes
    )
    return encode(made, metadata)


def is_late(data: bytes) -> bool:
    """Whether its members are made later."""
    served = decode(data, "c").forecaster
    assert isinstance(served, Combination)
    return isinstance(served.members, LateMembers)


def test_the_first_of_a_form_is_made_and_others_are_made_late() -> None:
    """And each forecasts as it was fitted, with its own numbers."""
    first, second = model(), model(level=130.0, alpha=0.5)
    assert not is_late(artefact(first))
    assert is_late(artefact(second))
    served = decode(artefact(second), "c").forecaster
    assert (served.min_length, served.max_horizon) == (second.min_length, second.max_horizon)
    assert served.covariate_tail is None
    window = series(60)
    for position in (None, 1):
        expected = second.forecast(window, 20, position)
        assert served.forecast(window, 20, position).tolist() == expected.tolist()
    assert served.tail.tolist() == second.tail.tolist()
    levels = (0.05, 0.5)
    assert served.quantile_offsets(levels, 9).tolist() == second.quantile_offsets(levels, 9).tolist()


def test_one_that_is_made_late_has_the_same_bytes() -> None:
    """Before and after it was asked."""
    data = artefact(model(level=130.0))
    decode(artefact(model()), "c")
    served = decode(data, "c")
    assert encode(served.forecaster, served.metadata) == data
    served.forecaster.forecast(series(60), 3)
    assert encode(served.forecaster, served.metadata) == data


def test_members_are_made_once() -> None:
    """Asked again, the model has them."""
    decode(artefact(model()), "c")
    served = decode(artefact(model(level=130.0)), "c").forecaster
    assert isinstance(served, Combination)
    assert [id(member) for member in served.members] == [id(member) for member in served.members]
    assert len(served.members) == 4
    assert served.members[0].family == "ets"


@pytest.mark.parametrize(
    "changes",
    [{"alpha": 0.0}, {"alpha": 1.5}, {"beta": -0.1}, {"gamma": 1.1}, {"phi": 0.0}, {"phi": 1.01}],
    ids=str,
)
def test_numbers_that_cannot_be_are_damage_in_a_known_form_too(changes: dict[str, float]) -> None:
    """What is refused when a model is made is refused when it would be made later."""
    decode(artefact(model()), "c")
    with pytest.raises(ModelCorrupt):
        decode(artefact(model(**changes)), "c")


def test_weights_that_are_not_all_are_damage_in_a_known_form_too() -> None:
    """Each is a part of one."""
    made = model()
    decode(artefact(made), "c")
    for weights in ([0.1, 0.2, 0.3, 0.3], [-0.1, 0.5, 0.3, 0.3]):
        with pytest.raises(ModelCorrupt):
            decode(artefact(replace(made, weights=np.array(weights))), "c")
    assert is_late(artefact(replace(made, weights=np.array([0.4, 0.3, 0.2, 0.1]))))


def test_another_season_is_not_taken_for_the_same_form() -> None:
    """Lags, decimals and how much of the tail a member takes may differ where sizes do not: it is made at once."""
    made = model()
    decode(artefact(made), "c")
    *others, trend = made.members
    assert isinstance(trend, Trend)
    assert is_late(artefact(replace(made, members=(*others, replace(trend, slope=0.5)))))
    other = replace(made, members=(*others, replace(trend, decimals=3)))
    assert not is_late(artefact(other))
    assert decode(artefact(other), "c").forecaster.forecast(series(60), 5).tolist() == (
        other.forecast(series(60), 5).tolist()
    )


def test_a_text_of_other_vectors_is_damage() -> None:
    """It is the form's name, so it is read again for each text."""
    data = artefact(model())
    decode(data, "c")
    text = "ets.pattern:12 ets.share:2"
    with pytest.raises(ModelCorrupt):
        decode(rewritten(data, {"vectors": text}), "c")


def test_one_with_covariates_is_made_at_once() -> None:
    """Its covariates are checked when it is decoded."""
    regression = Regression(effects=np.ones((1, 1)), tail=np.ones((1, 24)))
    informed = replace(linear(), regression=regression)
    made = combination("linear", "trend")
    made = replace(made, members=(informed, made.members[1]))
    for _ in range(2):
        assert not is_late(artefact(made, covariates=("price",)))


def test_forms_are_few(monkeypatch: pytest.MonkeyPatch) -> None:
    """A store of very many forms does not fill the memory: those beyond the first ones are made at once."""
    monkeypatch.setattr(late, "_MOST_FORMS", 0)
    for _ in range(2):
        assert not is_late(artefact(model()))
