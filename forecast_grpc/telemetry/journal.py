"""What a replica remembers of single customers, for whoever asks why: what no metric may carry."""

from collections import OrderedDict
from contextvars import ContextVar
from datetime import UTC, datetime

from forecast_grpc.errors import ForecastError
from forecast_grpc.records import LoadCause, LoadFailure, Problem

MAX_FAILURES = 4_096
"""Customers whose last failure is remembered: some two megabytes at most."""

loading_for: ContextVar[LoadCause] = ContextVar("loading_for", default=LoadCause.REQUEST)
"""What models are loaded for in this task, and in those that it starts."""


class Journal:
    """The last failure of each customer who had one, of the latest `MAX_FAILURES`."""

    def __init__(self) -> None:
        self._failures: OrderedDict[str, LoadFailure] = OrderedDict()

    def note(self, customer_id: str, error: ForecastError, cause: LoadCause, at: float) -> None:
        """Remembers a failure; `at` in seconds since 1970."""
        time = datetime.fromtimestamp(at, UTC)
        self._failures[customer_id] = LoadFailure(time=time, cause=cause, problem=Problem.of(error))
        self._failures.move_to_end(customer_id)
        if len(self._failures) > MAX_FAILURES:
            self._failures.popitem(last=False)

    def last_failure(self, customer_id: str) -> LoadFailure | None:
        """How this customer's model last failed to load or to be checked; None where that is not known."""
        return self._failures.get(customer_id)
