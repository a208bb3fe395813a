"""Time on a grid of equal steps: fixed ones such as an hour, and calendar ones such as a day or a month.

A calendar step keeps the clock's time in the model's time zone: the step after 12:00 on the eve of a clock change
is 12:00 of the day after, 23 or 25 hours later. A series that starts on a month's last day stays on last days.
"""

import re
from calendar import monthrange
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache

from whenever import Instant, ZonedDateTime

_PATTERN = re.compile(r"P(?:(\d{1,6})([YMWD])|T(\d{1,6})([HMS]))", re.ASCII)
_MONTHS = {"Y": 12, "M": 1}
_DAYS = {"W": 7, "D": 1}
_SECONDS = {"H": 3_600, "M": 60, "S": 1}


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """The length of a step. Exactly one of its three parts is not 0."""

    months: int = 0
    """Calendar months."""

    days: int = 0
    """Calendar days."""

    seconds: int = 0
    """Seconds of elapsed time."""


@lru_cache(maxsize=256)
def parse_frequency(text: str) -> Step:
    """Reads an ISO-8601 duration of one unit, such as `PT15M`, `P1W` or `P3M`. Raises ValueError for any other."""
    match = _PATTERN.fullmatch(text)
    count = int(match[1] or match[3]) if match else 0
    if match is None or count < 1:
        raise ValueError(f"{text!r} is not an ISO-8601 duration of one unit, such as PT1H, P1D, P1W or P1M")
    if match[4]:
        return Step(seconds=count * _SECONDS[match[4]])
    if match[2] in _MONTHS:
        return Step(months=count * _MONTHS[match[2]])
    return Step(days=count * _DAYS[match[2]])


def time_after(start: datetime, steps: int, frequency: str, time_zone: str = "UTC") -> datetime:
    """The time so many steps after `start`, in UTC; before it where `steps` is negative.

    Raises ValueError for an unknown frequency or time zone, and where the result is beyond the years 1 to 9999.
    """
    step = parse_frequency(frequency)
    if step.seconds:
        # Elapsed time knows no time zone.
        return _utc(Instant(start).add(seconds=step.seconds * steps))
    local = _local(start, time_zone)
    if step.days:
        return _utc(local.add(days=step.days * steps).to_instant())
    return _utc(_add_months(local, step.months * steps).to_instant())


def steps_between(start: datetime, end: datetime, frequency: str, time_zone: str = "UTC") -> int | None:
    """How many steps `end` lies after `start`; None where it is more than a quarter of a step off the grid.

    Raises as `time_after` does.
    """
    step = parse_frequency(frequency)
    length_s = step.seconds or step.days * 86_400 or step.months * 2_629_746
    guess = round((end - start).total_seconds() / length_s)
    for steps in (guess, guess - 1, guess + 1):
        off_s = abs((time_after(start, steps, frequency, time_zone) - end).total_seconds())
        if off_s <= length_s / 4:
            return steps
    return None


def _add_months(local: ZonedDateTime, months: int) -> ZonedDateTime:
    moved = local.add(months=months)
    if local.day < monthrange(local.year, local.month)[1]:
        return moved
    return moved.replace(day=monthrange(moved.year, moved.month)[1])


def _local(time: datetime, time_zone: str) -> ZonedDateTime:
    return Instant(time).to_tz(time_zone)


def _utc(instant: Instant) -> datetime:
    return instant.to_stdlib().astimezone(UTC)
