"""What a load is to be: of whom it asks, what, how often and how long."""

import random
from bisect import bisect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import accumulate


class Order(StrEnum):
    """Which customer a request asks for."""

    UNIFORM = "uniform"
    """Any of them, alike."""

    ZIPF = "zipf"
    """The k-th with a probability that is proportional to 1 / k^s."""

    TURN = "turn"
    """One after the other."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A load on a service."""

    customers: Sequence[str]
    """Their names, at least one."""

    order: Order = Order.UNIFORM
    """Which of them a request asks for."""

    zipf: float = 1.1
    """The exponent s of Zipf's law."""

    request: bytes
    """The encoded ForecastRequest, the same each time."""

    connections: int
    """Connections to the service."""

    in_flight: int
    """Requests under way on each, in a closed loop."""

    rate: float = 0.0
    """Requests a second, in an open loop; 0 for a closed one."""

    duration_s: float
    """How long to send, in seconds."""

    warm_up_s: float = 0.0
    """How long to send before anything is counted, in seconds."""

    def choice(self) -> Callable[[], str]:
        """What names the customer of the next request."""
        customers, chance, turn = self.customers, random.Random(1), iter(range(1 << 62))  # noqa: S311 - no secret.
        if self.order is Order.TURN:
            return lambda: customers[next(turn) % len(customers)]
        if self.order is Order.UNIFORM:
            return lambda: chance.choice(customers)
        weights = list(accumulate(rank**-self.zipf for rank in range(1, len(customers) + 1)))
        return lambda: customers[bisect(weights, chance.random() * weights[-1], hi=len(weights) - 1)]
