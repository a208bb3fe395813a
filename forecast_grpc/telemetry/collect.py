"""What an operator sees: metrics on Ray's Prometheus endpoint, and one canonical log line a request.

Nothing here costs a request more than a few dictionary operations: a sink publishes what has come together once a
second. No metric carries the customer, so the number of time series does not grow with the number of customers;
the customer stands in the log line.
"""

import asyncio
import json
import logging
import time
import traceback
from collections import Counter as Tally
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any, Protocol

from forecast_grpc.domain import ServedModel
from forecast_grpc.errors import ForecastError
from forecast_grpc.records import LoadCause
from forecast_grpc.telemetry.journal import Journal, loading_for

FLUSH_INTERVAL_S = 1.0
"""How often the tallies and the log lines leave the replica, in seconds."""

MAX_OBSERVATIONS = 256
"""Durations of one kind that a flush publishes at most; of more, an even sample."""

logger = logging.getLogger(__name__)

TagValues = tuple[tuple[str, str], ...]
"""The tags of a metric, sorted by name."""

Facts = dict[str, Any]
"""The fields of a log line."""


class MetricSink(Protocol):
    """Where metrics go: Ray's registry in a replica."""

    def add(self, name: str, tags: TagValues, amount: float) -> None:
        """Raises a counter."""
        ...

    def observe(self, name: str, tags: TagValues, values: Iterable[float]) -> None:
        """Adds values to a histogram."""
        ...

    def set(self, name: str, tags: TagValues, value: float) -> None:
        """Sets a gauge."""
        ...


