"""What an operator sees: metrics on Ray's Prometheus endpoint, and one canonical log line a request.

A request leaves its raw facts here, which costs it next to nothing; they are counted and written some at a time,
after a second at the latest. No metric carries the customer, so the number of time series does not grow with the
number of customers; the customer stands in the log line.
"""

import asyncio
import logging
import time
import traceback
from collections import Counter as Tally
from collections import deque
from collections.abc import Callable, Mapping

from forecast_grpc.domain import ServedModel
from forecast_grpc.errors import ForecastError
from forecast_grpc.records import LoadCause
from forecast_grpc.telemetry.journal import Journal, loading_for
from forecast_grpc.telemetry.lines import Facts, fields_of, line_of, outcome_of
from forecast_grpc.telemetry.sink import MetricSink, TagValues

FLUSH_INTERVAL_S = 1.0
"""How often the tallies and the log lines leave the replica, in seconds."""

MAX_OBSERVATIONS = 20
"""Durations of one kind that a flush publishes at most; of more, an even sample.

Ray's agent counts each of a machine's one by one, in 20 µs of a process that stands beside the replicas.
"""

CHUNK = 64
"""Events that are counted and written at a stretch, for a third of a millisecond, as soon as there are so many.

Those of a whole second would hold up its requests for ten."""

logger = logging.getLogger(__name__)


