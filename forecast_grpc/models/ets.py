"""Exponential smoothing: one recursion, of which SES, Holt and Holt-Winters are cases."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from itertools import cycle
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from forecast_grpc.domain import FloatArray, StoredArray
from forecast_grpc.models import recursion
from forecast_grpc.models.many import Forecasts
from forecast_grpc.models.parameters import scalars, vector
from forecast_grpc.models.recursion import LARGEST_FACTOR, MEMORY, SEASONS, SMALLEST_FACTOR
from forecast_grpc.models.residuals import NAME, ResidualQuantiles
from forecast_grpc.models.tails import Tail, tail_arrays, tail_of, values_of
from forecast_grpc.quick import maker


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Ets:
    """ETS(A,A_d,A) in error correction form, with its parts left out where their parameters are 0.

    Hyndman, Koehler, Ord & Snyder 2008, Forecasting with Exponential Smoothing, chapter 2. With the error
    e = y - (level + phi * trend + season):

        level  <- level + phi * trend + alpha * e
        trend  <- phi * trend + beta * e
        season <- season + gamma * e

    SES has beta = trend = 0 and no season, Holt phi = 1 and no season, the damped trend phi < 1, and additive
    Holt-Winters all of them. Where the season is multiplicative, with the step's level q = level + phi * trend:

        e = y / season - q
        season <- season + gamma * (y / q - season)

    Whether errors are additive or multiplicative changes the likelihood, and no point forecast.

    The model holds the *final* state of training. A window that goes on from there, which its position tells,
    or that reaches back over it, resumes that state with what is new; steps in between that nobody observed
    pass without a correction. Of any other window the state starts anew: the level from the window's first
    season, the pattern from training, turned to where it fits the window best, the trend from training.
    """

    family: ClassVar[str] = "ets"
    max_horizon: ClassVar[int | None] = None
    covariate_tail: ClassVar[FloatArray | None] = None

    alpha: float
    """Smoothing parameter of the level, above 0, at most 1."""

    beta: float
    """Smoothing parameter of the trend, 0 to alpha."""

    gamma: float
    """Smoothing parameter of the season, 0 to 1 - alpha."""

    phi: float
    """What damps the trend each step, above 0, at most 1; 1 where it is not damped."""

    level: float
    """The level at the end of training, in the unit of the observations."""

    trend: float
    """The trend at the end of training, a step; 0 where there is none."""

    pattern: FloatArray
    """Seasonal states, shape (season_length,), the one of the step after training first; [0.0] where none."""

    end: Tail
    """The end of the training series, shape (m,); what it says is in the state."""

    residuals: ResidualQuantiles
    """Quantiles of the errors."""

    multiplicative: bool = False
    """Whether the seasonal states are factors, all above 0, instead of addends."""

    slow_damping: bool = False
    """Whether a far trend is damped as statsforecast does it, by phi + (phi + ... + phi^(h - 1)) at step h, not by
    phi + ... + phi^h as in the book."""

    @property
    def min_length(self) -> int:
        """One season, or 2 where there is none."""
        return max(self.pattern.size, 2)

    @property
    def tail(self) -> FloatArray:
        """The end of the training series, shape (m,)."""
        return values_of(self.end)

    def forecast(
        self,
        window: FloatArray,
        horizon: int,
        position: int | None = None,
        covariates: FloatArray | None = None,  # noqa: ARG002
    ) -> FloatArray:
        """As `Forecaster.forecast`."""
        level, trend, pattern = self._state_after(window, position)
        steps, places = _steps(horizon, pattern.size)
        line = level + trend * self.damped(steps)
        ahead = pattern[places]
        path: FloatArray = line * ahead if self.multiplicative else line + ahead
        return path

    def forecasts(self, windows: FloatArray, horizon: int) -> FloatArray:
        """`forecast`, at no known position, of many windows of one length, one a row: shape (k, horizon)."""
        return recursion.forecasts(windows, horizon, [self])

    @property
    def form(self) -> tuple[bool, int]:
        """What models have in common that `stacked` takes together."""
        return self.multiplicative, self.pattern.size

    @staticmethod
    def stacked(models: Sequence["Ets"]) -> Forecasts:
        """`forecast` of each model for a window of its own, of as many models of one form."""
        return partial(recursion.forecasts, models=models)

    def damped(self, steps: FloatArray) -> FloatArray:
        """How often the trend counts until each step."""
        if self.phi == 1.0:
            return steps
        behind = 1.0 if self.slow_damping else 0.0
        damped: FloatArray = self.phi * (behind + (1.0 - self.phi ** (steps - behind)) / (1.0 - self.phi))
        return damped

    def _state_after(self, window: FloatArray, position: int | None) -> tuple[float, float, FloatArray]:
        """Level, trend and the pattern from the next step on, after the window."""
        if position is not None:
            known = 1 - position
            if 0 <= known <= window.size:
                return self._run(window[known:], self.level, self.trend, self.pattern)
            if 0 < position - 1 <= window.size:
                return self._run(window, *self._idle(position - 1))
        recent = window[-max(MEMORY, 2 * self.pattern.size) :]
        if position is not None:
            position += window.size - recent.size
        return self._run(recent, *self._anew(recent, position))

    def _idle(self, steps: int) -> tuple[float, float, FloatArray]:
        """The final state after steps that nobody observed."""
        level, trend = self.level, self.trend
        for _ in range(steps):
            trend *= self.phi
            level += trend
        return level, trend, _turned(self.pattern, steps)

    def _anew(self, window: FloatArray, position: int | None) -> tuple[float, float, FloatArray]:
        """A state before the window's first step, from the window and the trained pattern."""
        season_length = self.pattern.size
        first = min(max(season_length, 4), window.size)
        if season_length == 1:
            pattern = self.pattern
        elif position is not None:
            pattern = _turned(self.pattern, position - 1)
        else:
            pattern = self._fitting(window)
        lag = 0.5 * (first - 1) + 1.0
        season = pattern[:first] if first <= season_length else np.resize(pattern, first)
        adjusted = window[:first] / season if self.multiplicative else window[:first] - season
        return float(adjusted.sum()) / first - self.trend * lag, self.trend, pattern

    def _fitting(self, window: FloatArray) -> FloatArray:
        """The trained pattern, turned so that it fits the window's first step."""
        season_length = self.pattern.size
        seasons = min(SEASONS, window.size // season_length)
        rows = window[-seasons * season_length :].reshape(seasons, season_length)
        own = (rows - rows.sum(axis=1, keepdims=True) / season_length).sum(axis=0)
        fit = np.correlate(np.concatenate([self.pattern, self.pattern[:-1]]), own, "valid")
        # `shift` is where the pattern stands at the start of the last season; go back to the window's start.
        shift = int(fit.argmax()) - window.size % season_length
        return _turned(self.pattern, shift)

    def _run(
        self, values: FloatArray, level: float, trend: float, pattern: FloatArray
    ) -> tuple[float, float, FloatArray]:
        """The recursion over values, shape (n,), n >= 0."""
        if self.multiplicative:
            return self._run_factors(values, level, trend, pattern)
        alpha, beta, gamma, phi = self.alpha, self.beta, self.gamma, self.phi
        states = pattern.tolist()
        # Lists of Python floats: numpy's scalars would take ten times as long.
        for value, place in zip(values.tolist(), cycle(range(len(states))), strict=False):
            trend *= phi
            level += trend
            error = value - level - states[place]
            level += alpha * error
            trend += beta * error
            states[place] += gamma * error
        place = values.size % len(states)
        return level, trend, np.array(states[place:] + states[:place])

    def _run_factors(
        self, values: FloatArray, level: float, trend: float, pattern: FloatArray
    ) -> tuple[float, float, FloatArray]:
        """The recursion with a multiplicative season."""
        alpha, beta, gamma, phi = self.alpha, self.beta, self.gamma, self.phi
        states = pattern.tolist()
        size, place = len(states), 0
        for value in values.tolist():
            trend *= phi
            level += trend
            factor = states[place]
            error = value / factor - level
            if level:
                ratio = value / level
                # A comparison takes a third of the time of min and max.
                if not SMALLEST_FACTOR <= ratio <= LARGEST_FACTOR:
                    ratio = SMALLEST_FACTOR if ratio < SMALLEST_FACTOR else LARGEST_FACTOR
                states[place] = factor + gamma * (ratio - factor)
            level += alpha * error
            trend += beta * error
            place += 1
            if place == size:
                place = 0
        return level, trend, np.array(states[place:] + states[:place])

    def quantile_offsets(self, levels: tuple[float, ...], horizon: int) -> FloatArray:
        """As `ResidualQuantiles.at`."""
        return self.residuals.at(levels, horizon)

    def arrays(self) -> dict[str, StoredArray]:
        """`smoothing` (alpha, beta, gamma, phi), `state` (level, trend), `pattern`, `tail` and the quantiles.

        And `multiplicative` and `slow_damping`, 1, where it is so.
        """
        arrays: dict[str, StoredArray] = {
            "smoothing": np.array([self.alpha, self.beta, self.gamma, self.phi]),
            "state": np.array([self.level, self.trend]),
            "pattern": self.pattern,
            **tail_arrays(self.end),
            NAME: self.residuals.table,
        }
        switches = {"multiplicative": self.multiplicative, "slow_damping": self.slow_damping}
        return arrays | {name: np.ones(1) for name, on in switches.items() if on}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, StoredArray]) -> "Ets":
        """As `Forecaster.from_arrays`."""
        return cls.shared(arrays, tail_of(arrays), ResidualQuantiles.from_arrays(arrays))

    @classmethod
    def shared(cls, arrays: Mapping[str, StoredArray], end: Tail, residuals: ResidualQuantiles) -> "Ets":
        """As `from_arrays`, with the end of the series and the quantiles of errors from elsewhere."""
        alpha, beta, gamma, phi = scalars(arrays, "smoothing", 4)
        level, trend = scalars(arrays, "state", 2)
        if not (0.0 < alpha <= 1.0 and 0.0 <= beta <= 1.0 and 0.0 <= gamma <= 1.0 and 0.0 < phi <= 1.0):
            raise ValueError(f"the smoothing parameters are {alpha}, {beta}, {gamma}, {phi}")
        pattern = vector(arrays, "pattern")
        multiplicative = _is_on(arrays, "multiplicative")
        if multiplicative and not pattern.min() >= SMALLEST_FACTOR:
            raise ValueError(f"the parameter pattern holds the factor {pattern.min()}")
        return _made(
            alpha=alpha,
            beta=beta,
            gamma=gamma,
            phi=phi,
            level=level,
            trend=trend,
            pattern=pattern,
            end=end,
            residuals=residuals,
            multiplicative=multiplicative,
            slow_damping=_is_on(arrays, "slow_damping"),
        )


_made = maker(Ets)


def _is_on(arrays: Mapping[str, StoredArray], name: str) -> bool:
    return name in arrays and scalars(arrays, name, 1) == [1.0]


@lru_cache(maxsize=1_024)
def _steps(horizon: int, season_length: int) -> tuple[FloatArray, NDArray[np.intp]]:
    """The steps ahead from 1 on, and where each lies in a pattern that begins with the first; read-only."""
    steps, places = np.arange(1.0, horizon + 1.0), np.arange(horizon) % season_length
    for each in (steps, places):
        # They are shared by all models of this season.
        each.flags.writeable = False
    return steps, places


def _turned(pattern: FloatArray, steps: int) -> FloatArray:
    """The pattern so many steps later. `np.roll` takes five times as long."""
    place = steps % pattern.size
    return np.concatenate([pattern[place:], pattern[:place]]) if place else pattern
