"""Time on a grid of steps, calendar steps among them."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forecast_grpc.timeline import parse_frequency, steps_between, time_after

FREQUENCIES = ("PT1S", "PT15M", "PT1H", "P1D", "P1W", "P1M", "P3M", "P1Y")
ZONES = ("UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe")


def at(text: str, zone: str = "UTC") -> datetime:
    """A time on the clocks of a zone, in UTC."""
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).astimezone(UTC)


@pytest.mark.parametrize(
    ("start", "steps", "frequency", "wanted"),
    [
        ("2026-01-31T00:00", 1, "P1M", "2026-02-28T00:00"),
        ("2026-01-31T00:00", 2, "P1M", "2026-03-31T00:00"),
        ("2026-02-28T00:00", 1, "P1M", "2026-03-31T00:00"),
        ("2024-02-29T00:00", 12, "P1M", "2025-02-28T00:00"),
        ("2026-01-30T00:00", 1, "P1M", "2026-02-28T00:00"),
        ("2026-01-30T00:00", 2, "P1M", "2026-03-30T00:00"),
        ("2026-01-01T00:00", 5, "P3M", "2027-04-01T00:00"),
        ("2024-02-29T00:00", 4, "P1Y", "2028-02-29T00:00"),
        ("2026-12-31T23:59", 2, "PT1M", "2027-01-01T00:01"),
        ("2026-03-01T00:00", -1, "P1D", "2026-02-28T00:00"),
    ],
)
def test_steps_by_the_calendar(start: str, steps: int, frequency: str, wanted: str) -> None:
    """Months have their own lengths; a series on last days stays on last days."""
    assert time_after(at(start), steps, frequency) == at(wanted)


@pytest.mark.parametrize(
    ("frequency", "wanted"),
    [("P1D", "2026-03-29T12:00"), ("PT24H", "2026-03-29T13:00"), ("P1W", "2026-04-04T12:00")],
)
def test_a_day_keeps_the_clocks_time(frequency: str, wanted: str) -> None:
    """Across a clock change a day is a day on the clock, and 24 hours are 24 hours."""
    noon_before = at("2026-03-28T12:00", "Europe/Berlin")
    assert time_after(noon_before, 1, frequency, "Europe/Berlin") == at(wanted, "Europe/Berlin")


@given(
    start=st.datetimes(
        at("1900-01-01T00:00").replace(tzinfo=None),
        at("2100-01-01T00:00").replace(tzinfo=None),
        timezones=st.just(UTC),
    ),
    steps=st.integers(-500, 500),
    frequency=st.sampled_from(FREQUENCIES),
    zone=st.sampled_from(ZONES),
)
def test_counting_steps_undoes_taking_them(start: datetime, steps: int, frequency: str, zone: str) -> None:
    """As many steps lie between as were taken, in any zone, over clock changes and short months."""
    assert steps_between(start, time_after(start, steps, frequency, zone), frequency, zone) == steps


def test_a_time_off_the_grid_has_no_step() -> None:
    """Half an hour is no whole number of hours; a minute late is the same step."""
    start = at("2026-01-01T00:00")
    assert steps_between(start, start + timedelta(hours=5, minutes=30), "PT1H") is None
    assert steps_between(start, start + timedelta(hours=5, minutes=1), "PT1H") == 5


@pytest.mark.parametrize(
    "text", ["", "P", "P0D", "1D", "P1D2H", "P1H", "PT1D", "P-1D", "P1.5D", "P1d", "P\u0661D"]
)
def test_other_frequencies_are_refused(text: str) -> None:
    """Durations of one unit, and nothing else."""
    with pytest.raises(ValueError, match="ISO-8601"):
        parse_frequency(text)


def test_what_cannot_be_reached_is_refused() -> None:
    """Beyond the year 9999, and in zones that do not exist."""
    with pytest.raises(ValueError, match="range"):
        time_after(at("2026-01-01T00:00"), 10_000, "P1Y")
    with pytest.raises(ValueError, match="zone"):
        time_after(at("2026-01-01T00:00"), 1, "P1D", "Mars/Olympus")
