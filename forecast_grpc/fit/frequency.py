"""The length of a step: ISO-8601 durations of one unit, guessed from timestamps, and what follows from them."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from forecast_grpc.timeline import parse_frequency

Microseconds = NDArray[np.int64]
"""Times as microseconds since 1970 in UTC."""

_SECOND = 1_000_000
_UNITS = {
    "S": _SECOND,
    "M": 60 * _SECOND,
    "H": 3_600 * _SECOND,
    "D": 86_400 * _SECOND,
    "W": 604_800 * _SECOND,
}
_MONTHS_IN_A_YEAR = 12

_LONG_STEPS = ((28, 31, 1), (89, 92, 3), (181, 184, 6), (365, 366, 12))
"""Days between two times, at least and at most, and the months that they are."""

_USUAL_STEPS = tuple(
    count * _UNITS[unit]
    for unit, counts in {
        "S": (1, 2, 5, 10, 15, 20, 30),
        "M": (1, 2, 3, 5, 10, 15, 20, 30),
        "H": (1, 2, 3, 4, 6, 8, 12),
        "D": (1,),
        "W": (1, 2),
    }.items()
    for count in counts
)
_SHARED = 0.5
_NEAR = 0.1

_HORIZONS = {"PT1H": 48, "P1D": 14, "P1W": 13, "P1M": 18, "P3M": 8, "P1Y": 6}
"""Horizons of the M4 competition by frequency (Makridakis, Spiliotis & Assimakopoulos 2020)."""

_LONGEST_GUESS = 48
_TUTORIAL_HORIZON = 7


@dataclass(frozen=True, slots=True)
class Frequency:
    """The length of a step; either in months or in microseconds."""

    text: str
    """As an ISO-8601 duration."""

    months: int = 0
    """Its length in calendar months; 0 where it is a fixed time."""

    microseconds: int = 0
    """Its length in microseconds; 0 where it is in months."""

    @classmethod
    def parse(cls, text: str) -> "Frequency":
        """Reads a duration of one unit, such as `PT15M`, `P1W` or `P3M`. Raises ValueError for any other text."""
        step = parse_frequency(text)
        # History is read in UTC, where every day has 24 hours.
        length = step.days * _UNITS["D"] + step.seconds * _SECOND
        return cls(text, months=step.months, microseconds=length)

    def positions(self, times: Microseconds) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """How many steps each time lies after the first, and how far off that step it lies, in steps."""
        if self.months:
            elapsed = _month_numbers(times) - _month_numbers(times[:1])
            exact = elapsed / self.months
        else:
            exact = (times - times[0]) / self.microseconds
        # The first time may be off the grid as well as any other: the grid lies where most times do.
        exact -= np.median(exact - np.rint(exact))
        steps = np.rint(exact).astype(np.int64)
        return steps - steps[0], np.abs(exact - steps)


def guess_frequency(gaps: Microseconds) -> Frequency | None:
    """The frequency of series with these gaps between consecutive times, all above 0; None where there is none.

    Months, quarters and years are recognised by the gaps' median. Any other step is the gap that half of them
    share, or, where clocks jitter, the usual one (such as 15 minutes) within a tenth of the median.
    """
    days = float(np.median(gaps)) / _UNITS["D"]
    for shortest, longest, months in _LONG_STEPS:
        if shortest <= days <= longest:
            return Frequency.parse("P1Y" if months == _MONTHS_IN_A_YEAR else f"P{months}M")
    lengths, counts = np.unique(gaps, return_counts=True)
    step = int(lengths[counts.argmax()])
    if counts.max() < _SHARED * gaps.size:
        step = min(_USUAL_STEPS, key=lambda usual: abs(usual - float(np.median(gaps))))
        if abs(step - float(np.median(gaps))) > _NEAR * step:
            return None
    for unit in "WDHMS":
        if step % _UNITS[unit] == 0:
            return Frequency.parse(f"{'P' if unit in 'WD' else 'PT'}{step // _UNITS[unit]}{unit}")
    return None


def season_length(frequency: str) -> int:
    """Steps in the season that usually matters: a year of months or weeks, a week of days, a day of hours."""
    step = Frequency.parse(frequency)
    if step.months:
        return max(_MONTHS_IN_A_YEAR // step.months, 1)
    for unit, season in (
        ("W", 52 * _UNITS["W"]),
        ("D", 7 * _UNITS["D"]),
        ("M", _UNITS["D"]),
        ("S", _UNITS["M"]),
    ):
        if step.microseconds >= _UNITS[unit]:
            return max(season // step.microseconds, 1)
    raise AssertionError("a step is a second or more")


def default_horizon(frequency: str | None, season: int) -> int:
    """The M4 competition's horizon for the frequency, else a season of at most 48 steps, else 7."""
    if frequency in _HORIZONS:
        return _HORIZONS[frequency]
    return min(season, _LONGEST_GUESS) if season > 1 else _TUTORIAL_HORIZON


def _month_numbers(times: Microseconds) -> NDArray[np.int64]:
    return times.astype("datetime64[us]").astype("datetime64[M]").astype(np.int64)
