"""Many windows at once: the same bits as one after the other, in whatever company."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from forecast_grpc.domain import FloatArray, Forecaster
from forecast_grpc.models import Ets, Linear, SeasonalAr, SeasonalNaive, Theta, Trend
from forecast_grpc.models.factored import Factored
from forecast_grpc.models.lags import Lags
from forecast_grpc.models.many import form_of, products, stacked, vectorised
from tests.models.examples import HORIZON, MODELS, residuals, series


def factored(rank: int) -> Factored:
    """Codes of HORIZON steps over two seasons of 12, with so many directions."""
    rng = np.random.default_rng(9)
    lags = Lags(window=24, season_length=12, recent=3)
    columns = 1 + lags.count + rank
    return Factored(
        lags=lags,
        codes=rng.integers(-127, 128, size=(HORIZON, columns)).astype(np.int8),
        unit=rng.uniform(0.001, 0.01, size=columns),
        directions=rng.integers(-127, 128, size=(rank, 24)).astype(np.int8) if rank else None,
    )


VECTORISED = [name for name, model in MODELS.items() if vectorised(model) is not None]
STACKED = [name for name, model in MODELS.items() if form_of(model) is not None]


def windows_of(count: int, length: int, seed: int) -> FloatArray:
    """Windows of all sizes, some on a season's grid and some not, shape (count, length)."""
    rng = np.random.default_rng(seed)
    return rng.normal(size=(count, length)) * 10.0 ** rng.integers(-3, 6, size=(count, 1))


def each(models: Sequence[Forecaster], windows: FloatArray, horizon: int) -> list[list[float]]:
    """One after the other."""
    pairs = zip(models, windows, strict=True)
    return [model.forecast(window, horizon).tolist() for model, window in pairs]


@pytest.mark.parametrize("name", VECTORISED)
@given(
    count=st.integers(1, 40), length=st.integers(24, 150), horizon=st.integers(1, 30), seed=st.integers(0, 99)
)
def test_many_windows_of_one_model_have_the_forecasts_of_each(
    name: str, count: int, length: int, horizon: int, seed: int
) -> None:
    """To the last bit, however many there are, however long they are."""
    model, windows = MODELS[name], windows_of(count, length, seed)
    forecasts = vectorised(model)
    assert forecasts is not None
    assert forecasts(windows, horizon).tolist() == each([model] * count, windows, horizon)


def relatives(name: str, count: int) -> list[Forecaster]:
    """Models of one form that differ in all that a form leaves open."""
    rng = np.random.default_rng(5)
    model: Forecaster = MODELS[name]
    if isinstance(model, Linear | SeasonalAr):
        assert not isinstance(model.weights, Factored)
        return [
            replace(
                model,
                weights=rng.normal(size=model.weights.shape).astype(np.float32),
                intercept=rng.normal(size=HORIZON),
            )
            for _ in range(count)
        ]
    if isinstance(model, Theta):
        return [
            replace(model, alpha=rng.uniform(0.01, 1.0), slope=rng.normal(), pattern=rng.normal(size=12) / 9)
            for _ in range(count)
        ]
    if isinstance(model, Ets):
        return [
            replace(
                model,
                alpha=rng.uniform(0.01, 1.0),
                beta=rng.uniform(0.0, 0.3),
                gamma=rng.uniform(0.0, 0.3),
                phi=1.0 if number % 3 else rng.uniform(0.8, 1.0),
                trend=rng.normal(),
                pattern=rng.normal(size=12) * 9.0,
                slow_damping=number % 2 == 0,
            )
            for number in range(count)
        ]
    assert isinstance(model, Trend | SeasonalNaive)
    return [replace(model, slope=rng.normal()) if isinstance(model, Trend) else model for _ in range(count)]


@pytest.mark.parametrize("name", STACKED)
@given(count=st.integers(1, 40), length=st.integers(24, 150), horizon=st.integers(1, 30))
def test_many_models_at_once_have_the_forecasts_of_each(
    name: str, count: int, length: int, horizon: int
) -> None:
    """To the last bit, each model for a window of its own."""
    models, windows = relatives(name, count), windows_of(count, length, seed=1)
    assert len({form_of(model) for model in models}) == 1
    assert stacked(models)(windows, horizon).tolist() == each(models, windows, horizon)


