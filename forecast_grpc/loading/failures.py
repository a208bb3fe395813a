"""What is remembered of models that are not there or cannot be used, so that the store is not asked each time."""

from collections import OrderedDict
from collections.abc import Callable
from copy import copy
from dataclasses import dataclass

from forecast_grpc.errors import FailedPrecondition, ForecastError, ModelCorrupt, NotFound
from forecast_grpc.loading.limits import LoadLimits
from forecast_grpc.loading.rings import ModelKey


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Why there is no model."""

    error: ForecastError
    """What its callers get."""

    etag: str
    """What the store calls the bytes that cannot be used; empty where there are none."""

    until: float
    """Until when the store is not asked again, on the loader's clock, in seconds."""


class Failures:
    """The failures of the last moments, a bounded number of them: the oldest make room.

    A store that does not answer is not remembered: it may be back at any moment.
    """

    def __init__(self, limits: LoadLimits, clock: Callable[[], float]) -> None:
        self._limits = limits
        self._clock = clock
        self._failures: OrderedDict[ModelKey, Failure] = OrderedDict()

    def __len__(self) -> int:
        """Failures that are remembered."""
        return len(self._failures)

    def current(self, key: ModelKey) -> ForecastError | None:
        """The error for a model that the store is not to be asked for now, to be raised; None for others."""
        failure = self._failures.get(key)
        if failure is None or failure.until <= self._clock():
            return None
        return copy(failure.error)

    def last(self, key: ModelKey) -> Failure | None:
        """The failure that is remembered of this model, even where the store may be asked again."""
        return self._failures.get(key)

    def note(self, key: ModelKey, error: ForecastError, etag: str) -> None:
        """Remembers a failure, if it is one that lasts; `etag` is that of the bytes that cannot be used."""
        if isinstance(error, NotFound):
            ttl_s = self._limits.not_found_ttl_s
        elif isinstance(error, FailedPrecondition | ModelCorrupt):
            ttl_s = self._limits.failed_ttl_s
        else:
            return
        # A copy: a raised exception holds on to the frames that it went through, and to its cause.
        self._failures[key] = Failure(error=copy(error), etag=etag, until=self._clock() + ttl_s)
        self._failures.move_to_end(key)
        if len(self._failures) > self._limits.max_remembered_failures:
            self._failures.popitem(last=False)

    def forget(self, key: ModelKey) -> None:
        """The model is there now."""
        self._failures.pop(key, None)
