"""What a family costs a replica: a forecast, a whole answer, an artefact's bytes, its decoding, its fit.

`combination` is of three members, the most that there are, and the dearest; its fit is what `auto` takes.
"""

import time
import timeit
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from rich.console import Console
from rich.table import Table

from forecast_grpc.artefact import decode
from forecast_grpc.domain import FloatArray, ForecastQuery, ServedModel
from forecast_grpc.fit import AUTO, FAMILY_CHOICES, FittedModel, Series, fit_series
from forecast_grpc.fit.families import FitSpec
from forecast_grpc.fit.selection import fit_combination
from forecast_grpc.forecasting import answer
from forecast_grpc.models import FAMILIES, Combination, Theta

SEASON = 24
"""Hours in a day: the season of the measured models."""

HORIZONS = (7, 48)
"""The horizons that models are fitted for, the tutorial's and the M4 competition's for hours."""

WINDOWS = (28, 168, 365, 1000)
"""Observations in a request."""

LEVELS = (0.1, 0.5, 0.9)
"""Quantile levels in a request that asks for them."""

_MEMBERS = ("ets", "seasonal_ar", "theta")
_REPEATS = 20  # The quickest of which counts: what is slower was disturbed.
_CALLS = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """One family at one horizon."""

    family: str
    """The family."""

    horizon: int
    """Steps that it was fitted for, and that it forecasts."""

    fit_ms: float
    """Fitting and measuring by rolling origin, 1,000 observations."""

    bytes: int
    """Size of the artefact."""

    decode_us: float
    """From the artefact's bytes to a model."""

    forecast_us: dict[int, float]
    """The point forecast by length of the window; none for windows shorter than the family needs."""

    answer_us: float
    """The whole answer, checks and three quantiles included, to the longest window."""


def history(count: int) -> FloatArray:
    """Hours with a day's season, a week's and noise."""
    hours = np.arange(count)
    day, week = np.sin(2 * np.pi * hours / SEASON), np.sin(2 * np.pi * hours / (7 * SEASON))
    noise = np.random.default_rng(0).normal(size=count)
    return np.asarray(100.0 + 20.0 * day + 5.0 * week + noise, np.float64)


def microseconds(call: Callable[[], object]) -> float:
    """The processor time of one call, when nothing disturbs it."""
    # Not the clock: what else runs on the machine should not count.
    return min(timeit.repeat(call, timer=time.thread_time, number=_CALLS, repeat=_REPEATS)) / _CALLS * 1e6


def fitted_model(series: Series, family: str, horizon: int) -> FittedModel:
    """A model of the family, or of the three dearest ones combined."""
    if family != Combination.family:
        return fit_series(series, family=family, horizon=horizon)
    chosen = fit_series(series, family=AUTO, horizon=horizon)
    spec = FitSpec(horizon=horizon, season_length=SEASON)
    one = fit_series(series, family="theta", horizon=horizon).forecaster
    assert isinstance(one, Theta)  # noqa: S101 - it was asked for
    weights = dict.fromkeys(_MEMBERS, 1.0 / len(_MEMBERS))
    return replace(chosen, forecaster=fit_combination(weights, series.values, spec, one.residuals))


def measure(family: str, horizon: int) -> Cost:
    """All costs of a family."""
    series = Series(values=history(WINDOWS[-1]), frequency="PT1H", state_time="2026-11-23T10:00:00Z")
    fitted = fitted_model(series, family, horizon)
    choice = AUTO if family == Combination.family else family
    fits = timeit.repeat(
        lambda: fit_series(series, family=choice, horizon=horizon), timer=time.thread_time, number=1, repeat=3
    )
    data = replace(fitted, metadata=replace(fitted.metadata, fit_digest="0" * 32)).encode(1)
    # As replicas do.
    to_serve = partial(decode, data, "customer", to_serve=True)
    model = to_serve()
    query = ForecastQuery(sequence=history(WINDOWS[-1]), quantile_levels=LEVELS)
    return Cost(
        family=family,
        horizon=horizon,
        fit_ms=1e3 * min(fits),
        bytes=len(data),
        decode_us=microseconds(to_serve),
        forecast_us={
            window: _forecast_us(model, window) for window in WINDOWS if window >= model.forecaster.min_length
        },
        answer_us=microseconds(lambda: answer(model, query, max_horizon=horizon)),
    )


def _forecast_us(model: ServedModel, window: int) -> float:
    values, horizon = history(window), model.metadata.horizon
    return microseconds(lambda: model.forecaster.forecast(values, horizon))


def shown(costs: list[Cost]) -> Table:
    """The costs as a table."""
    table = Table(title="Cost of a family in processor time, microseconds where no unit is given")
    table.add_column("family", no_wrap=True)
    for heading in (
        "horizon",
        "fit, ms",
        "artefact, bytes",
        "decode",
        *(f"window {n}" for n in WINDOWS),
        "answer",
    ):
        table.add_column(heading, justify="right")
    for cost in costs:
        forecasts = [f"{cost.forecast_us[n]:.1f}" if n in cost.forecast_us else "-" for n in WINDOWS]
        sizes = [str(cost.horizon), f"{cost.fit_ms:.0f}", f"{cost.bytes:,}", f"{cost.decode_us:.1f}"]
        table.add_row(cost.family, *sizes, *forecasts, f"{cost.answer_us:.1f}")
    return table


def main() -> None:
    """Measures every family and prints the table."""
    families = [*(family for family in FAMILY_CHOICES if family in FAMILIES), Combination.family]
    Console(width=120).print(shown([measure(family, horizon) for family in families for horizon in HORIZONS]))


if __name__ == "__main__":
    main()
