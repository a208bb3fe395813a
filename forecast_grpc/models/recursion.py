"""Exponential smoothing of many windows at once: the recursion of `Ets` with a column for each window.

Each number is made by the same operations in the same order as there, so that it has the same bits.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from forecast_grpc.domain import FloatArray

if TYPE_CHECKING:
    from forecast_grpc.models.ets import Ets

SEASONS = 4
"""Seasons at the end of a window that tell where in the season it ends."""

MEMORY = 150
"""Observations of a window that the recursion runs over at most: older ones have no weight left."""

SMALLEST_FACTOR, LARGEST_FACTOR = 1e-6, 1e6
"""What a multiplicative season is kept between, so that dividing by it, or by a level near zero, stays finite."""


def forecasts(windows: FloatArray, horizon: int, models: Sequence["Ets"]) -> FloatArray:
    """The forecasts of windows, one a row, that say nothing of their position; shape (k, horizon).

    `models` are the one of all rows, or one for each, with seasons of one length and kind.
    """
    multiplicative, season_length = models[0].multiplicative, models[0].pattern.size
    recent = windows[:, -max(MEMORY, 2 * season_length) :]
    trends = np.array([model.trend for model in models])
    patterns = _fitting(recent, models)
    levels = _levels(recent, trends, patterns, multiplicative=multiplicative)
    run = _run_factors if multiplicative else _run
    levels, trends, ahead = run(recent, levels, trends, patterns, models)
    steps = np.arange(1, horizon + 1)
    damped = np.array([model.damped(steps.astype(np.float64)) for model in models])
    lines = levels[:, np.newaxis] + trends[:, np.newaxis] * damped
    seasons = ahead[:, (steps - 1) % season_length]
    paths: FloatArray = lines * seasons if multiplicative else lines + seasons
    return paths


def _fitting(windows: FloatArray, models: Sequence["Ets"]) -> FloatArray:
    """The trained patterns, turned so that each fits its window's first step, shape (k, season_length)."""
    count, length = windows.shape
    season_length = models[0].pattern.size
    trained = np.array([model.pattern for model in models])
    if season_length == 1:
        return np.broadcast_to(trained, (count, 1))
    seasons = min(SEASONS, length // season_length)
    rows = windows[:, -seasons * season_length :].reshape(count, seasons, season_length)
    own = (rows - rows.sum(axis=2, keepdims=True) / season_length).sum(axis=1)
    doubled = np.broadcast_to(
        np.concatenate([trained, trained[:, :-1]], axis=1), (count, 2 * season_length - 1)
    )
    fits = [np.correlate(pattern, each, "valid") for pattern, each in zip(doubled, own, strict=True)]
    shifts = np.array([int(fit.argmax()) for fit in fits]) - length % season_length
    places = (shifts[:, np.newaxis] + np.arange(season_length)) % season_length
    turned: FloatArray = np.take_along_axis(np.broadcast_to(trained, (count, season_length)), places, axis=1)
    return turned


def _levels(
    windows: FloatArray, trends: FloatArray, patterns: FloatArray, *, multiplicative: bool
) -> FloatArray:
    """The levels before the windows' first steps, shape (k,)."""
    season_length = patterns.shape[1]
    first = min(max(season_length, 4), windows.shape[1])
    lag = 0.5 * (first - 1) + 1.0
    season = patterns[:, np.arange(first) % season_length]
    adjusted = windows[:, :first] / season if multiplicative else windows[:, :first] - season
    levels: FloatArray = adjusted.sum(axis=1) / first - trends * lag
    return levels


_State = tuple[FloatArray, FloatArray, FloatArray]
"""Levels, trends and the patterns from the next step on: shapes (k,), (k,) and (k, season_length)."""


def _run(
    windows: FloatArray,
    levels: FloatArray,
    trends: FloatArray,
    patterns: FloatArray,
    models: Sequence["Ets"],
) -> _State:
    """The recursion over the windows."""
    alpha, beta, gamma, phi = _parameters(models)
    states = list(patterns.T.copy())
    for step, values in enumerate(windows.T.copy()):
        place = step % len(states)
        trends = trends * phi
        levels = levels + trends
        errors = values - levels - states[place]
        levels = levels + alpha * errors
        trends = trends + beta * errors
        states[place] = states[place] + gamma * errors
    return levels, trends, _from_next(states, windows.shape[1])


def _run_factors(
    windows: FloatArray,
    levels: FloatArray,
    trends: FloatArray,
    patterns: FloatArray,
    models: Sequence["Ets"],
) -> _State:
    """The recursion with a multiplicative season."""
    alpha, beta, gamma, phi = _parameters(models)
    states = list(patterns.T.copy())
    with np.errstate(divide="ignore", invalid="ignore"):
        for step, values in enumerate(windows.T.copy()):
            place = step % len(states)
            trends = trends * phi
            levels = levels + trends
            factors = states[place]
            errors = values / factors - levels
            ratios = values / levels
            inside = np.where(ratios <= LARGEST_FACTOR, ratios, LARGEST_FACTOR)
            kept = np.where(ratios < SMALLEST_FACTOR, SMALLEST_FACTOR, inside)
            states[place] = np.where(levels != 0.0, factors + gamma * (kept - factors), factors)
            levels = levels + alpha * errors
            trends = trends + beta * errors
    return levels, trends, _from_next(states, windows.shape[1])


def _parameters(models: Sequence["Ets"]) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
    """Alpha, beta, gamma and phi, shape (len(models),) each."""
    alpha, beta, gamma, phi = np.array([(each.alpha, each.beta, each.gamma, each.phi) for each in models]).T
    return alpha, beta, gamma, phi


def _from_next(states: list[FloatArray], steps: int) -> FloatArray:
    place = steps % len(states)
    return np.array(states[place:] + states[:place]).T
