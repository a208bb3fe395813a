"""What a replica remembers of the requests, on clocks that the test moves."""

import pytest

from forecast_grpc.loading import AccessLog
from forecast_grpc.loading.accesses import AGING_INTERVAL_S, HALF_LIFE_S, REMEMBERED_S


class Clocks:
    """The time, and the processor's."""

    now = 0.0
    cpu = 0.0

    def log(self) -> AccessLog:
        """A log by these clocks."""
        return AccessLog(clock=lambda: self.now, cpu=lambda: self.cpu)

    def minute(self, log: AccessLog, requests: int, cores: float) -> None:
        """A minute with so many requests, in which the process takes so many cores."""
        for number in range(requests):
            log.record(f"customer-{number}", 1_000, hit=number > 0)
        self.now += AGING_INTERVAL_S
        self.cpu += cores * AGING_INTERVAL_S
        log.age()


def test_what_was_an_hour_ago_counts_half() -> None:
    """Requests, misses, time and the processor's time fade alike: their ratios are those of the traffic."""
    clocks = Clocks()
    log = clocks.log()
    clocks.minute(log, requests=100, cores=0.5)
    before = log.load()
    clocks.now += HALF_LIFE_S
    log.age()
    after = log.load()
    assert before.requests == pytest.approx(100, rel=0.02)
    assert before.misses == pytest.approx(1, rel=0.02)
    assert before.cpu_s == pytest.approx(30, rel=0.02)
    assert after.requests == pytest.approx(before.requests / 2)
    assert after.misses == pytest.approx(before.misses / 2)
    assert after.cpu_s == pytest.approx(before.cpu_s / 2)
    assert log.top(1) == []


def test_it_knows_no_more_than_an_hour_and_a_half() -> None:
    """However long it has watched: 1 / ln 2 hours."""
    clocks = Clocks()
    log = clocks.log()
    for _ in range(1_000):
        clocks.minute(log, requests=10, cores=0.1)
    load = log.load()
    assert load.seconds == pytest.approx(HALF_LIFE_S / 0.693, rel=0.02)
    assert load.requests / load.seconds == pytest.approx(10 / AGING_INTERVAL_S)
    assert load.cpu_s / load.seconds == pytest.approx(0.1)


def test_the_busiest_minute_of_the_day() -> None:
    """The minute that took most of a core, until it is a day old; then the busiest since."""
    clocks = Clocks()
    log = clocks.log()
    assert (log.load().busiest_cores, log.load().busiest_requests_per_s) == (0.0, 0.0)
    for requests, cores in ((60, 0.1), (600, 0.8), (120, 0.2), (6, 0.05)):
        clocks.minute(log, requests, cores)
    load = log.load()
    assert load.busiest_cores == pytest.approx(0.8)
    assert load.busiest_requests_per_s == pytest.approx(10.0)
    clocks.now += REMEMBERED_S - 2.5 * AGING_INTERVAL_S
    clocks.minute(log, 0, 0.0)
    load = log.load()
    assert load.busiest_cores == pytest.approx(0.2)
    assert load.busiest_requests_per_s == pytest.approx(2.0)


def test_requests_since_the_last_minute_count() -> None:
    """Nobody has to wait for a minute to be over."""
    clocks = Clocks()
    log = clocks.log()
    log.record("a", 1_000, hit=False)
    clocks.now, clocks.cpu = 2.0, 0.5
    load = log.load()
    assert (load.requests, load.misses, load.seconds, load.cpu_s) == (1.0, 1.0, 2.0, 0.5)