@pytest.mark.parametrize("season_length", [1, 2, 5, 300])
@pytest.mark.parametrize("multiplicative", [False, True])
def test_theta_of_every_season_keeps_its_bits(season_length: int, *, multiplicative: bool) -> None:
    """No season, short ones, and one whose place is found by Fourier transforms."""
    rng = np.random.default_rng(6)
    pattern = rng.normal(size=season_length) / 9 if season_length > 1 else np.zeros(1)
    model = Theta(
        alpha=0.3,
        slope=0.2,
        multiplicative=multiplicative,
        pattern=pattern,
        end=series(300),
        residuals=residuals(),
    )
    windows = windows_of(20, 700, seed=2)
    assert model.forecasts(windows, 9).tolist() == each([model] * 20, windows, 9)
    assert stacked([model] * 20)(windows, 9).tolist() == each([model] * 20, windows, 9)


@pytest.mark.parametrize("anchored", [False, True])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("steps", "lags"), [(1, 1), (7, 10), (48, 168), (500, 900)])
def test_linear_models_of_every_size_keep_their_bits(
    steps: int, lags: int, dtype: type[np.floating], *, anchored: bool
) -> None:
    """Also where BLAS takes another way: for large matrices it uses several threads."""
    rng = np.random.default_rng(7)
    model = Linear(
        weights=rng.normal(size=(steps, lags)).astype(dtype),
        intercept=rng.normal(size=steps),
        end=rng.normal(size=lags),
        residuals=residuals(),
        anchored=anchored,
    )
    windows = windows_of(11, lags, seed=3)
    assert model.forecasts(windows, steps).tolist() == each([model] * 11, windows, steps)
    assert stacked([model] * 11)(windows, steps).tolist() == each([model] * 11, windows, steps)


def test_a_product_does_not_depend_on_its_company() -> None:
    """A matrix times many vectors is what it is times each of them."""
    rng = np.random.default_rng(8)
    matrix, vectors = rng.normal(size=(7, 10)), rng.normal(size=(1_000, 10))
    assert products(matrix, vectors).tolist() == [(matrix @ vector).tolist() for vector in vectors]


@pytest.mark.parametrize("rank", [0, 1, 5])
def test_factored_weights_keep_their_bits(rank: int) -> None:
    """Weights by small integers, of lags alone and with directions, in both families that have them."""
    windows = windows_of(30, 40, seed=4)
    shared: dict[str, Any] = {"weights": factored(rank), "intercept": None, "end": series(24)}
    seasonal = SeasonalAr(lags=factored(rank).lags, residuals=residuals(), **shared)
    for model in (Linear(residuals=residuals(), **shared), seasonal):
        weights = model.weights
        assert isinstance(weights, Factored)
        others: list[Forecaster] = [
            replace(model, weights=replace(weights, unit=weights.unit * share)) for share in range(1, 31)
        ]
        assert model.forecasts(windows, 2 * HORIZON).tolist() == each([model] * 30, windows, 2 * HORIZON)
        assert stacked(others)(windows, 2 * HORIZON).tolist() == each(others, windows, 2 * HORIZON)


@pytest.mark.parametrize("season_length", [1, 2, 5, 24])
@pytest.mark.parametrize("multiplicative", [False, True])
@given(length=st.integers(24, 260), seed=st.integers(0, 99))
def test_smoothing_of_every_season_keeps_its_bits(
    season_length: int, length: int, seed: int, *, multiplicative: bool
) -> None:
    """Windows shorter and longer than what it looks at; levels that are zero, and ratios beyond all bounds."""
    rng = np.random.default_rng(seed)
    pattern = rng.uniform(0.5, 1.5, season_length) if multiplicative else rng.normal(size=season_length)
    model = Ets(
        alpha=0.4,
        beta=0.1,
        gamma=0.3,
        phi=0.95,
        level=1.0,
        trend=0.0 if seed % 2 else 0.3,
        pattern=pattern,
        end=series(24),
        residuals=residuals(),
        multiplicative=multiplicative,
    )
    windows = windows_of(20, length, seed)
    windows[0] = 0.0
    windows[1, ::2] = 0.0
    windows[2] *= 1e-300
    with np.errstate(all="ignore"):
        assert model.forecasts(windows, 30).tolist() == each([model] * 20, windows, 30)
        assert stacked([model] * 20)(windows, 30).tolist() == each([model] * 20, windows, 30)
