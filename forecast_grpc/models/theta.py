"""The Theta method: simple exponential smoothing with half of the long-run slope."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from itertools import repeat
from typing import ClassVar

import numpy as np

from forecast_grpc.domain import FloatArray, StoredArray
from forecast_grpc.models.many import Forecasts
from forecast_grpc.models.parameters import scalars, vector
from forecast_grpc.models.residuals import NAME, ResidualQuantiles
from forecast_grpc.models.tails import Tail, tail_arrays, tail_of, values_of
from forecast_grpc.quick import maker

SEASONS = 4
"""Seasons at the end of a window from which its own pattern is read. The trained pattern weighs as many."""

MEMORY = 64
"""Observations that smoothing looks back on at least. More change no forecast that we measured."""

_SHORT_SEASON = 256  # Up to which the plain correlation is quicker than that by Fourier transforms.
_SMALLEST_FACTOR = 0.01  # What a seasonal factor is raised to, so that dividing by it keeps the scale.


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Theta:
    """Theta lines 0 and 2 averaged, on the seasonally adjusted series.

    Assimakopoulos & Nikolopoulos 2000, The theta model: a decomposition approach to forecasting; in the form
    of Hyndman & Billah 2003, Unmasking the Theta method: the level of simple exponential smoothing, and half
    of the slope of the straight line through the training series.

    What the whole training series says best comes from it: smoothing parameter, slope, seasonal pattern. What
    has moved since comes from the window: the level, where in the season it ends (the shift at which the
    trained pattern fits it best), and its own pattern over the last `SEASONS` seasons, which is averaged with
    the trained one, each season of the window weighing 1 / `SEASONS` of that.
    """

    family: ClassVar[str] = "theta"
    max_horizon: ClassVar[int | None] = None
    covariate_tail: ClassVar[FloatArray | None] = None

    alpha: float
    """Smoothing parameter, above 0, at most 1."""

    slope: float
    """Slope of the seasonally adjusted training series, a step."""

    multiplicative: bool
    """Whether the pattern is relative to the level (1 + pattern is a factor), or is added to it."""

    pattern: FloatArray
    """The trained seasonal pattern as deviations around 0, shape (season_length,); [0.0] where there is none."""

    end: Tail
    """The end of the training series, shape (m,), as much of it as the model looks at."""

    residuals: ResidualQuantiles
    """Quantiles of the errors."""

    @property
    def min_length(self) -> int:
        """One season; 1 where there is none."""
        return self.pattern.size

    @property
    def tail(self) -> FloatArray:
        """The end of the training series, shape (m,)."""
        return values_of(self.end)

    @property
    def look_back(self) -> int:
        """Observations at the end of a window that a forecast depends on."""
        return memory(self.pattern.size)

    def forecast(
        self,
        window: FloatArray,
        horizon: int,
        position: int | None = None,  # noqa: ARG002
        covariates: FloatArray | None = None,  # noqa: ARG002
    ) -> FloatArray:
        """The point forecast, shape (horizon,)."""
        season_length = self.pattern.size
        seasons = min(window.size, memory(season_length)) // season_length
        window = window[-seasons * season_length :]
        if season_length == 1:
            return self._line(window, horizon)
        # Whole seasons before the next step: each row is in step with the pattern that comes after it.
        rows = window.reshape(seasons, season_length)
        pattern = self._pattern_after(rows[-SEASONS:])
        ahead = pattern[np.arange(horizon) % season_length]
        if self.multiplicative:
            return self._line((rows / pattern).ravel(), horizon) * ahead
        return self._line((rows - pattern).ravel(), horizon) + ahead

    def forecasts(self, windows: FloatArray, horizon: int) -> FloatArray:
        """`forecast` of many windows of one length, one a row: shape (len(windows), horizon)."""
        return _forecasts(windows, horizon, [self])

    @property
    def form(self) -> tuple[bool, int]:
        """What models have in common that `stacked` takes together."""
        return self.multiplicative, self.pattern.size

    @staticmethod
    def stacked(models: Sequence["Theta"]) -> Forecasts:
        """`forecast` of each model for a window of its own, of as many models of one form."""
        return partial(_forecasts, models=models)

    def _line(self, adjusted: FloatArray, horizon: int) -> FloatArray:
        """The forecast of what has no season, shape (horizon,)."""
        weights, lag = smoothing(self.alpha, adjusted.size)
        return _line(np.vecdot(adjusted, weights), lag, self.slope, horizon)

    def _pattern_after(self, rows: FloatArray) -> FloatArray:
        """The pattern after these seasons, one a row: as addends, or as factors."""
        own = seasonal_profile(rows, self.slope, self.multiplicative)
        shift = best_shift(self.pattern, own)
        trained = np.concatenate([self.pattern[shift:], self.pattern[:shift]])
        return _mixed(trained, own, len(rows), self.multiplicative)

    def quantile_offsets(self, levels: tuple[float, ...], horizon: int) -> FloatArray:
        """As `ResidualQuantiles.at`."""
        return self.residuals.at(levels, horizon)

    def arrays(self) -> dict[str, StoredArray]:
        """`smoothing` (alpha, slope, 1 where multiplicative), `pattern`, `tail` and the quantiles."""
        smoothing = np.array([self.alpha, self.slope, self.multiplicative])
        return {
            "smoothing": smoothing,
            "pattern": self.pattern,
            **tail_arrays(self.end),
            NAME: self.residuals.table,
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, StoredArray]) -> "Theta":
        """As `Forecaster.from_arrays`."""
        return cls.shared(arrays, tail_of(arrays), ResidualQuantiles.from_arrays(arrays))

    @classmethod
    def shared(cls, arrays: Mapping[str, StoredArray], end: Tail, residuals: ResidualQuantiles) -> "Theta":
        """As `from_arrays`, with the end of the series and the quantiles of errors from elsewhere."""
        alpha, slope, multiplicative = scalars(arrays, "smoothing", 3)
        if not 0.0 < alpha <= 1.0:
            raise ValueError(f"the smoothing parameter is {alpha}")
        pattern = vector(arrays, "pattern")
        if end.size < pattern.size:
            raise ValueError(f"the tail holds {end.size} values, a season {pattern.size}")
        return _made(
            alpha=alpha,
            slope=slope,
            multiplicative=bool(multiplicative),
            pattern=pattern,
            end=end,
            residuals=residuals,
        )


_made = maker(Theta)


def _forecasts(windows: FloatArray, horizon: int, models: Sequence[Theta]) -> FloatArray:
    """Each step of `Theta.forecast` for all rows: of one model, or of one model each."""
    multiplicative, season_length = models[0].form
    seasons = min(windows.shape[1], memory(season_length)) // season_length
    windows = windows[:, -seasons * season_length :]
    if season_length == 1:
        return _lines(windows, horizon, models)
    rows = windows.reshape(-1, seasons, season_length)
    patterns = _patterns_after(rows[:, -SEASONS:], models)
    repeated, ahead = patterns[:, None], patterns[:, np.arange(horizon) % season_length]
    if multiplicative:
        return _lines((rows / repeated).reshape(windows.shape), horizon, models) * ahead
    return _lines((rows - repeated).reshape(windows.shape), horizon, models) + ahead


def _lines(adjusted: FloatArray, horizon: int, models: Sequence[Theta]) -> FloatArray:
    """The forecasts of what has no season, shape (k, horizon), for `adjusted` of shape (k, n)."""
    smoothed = [smoothing(model.alpha, adjusted.shape[1]) for model in models]
    weights = np.array([weights for weights, _ in smoothed])
    lags = np.array([lag for _, lag in smoothed])
    slopes = np.array([model.slope for model in models])
    return _line(np.vecdot(adjusted, weights)[:, None], lags[:, None], slopes[:, None], horizon)


def _line(level: FloatArray, lag: FloatArray | float, slope: FloatArray | float, horizon: int) -> FloatArray:
    """From the level on, with half of the slope: shape (..., horizon)."""
    line: FloatArray = level + 0.5 * slope * (lag + np.arange(1.0, horizon + 1.0))
    return line


def _patterns_after(rows: FloatArray, models: Sequence[Theta]) -> FloatArray:
    """The patterns after the seasons of many windows, `rows` of shape (k, seasons, season_length)."""
    multiplicative, season_length = models[0].form
    slopes = np.array([model.slope for model in models])
    own = seasonal_profile(rows, slopes[:, None, None], multiplicative)
    pairs = zip(models if len(models) > 1 else repeat(models[0]), own, strict=False)
    shifts = np.array([best_shift(model.pattern, each) for model, each in pairs])
    places = (shifts[:, None] + np.arange(season_length)) % season_length
    if len(models) == 1:
        trained = models[0].pattern[places]
    else:
        trained = np.take_along_axis(np.array([model.pattern for model in models]), places, axis=1)
    return _mixed(trained, own, rows.shape[1], multiplicative)


def _mixed(trained: FloatArray, own: FloatArray, seasons: int, multiplicative: bool) -> FloatArray:
    """The trained pattern and that of so many seasons of a window."""
    mixed = trained + (own - trained) * (seasons / (seasons + SEASONS))
    return np.maximum(1.0 + mixed, _SMALLEST_FACTOR) if multiplicative else mixed


@lru_cache(maxsize=4_096)
def smoothing(alpha: float, count: int) -> tuple[FloatArray, float]:
    """What each of `count` values weighs in the level, shape (count,), read-only; and their mean age, in steps."""
    ages = np.arange(count - 1, -1, -1.0)
    weights = (1.0 - alpha) ** ages
    weights /= weights.sum()
    weights.flags.writeable = False
    # A smoothed line lags behind by the mean age of what it averages; the slope makes half of that good.
    return weights, float(weights.dot(ages))


def best_shift(trained: FloatArray, own: FloatArray) -> int:
    """How many steps to turn a pattern back until it fits another best; both of shape (season_length,)."""
    if trained.size <= _SHORT_SEASON:
        fit = np.correlate(np.concatenate([trained, trained[:-1]]), own, "valid")
    else:
        fit = np.fft.irfft(np.fft.rfft(trained) * np.fft.rfft(own).conj(), trained.size)
    return int(fit.argmax())


def memory(season_length: int) -> int:
    """Observations at the end of a window that the method looks at: whole seasons."""
    return max(SEASONS, -(-MEMORY // season_length)) * season_length


def seasonal_profile(rows: FloatArray, slope: FloatArray | float, multiplicative: bool) -> FloatArray:
    """The mean deviation from its season's level of each place in the season, shape (season_length,).

    `rows` holds a season each, shape (k, season_length); deviations are relative to the mean size of their
    season's values where `multiplicative`. `slope` is taken off before, in the unit of the values a step. Axes
    before these two stay as they are.
    """
    seasons, season_length = rows.shape[-2:]
    level = rows - slope * (np.arange(season_length) - 0.5 * (season_length - 1))
    # Sums, not means: numpy's mean takes twice the time for a few values.
    deviations = level - level.sum(axis=-1, keepdims=True) / season_length
    if multiplicative:
        # The mean size is the mean for positive values, and keeps the sign and the scale of any others.
        sizes = np.abs(level).sum(axis=-1, keepdims=True) / season_length
        deviations /= np.where(sizes > 0.0, sizes, 1.0)
    profile: FloatArray = deviations.sum(axis=-2) / seasons
    return profile