class Telemetry:
    """Collects what happens in a replica. Not thread-safe: it belongs to the replica's event loop."""

    def __init__(
        self,
        *,
        sink: MetricSink,
        log: Callable[[str], None],
        log_requests: bool,
        facts: Facts,
        gauges: Callable[[], dict[tuple[str, TagValues], float]],
        wall_clock: Callable[[], float] = time.time,
        flush_interval_s: float = FLUSH_INTERVAL_S,
    ) -> None:
        """`log` takes finished lines, `facts` stand in each of them, `gauges` is asked at every flush."""
        self.in_flight = 0
        """Requests that are being answered."""
        self._sink = sink
        self._log = log
        self._log_requests = log_requests
        self._facts = facts
        self._gauges = gauges
        self._wall_clock = wall_clock
        self._flush_interval_s = flush_interval_s
        self._tallies: Tally[tuple[str, TagValues]] = Tally()
        self._durations: dict[tuple[str, TagValues], list[float]] = {}
        self._events: list[tuple[float, str, Facts]] = []
        self.journal = Journal()
        """What is remembered of single customers."""

    def request(
        self, *, protocol: str, code: str, reason: str, cache: str, duration_s: float, facts: Facts
    ) -> None:
        """Counts one answered request and notes its log line."""
        self._tallies["requests", (("code", code), ("protocol", protocol))] += 1
        if reason:
            self._tallies["errors", (("protocol", protocol), ("reason", reason))] += 1
        self._durations.setdefault(("request_duration_ms", (("protocol", protocol),)), []).append(
            duration_s * 1e3
        )
        if self._log_requests:
            line: Facts = {"protocol": protocol, "code": code, "reason": reason, "cache": cache} | facts
            line["duration_ms"] = round(duration_s * 1e3, 3)
            self._events.append((self._wall_clock(), "request", line))

    def cache_request(self, tier: str) -> None:
        """Counts one look-up of a model, by the tier that had it: `cold` is a miss."""
        self._tallies["model_requests", (("tier", tier),)] += 1

    def missed(self, cause: str) -> None:
        """Counts one miss: `new`, `dropped` not long ago for lack of room, or `loading` for another request."""
        self._tallies["model_misses", (("cause", cause),)] += 1

    def negative_hit(self, reason: str) -> None:
        """Counts one request that got a remembered error."""
        self._tallies["negative_hits", (("reason", reason),)] += 1

    def stale_serve(self) -> None:
        """Counts one look-up that got a model whose last check against the store failed."""
        self._tallies["stale_serves", ()] += 1

    def evicted(self, unused_s: float) -> None:
        """Notes a model dropped for lack of room, so long after its last use."""
        self._tallies["warm_evictions", ()] += 1
        self._durations.setdefault(("eviction_age_s", ()), []).append(unused_s)

    def load_stage(self, stage: str, duration_s: float) -> None:
        """Notes the time of one step of a load: `wait`, `fetch` or `decode`."""
        self._durations.setdefault(("load_stage_ms", (("stage", stage),)), []).append(duration_s * 1e3)

    def loaded(self, customer_id: str, model: ServedModel, duration_s: float) -> None:
        """Notes a model that has come from the store."""
        self._count_load("ok", duration_s)
        metadata = model.metadata
        self._event(
            "model_loaded",
            customer_id=customer_id,
            model_version=metadata.model_version,
            family=metadata.family,
            nbytes=model.nbytes,
            duration_ms=round(duration_s * 1e3, 3),
        )

    def load_failed(self, customer_id: str, error: ForecastError, duration_s: float) -> None:
        """Notes a load that came to nothing."""
        self._count_load(error.reason, duration_s)
        self.journal.note(customer_id, error, loading_for.get(), self._wall_clock())
        self._event("model_load_failed", customer_id=customer_id, **_error_facts(error))

    def prewarm_failed(self, customer_id: str, exc: BaseException) -> None:
        """Notes a customer that could not be warmed, whether or not its load had begun."""
        facts = _error_facts(exc) if isinstance(exc, ForecastError) else {"cause": repr(exc)}
        self._event("prewarm_failed", customer_id=customer_id, **facts)

    def took_over(self, customers: int, duration_s: float) -> None:
        """Notes what a new replica was left by the others, and how long it took to load it."""
        if customers:
            self._event("took_over", customers=customers, duration_ms=round(duration_s * 1e3, 3))

    def unloaded(self, customer_id: str, version: int) -> None:
        """Notes a model that Ray's multiplexer has let go."""
        self._tallies["unloads", ()] += 1
        self._event("model_unloaded", customer_id=customer_id, model_version=version)

    def refreshed(
        self,
        customer_id: str,
        outcome: str,
        *,
        version: int | None = None,
        error: ForecastError | None = None,
        known: bool = False,
    ) -> None:
        """Notes a check of a model against the store: `unchanged`, `replaced`, `gone`, `damaged` or `failed`.

        What was `known` before is counted, and not logged again.
        """
        self._tallies["refreshes", (("outcome", outcome),)] += 1
        if error is not None:
            self.journal.note(customer_id, error, LoadCause.REFRESH, self._wall_clock())
        if not known:
            facts: Facts = {"customer_id": customer_id, "outcome": outcome, "model_version": version}
            self._event("model_refreshed", **facts, **(_error_facts(error) if error else {}))

    def activated(
        self, request_id: str, customer_id: str, version: int, previous_version: int | None
    ) -> None:
        """Notes a version that a caller has made the active one."""
        self._event(
            "model_activated",
            request_id=request_id,
            customer_id=customer_id,
            model_version=version,
            previous_version=previous_version,
        )

    def failure(self, request_id: str, exc: BaseException) -> None:
        """Notes an error that nobody foresaw, with its traceback: what the caller does not get to see."""
        self._event(
            "unexpected_error", request_id=request_id, traceback="".join(traceback.format_exception(exc))
        )

    async def run(self) -> None:
        """Flushes until it is cancelled."""
        while True:
            await asyncio.sleep(self._flush_interval_s)
            self.flush()

    def flush(self) -> None:
        """Publishes the metrics and writes the log lines that have come together.

        Raises nothing: a full disk must not end the metrics that tell of it, nor broken metrics the log.
        """
        for publish in (self._publish_counts, self._publish_gauges, self._write_lines):
            try:
                publish()
            except Exception:
                logger.exception("Metrics or log lines were lost.")

    def _publish_counts(self) -> None:
        # Taken out first: what cannot be published is lost, and does not pile up.
        tallies, self._tallies = self._tallies, Tally()
        durations, self._durations = self._durations, {}
        for (name, tags), amount in tallies.items():
            self._sink.add(name, tags, amount)
        for (name, tags), values in durations.items():
            self._sink.observe(name, tags, values[:: -(-len(values) // MAX_OBSERVATIONS)])

    def _publish_gauges(self) -> None:
        self._sink.set("requests_in_flight", (), self.in_flight)
        for (name, tags), value in self._gauges().items():
            self._sink.set(name, tags, value)

    def _write_lines(self) -> None:
        events, self._events = self._events, []
        if events:
            self._log("\n".join(self._line(*event) for event in events))

    def _count_load(self, outcome: str, duration_s: float) -> None:
        self._tallies["loads", (("outcome", outcome),)] += 1
        self._durations.setdefault(("load_duration_ms", (("outcome", outcome),)), []).append(duration_s * 1e3)

    def _event(self, event: str, **facts: object) -> None:
        self._events.append((self._wall_clock(), event, facts))

    def _line(self, at: float, event: str, facts: Facts) -> str:
        time_ = datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds")
        known = {name: value for name, value in facts.items() if value not in (None, "")}
        # In ASCII: no line separator of Unicode's splits a line, and no lone surrogate fails the whole batch.
        return json.dumps({"time": time_, "event": event} | self._facts | known)


def _error_facts(error: ForecastError) -> Facts:
    """What the log says of an error: its reason for the caller, and its cause for the operator."""
    cause = error.__cause__
    return {
        "reason": error.reason,
        "message": error.message,
        "cause": f"{type(cause).__name__}: {cause}" if cause is not None else None,
    }
