"""Who asks most, in bounded memory, however many ask.

Misra & Gries 1982, Finding repeated elements; in the batched form, in which a full table loses its lower half and
every count is lowered by the largest that went (Anderson et al. 2017, A high-performance algorithm for identifying
frequent items in data streams).
"""

from heapq import nlargest

MAX_COUNTED = 2_000
"""Customers that are counted at most."""

_GONE = 0.5


class FrequentCustomers:
    """Counts requests by customer. A count is too low by `error` at most, and never too high."""

    def __init__(self, max_counted: int = MAX_COUNTED) -> None:
        self.error = 0.0
        """Requests that a count may lack: one in a thousand of all, where a table holds two thousand."""
        self._max_counted = max_counted
        self._counts: dict[str, float] = {}

    def record(self, customer_id: str) -> None:
        """Counts a request."""
        self._counts[customer_id] = self._counts.get(customer_id, 0) + 1
        if len(self._counts) > self._max_counted:
            self._halve()

    def age(self, factor: float) -> None:
        """Lets the requests so far count so much less; forgets those who come to less than half a request."""
        self.error *= factor
        aged = ((name, count * factor) for name, count in self._counts.items())
        self._counts = {name: count for name, count in aged if count >= _GONE}

    def top(self, number: int) -> list[tuple[str, float]]:
        """So many customers with their counts, the most frequent first; of equal ones, by name."""
        return nlargest(number, sorted(self._counts.items()), key=lambda item: item[1])

    def _halve(self) -> None:
        lost = sorted(self._counts.values())[len(self._counts) // 2]
        self._counts = {name: count - lost for name, count in self._counts.items() if count > lost}
        self.error += lost