_Answered = tuple[str, str, str, str, float, Facts]
"""One answered request: protocol, code, reason, cache, seconds, facts. What it comes to is worked out later."""


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
        self._facts = fields_of(facts)
        self._gauges = gauges
        self._wall_clock = wall_clock
        self._flush_interval_s = flush_interval_s
        self._tallies: Tally[tuple[str, TagValues]] = Tally()
        self._durations: dict[tuple[str, TagValues], list[float]] = {}
        self._lookups: dict[str, int] = {}
        # In the order in which they happened: answered requests, and whatever else leaves a line.
        self._events: deque[tuple[float, str, Facts | _Answered]] = deque()
        # That of `run`, while it does.
        self._loop: asyncio.AbstractEventLoop | None = None
        self.journal = Journal()
        """What is remembered of single customers."""

    def request(
        self, *, protocol: str, code: str, reason: str, cache: str, duration_s: float, facts: Facts
    ) -> None:
        """Notes one answered request: it is counted, and leaves its line, at the next flush or before."""
        self._note("request", (protocol, code, reason, cache, duration_s, facts))

    def items(self, protocol: str, codes: Mapping[str, int]) -> None:
        """Counts the items of a batch or a stream, by their codes."""
        for code, count in codes.items():
            self._tallies["items", (("code", code), ("protocol", protocol))] += count

    def cache_request(self, tier: str) -> None:
        """Counts one look-up of a model, by the tier that had it: `cold` is a miss."""
        self._lookups[tier] = self._lookups.get(tier, 0) + 1

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

    def borrowed(self, customer_id: str, version: int) -> None:
        """Notes a model that another replica has lent, since the store does not answer."""
        self._tallies["loads", (("outcome", "lent"),)] += 1
        self._event("model_borrowed", customer_id=customer_id, model_version=version)

    def load_failed(self, customer_id: str, error: ForecastError, duration_s: float) -> None:
        """Notes a load that came to nothing."""
        self._count_load(error.reason, duration_s)
        self.journal.note(customer_id, error, loading_for.get(), self._wall_clock())
        self._event("model_load_failed", customer_id=customer_id, **_error_facts(error))

    def lane(self, lane: str, cause: str | None = None) -> None:
        """Notes which way calls over gRPC take, `direct` or `ordinary`, and why not a faster one."""
        self._event("lane", lane=lane, cause=cause)

    def own_core(self, core: int) -> None:
        """Notes the core that this replica has to itself."""
        self._event("own_core", core=core)

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
        """Flushes until it is cancelled. Meanwhile events leave as soon as there are enough for a stretch."""
        self._loop = asyncio.get_running_loop()
        try:
            while True:
                await asyncio.sleep(self._flush_interval_s)
                self.flush()
        finally:
            self._loop = None

    def flush(self) -> None:
        """Publishes the metrics and writes the log lines that have come together.

        Raises nothing: a full disk must not end the metrics that tell of it, nor broken metrics the log.
        """
        while self._events:
            self._try(self._pass_on)
        self._try(self._publish_counts)
        self._try(self._publish_gauges)

    @staticmethod
    def _try(publish: Callable[[], None]) -> None:
        try:
            publish()
        except Exception:
            logger.exception("Metrics or log lines were lost.")

    def _pass_on(self) -> None:
        """Counts the oldest events and writes their lines."""
        # Taken out first: what cannot be written is lost, and does not pile up.
        events = [self._events.popleft() for _ in range(min(CHUNK, len(self._events)))]
        self._count([noted for _, _, noted in events if isinstance(noted, tuple)])
        lines = [
            self._request_line(at, noted)
            if isinstance(noted, tuple)
            else line_of(at, event, self._facts + fields_of(noted))
            for at, event, noted in events
            if self._log_requests or not isinstance(noted, tuple)
        ]
        if lines:
            self._log("\n".join(lines))

    def _count(self, requests: list[_Answered]) -> None:
        for (protocol, code, reason), amount in Tally(each[:3] for each in requests).items():
            self._tallies["requests", (("code", code), ("protocol", protocol))] += amount
            if reason:
                self._tallies["errors", (("protocol", protocol), ("reason", reason))] += amount
        for protocol in {each[0] for each in requests}:
            durations = [each[4] * 1e3 for each in requests if each[0] == protocol]
            self._durations.setdefault(("request_duration_ms", (("protocol", protocol),)), []).extend(
                durations
            )

    def _request_line(self, at: float, answered: _Answered) -> str:
        protocol, code, reason, cache, duration_s, facts = answered
        # Whole microseconds as milliseconds: `round` goes by way of text.
        duration = f', "duration_ms": {int(duration_s * 1e6 + 0.5) / 1e3}'
        outcome = outcome_of(protocol, code, reason, cache)
        return line_of(at, "request", f"{self._facts}{outcome}{fields_of(facts)}{duration}")

    def _publish_counts(self) -> None:
        tallies, self._tallies = self._tallies, Tally()
        durations, self._durations = self._durations, {}
        lookups, self._lookups = self._lookups, {}
        for tier, count in lookups.items():
            self._sink.add("model_requests", (("tier", tier),), count)
        for (name, tags), amount in tallies.items():
            self._sink.add(name, tags, amount)
        for (name, tags), values in durations.items():
            self._sink.observe(name, tags, values[:: -(-len(values) // MAX_OBSERVATIONS)])

    def _publish_gauges(self) -> None:
        self._sink.set("requests_in_flight", (), self.in_flight)
        for (name, tags), value in self._gauges().items():
            self._sink.set(name, tags, value)

    def _count_load(self, outcome: str, duration_s: float) -> None:
        self._tallies["loads", (("outcome", outcome),)] += 1
        self._durations.setdefault(("load_duration_ms", (("outcome", outcome),)), []).append(duration_s * 1e3)

    def _event(self, event: str, **facts: object) -> None:
        self._note(event, facts)

    def _note(self, event: str, noted: Facts | _Answered) -> None:
        self._events.append((self._wall_clock(), event, noted))
        if self._loop is not None and len(self._events) % CHUNK == 0:
            self._loop.call_soon(self._try, self._pass_on)


def _error_facts(error: ForecastError) -> Facts:
    """What the log says of an error: its reason for the caller, and its cause for the operator."""
    cause = error.__cause__
    return {
        "reason": error.reason,
        "message": error.message,
        "cause": f"{type(cause).__name__}: {cause}" if cause is not None else None,
    }
