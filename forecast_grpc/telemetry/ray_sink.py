"""The replica's side of Ray: its metrics registry and its log folder."""

import logging
import logging.handlers
from collections.abc import Callable, Iterable, Mapping
from itertools import product
from pathlib import Path
from typing import Any

from ray.serve import metrics

from forecast_grpc.telemetry.sink import TagValues

_PREFIX = "forecast_grpc_"
_BOUNDARIES = (0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000)

_Table = Mapping[str, tuple[str, Any]]
"""A metric's description and the names of its tags. Ray types those as a tuple of one: hence Any."""

_COUNTERS: _Table = {
    "requests": ("Answered requests.", ("code", "protocol")),
    "errors": ("Requests that failed, by reason.", ("protocol", "reason")),
    "items": ("Items of batches and streams, by what became of each.", ("code", "protocol")),
    "model_requests": ("Look-ups of a model, by the tier that had it; cold is a miss.", ("tier",)),
    "model_misses": (
        "Look-ups of a model that was not in memory, by cause: new, dropped or loading.",
        ("cause",),
    ),
    "negative_hits": ("Requests that got a remembered error, without the store.", ("reason",)),
    "stale_serves": ("Look-ups of a model whose last check against the store failed.", ()),
    "warm_evictions": ("Warm models dropped for lack of room.", ()),
    "loads": ("Models loaded, by outcome: ok, lent by another replica, or the error's reason.", ("outcome",)),
    "unloads": ("Models that Ray's multiplexer has let go.", ()),
    "refreshes": ("Checks of a model in memory against the store, by outcome.", ("outcome",)),
}
_FROM_THE_START: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "requests": {"code": ("OK",), "protocol": ("grpc", "http")},
    "errors": {
        "protocol": ("grpc", "http"),
        "reason": ("DEADLINE_EXCEEDED", "INTERNAL", "MODEL_CORRUPT", "OVERLOADED", "STORE_UNAVAILABLE"),
    },
    "model_requests": {"tier": ("hot", "warm", "cold")},
    "model_misses": {"cause": ("new", "dropped", "loading")},
    "negative_hits": {"reason": ("MODEL_NOT_FOUND",)},
    "stale_serves": {},
    "warm_evictions": {},
    "loads": {"outcome": ("ok", "MODEL_NOT_FOUND", "MODEL_CORRUPT", "STORE_UNAVAILABLE")},
    "unloads": {},
    "refreshes": {"outcome": ("unchanged", "replaced", "gone", "damaged", "failed")},
}
"""Counters that stand at 0 before anything happens: in a series that begins with its first rise nobody sees it."""

_HISTOGRAMS: _Table = {
    "request_duration_ms": ("Time to answer a request, in milliseconds; sampled under load.", ("protocol",)),
    "load_duration_ms": ("Time to get a model from the store, in milliseconds.", ("outcome",)),
    "load_stage_ms": ("Time of a step of loading: wait, fetch or decode; in milliseconds.", ("stage",)),
    "eviction_age_s": ("Time since the last use of a warm model that is dropped, in seconds.", ()),
}
_GAUGES: _Table = {
    "requests_in_flight": ("Requests that are being answered.", ()),
    "loads_in_flight": ("Models that are being loaded or wait for it.", ()),
    "refreshes_in_flight": ("Models that are being checked against the store.", ()),
    "models": ("Models in memory, by tier.", ("tier",)),
    "model_bytes": ("Resident bytes of the models in memory, by tier.", ("tier",)),
    "remembered_failures": ("Models remembered as not there or not usable.", ()),
}

_MAX_LOG_BYTES = 100 * 2**20
_LOG_BACKUPS = 5


class RayMetrics:
    """A `MetricSink` on Ray's registry; Ray adds the application, the deployment and the replica as tags."""

    def __init__(self) -> None:
        self._counters = {
            name: metrics.Counter(_PREFIX + name, description=text, tag_keys=tags)
            for name, (text, tags) in _COUNTERS.items()
        }
        self._histograms = {
            name: metrics.Histogram(
                _PREFIX + name, description=text, boundaries=list(_BOUNDARIES), tag_keys=tags
            )
            for name, (text, tags) in _HISTOGRAMS.items()
        }
        self._gauges = {
            name: metrics.Gauge(_PREFIX + name, description=text, tag_keys=tags)
            for name, (text, tags) in _GAUGES.items()
        }
        for name, values in _FROM_THE_START.items():
            for chosen in product(*values.values()):
                # A counter's own method takes no 0.
                self._counters[name]._record(0.0, dict(zip(values, chosen, strict=True)))  # noqa: SLF001

    def add(self, name: str, tags: TagValues, amount: float) -> None:
        """Raises a counter."""
        self._counters[name].inc(amount, dict(tags))

    def observe(self, name: str, tags: TagValues, values: Iterable[float]) -> None:
        """Adds values to a histogram."""
        histogram, labels = self._histograms[name], dict(tags)
        for value in values:
            histogram.observe(value, labels)

    def set(self, name: str, tags: TagValues, value: float) -> None:
        """Sets a gauge."""
        self._gauges[name].set(value, dict(tags))


def log_writer(replica: str) -> Callable[[str], None]:
    """A function that appends lines to `forecast_grpc_<replica>.log`, beside Ray Serve's log of the replica."""
    handler = logging.handlers.RotatingFileHandler(
        _log_folder() / f"forecast_grpc_{replica}.log",
        maxBytes=_MAX_LOG_BYTES,
        backupCount=_LOG_BACKUPS,
        encoding="utf-8",
    )

    def write(lines: str) -> None:
        handler.handle(logging.makeLogRecord({"msg": lines}))

    return write


def _log_folder() -> Path:
    """Where Ray Serve logs in this process. It is told by the handler that Serve has put on its own logger."""
    for handler in logging.getLogger("ray.serve").handlers:
        file_handler = getattr(handler, "target", handler)
        if isinstance(file_handler, logging.FileHandler):
            return Path(file_handler.baseFilename).parent
    return Path.cwd()
