"""What follows from the length of a step."""

import pytest

from forecast_grpc.fit.frequency import Frequency, default_horizon, season_length


@pytest.mark.parametrize(
    ("frequency", "season"),
    [
        ("PT1S", 60),
        ("PT10S", 6),
        ("PT1M", 1440),
        ("PT15M", 96),
        ("PT30M", 48),
        ("PT1H", 24),
        ("PT6H", 4),
        ("P1D", 7),
        ("P1W", 52),
        ("P1M", 12),
        ("P3M", 4),
        ("P1Y", 1),
        ("P2Y", 1),
    ],
)
def test_the_usual_season(frequency: str, season: int) -> None:
    """A minute of seconds, a day of anything shorter than a day, a week of days, a year of weeks and months."""
    assert season_length(frequency) == season


@pytest.mark.parametrize(
    ("frequency", "season", "horizon"),
    [("PT1H", 24, 48), ("P1D", 7, 14), ("P1M", 12, 18), ("PT15M", 96, 48), (None, 24, 24), (None, 1, 7)],
)
def test_the_usual_horizon(frequency: str | None, season: int, horizon: int) -> None:
    """The M4 competition's, else a season of at most 48 steps, else the tutorial's seven."""
    assert default_horizon(frequency, season) == horizon


@pytest.mark.parametrize(
    "text",
    ["", "P", "1D", "PT", "P1", "P1H", "PT1D", "P1DT1H", "P-1D", "P1.5D", "P\N{FULLWIDTH DIGIT ONE}D", "p1d"],
)
def test_other_durations_are_refused(text: str) -> None:
    """One unit, a whole number of at least one."""
    with pytest.raises(ValueError, match="ISO-8601"):
        Frequency.parse(text)
