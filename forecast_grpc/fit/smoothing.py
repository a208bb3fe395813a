"""Parameters of exponential smoothing: many candidates side by side through one pass over the series."""

from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from forecast_grpc.domain import FloatArray

_ALPHAS = (0.02, 0.05, 0.1, 0.2, 0.35, 0.5, 0.7, 0.9, 0.999)
_BETA_SHARES = (0.0, 0.02, 0.08, 0.25)
_GAMMA_SHARES = (0.0, 0.03, 0.1, 0.25, 0.5)
_PHIS = (1.0, 0.98, 0.9, 0.8)
_ROUNDS = 2
_WARM_UP = 10  # First steps in which errors say more of the initial state than of the parameters.


@dataclass(frozen=True, slots=True, kw_only=True)
class Smoothed:
    """The best candidate and its state after the series."""

    alpha: float
    """Smoothing parameter of the level."""

    beta: float
    """Smoothing parameter of the trend."""

    gamma: float
    """Smoothing parameter of the season."""

    phi: float
    """What damps the trend each step."""

    level: float
    """The level after the last value."""

    trend: float
    """The trend after the last value; 0 where the form has none."""

    pattern: FloatArray
    """Seasonal states, that of the step after the last value first, shape (season_length,)."""


def smooth(values: FloatArray, pattern: FloatArray) -> Smoothed:
    """The form and the parameters with the smallest AICc of one-step errors.

    `values` of shape (n,), n >= 1; `pattern`, shape (season_length,), is the additive pattern from the first
    value on, [0.0] for the forms without a season. The forms are no trend, trend and damped trend. Candidates
    lie on a grid, then twice between the best one and its neighbours (Hyndman et al. 2008, section 2.8.2: AICc).
    """
    best, state = _best(values, pattern, _grid(seasonal=pattern.size > 1))
    for narrowing in range(1, _ROUNDS + 1):
        around = np.concatenate([best[None, :], _around(best, 0.5**narrowing)])
        best, state = _best(values, pattern, around)
    alpha, beta, gamma, phi, _ = best.tolist()
    place = values.size % pattern.size
    return Smoothed(
        alpha=alpha,
        beta=beta,
        gamma=gamma,
        phi=phi,
        level=float(state[0]),
        trend=float(state[1]),
        pattern=np.roll(state[2:], -place),
    )


def _grid(*, seasonal: bool) -> FloatArray:
    """Candidates, shape (k, 5): alpha, beta, gamma, phi, and 1 where the form has a trend."""
    gammas = _GAMMA_SHARES if seasonal else (0.0,)
    rows = [
        (alpha, alpha * beta, (1.0 - alpha) * gamma, phi, trend)
        for alpha, gamma in product(_ALPHAS, gammas)
        for trend, beta, phi in ((0.0, 0.0, 1.0), *((1.0, b, p) for b, p in product(_BETA_SHARES, _PHIS)))
    ]
    return np.array(rows)


def _around(best: FloatArray, reach: float) -> FloatArray:
    """Candidates of the same form around the best one."""
    alpha, beta, gamma, phi, trend = best.tolist()
    factors = (1.0 - 0.5 * reach, 1.0, 1.0 + reach)
    rows = [
        (min(alpha * a, 0.999), min(beta * b, alpha), min(gamma * g, 1.0 - min(alpha * a, 0.999)), phi, trend)
        for a, b, g in product(factors, factors if beta else (1.0,), factors if gamma else (1.0,))
    ]
    return np.array(rows)


def _best(values: FloatArray, pattern: FloatArray, candidates: FloatArray) -> tuple[FloatArray, FloatArray]:
    """The candidate, and its state after the values: level, trend, season."""
    squares, levels, trends, states = _run(values, pattern, candidates)
    parameters = _parameters(candidates, pattern.size)
    count = max(values.size - _WARM_UP, 1)
    spare = np.maximum(count - parameters - 1, 1)
    floor = np.finfo(np.float64).tiny
    aicc = count * np.log(squares / count + floor) + 2.0 * parameters * count / spare
    best = int(aicc.argmin())
    return candidates[best], np.concatenate([[levels[best], trends[best]], states[:, best]])


def _parameters(candidates: FloatArray, season_length: int) -> NDArray[np.float64]:
    """Parameters and initial states of each candidate's form."""
    trend, damped = candidates[:, 4], candidates[:, 3] < 1.0
    return 3.0 + 2.0 * trend + damped + (season_length > 1) * 1.0


def _run(
    values: FloatArray, pattern: FloatArray, candidates: FloatArray
) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
    """Sums of squared errors, levels, trends, each of shape (k,), and states of shape (season_length, k)."""
    alpha, beta, gamma, phi, has_trend = np.ascontiguousarray(candidates.T)
    level, trend = _initial(values - np.resize(pattern, values.size))
    levels, trends = np.where(has_trend > 0.0, level, level + trend), has_trend * trend
    states = np.repeat(pattern[:, None], len(candidates), axis=1)
    squares, errors, change = (np.zeros(len(candidates)) for _ in range(3))
    warm = min(_WARM_UP, values.size - 1)
    # Into arrays that are there: to make new ones would take as long as the sums.
    for index, value in enumerate(values.tolist()):
        season = states[index % pattern.size]
        trends *= phi
        levels += trends
        np.subtract(value, levels, out=errors)
        errors -= season
        if index >= warm:
            squares += np.multiply(errors, errors, out=change)
        levels += np.multiply(alpha, errors, out=change)
        trends += np.multiply(beta, errors, out=change)
        season += np.multiply(gamma, errors, out=change)
    return squares, levels, trends, states


def _initial(adjusted: FloatArray) -> tuple[float, float]:
    """Level before the first value, and trend, by least squares on the first values without their season."""
    first = adjusted[: max(_WARM_UP, min(adjusted.size // 4, 100))]
    times = np.arange(1, first.size + 1) - 0.5 * (first.size + 1)
    slope = float(times.dot(first) / max(times.dot(times), 1.0))
    return float(first.mean()) - slope * 0.5 * (first.size + 1), slope
