"""From a decoded batch or stream to encoded results: the flow of the call, its time limit, its line in the log."""

import asyncio
import time
from collections import Counter as Tally
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import aclosing, closing
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from forecast_grpc.bulk.stream import Stream, Window
from forecast_grpc.bulk.work import Work
from forecast_grpc.call import Call
from forecast_grpc.domain import Answer
from forecast_grpc.engine import Engine
from forecast_grpc.errors import DeadlineExceeded, ForecastError, InternalError
from forecast_grpc.items import Block, BulkLimits, Items, Order, Rows
from forecast_grpc.outcome import outcome_of
from forecast_grpc.telemetry import Facts

_AHEAD, _MOST_AHEAD_S = 0.1, 0.25
"""How long before the caller's deadline a batch ends: a share of the time left, so many seconds at most."""

R = TypeVar("R")

Encode = Callable[[Block], Sequence[R]]
"""From a block to the result of each of its places, as the wire has it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BulkEngine:
    """What answers batches and streams in a replica."""

    engine: Engine
    """Answers single requests."""

    limits: BulkLimits
    """How much is taken on."""

    limit_s: float
    """Seconds that a batch may take."""

    max_loads: int
    """Models that one call may load at the same time."""

    patience_s: float
    """Seconds for which a stream may have results that its caller does not take."""

    async def batch(
        self, call: Call, decode: Callable[[], Order], encode: Encode[R]
    ) -> Sequence[R] | ForecastError:
        """The result of each item in their order, or the error of the whole call. Raises as `outcome_of`."""
        tally: Tally[str] = Tally()
        answering = self._batch(call, decode, encode, tally)
        record = partial(self._record, call, tally)
        return await outcome_of(answering, self.engine.telemetry, call.request_id, record)

    async def stream(
        self, call: Call, messages: AsyncIterator[Items], encode: Encode[bytes]
    ) -> AsyncGenerator[Sequence[bytes] | ForecastError, None]:
        """Results as they are ready, in no order, until those of all items are; or at last why there are no more.

        Raises nothing but CancelledError, when the caller has gone away.
        """
        tally: Tally[str] = Tally()

        def counted(block: Block) -> Sequence[bytes]:
            tally[_code(block)] += len(block.places)
            return encode(block)

        started = time.perf_counter()
        outcome: object = None
        self.engine.telemetry.in_flight += 1
        work = Work(self.engine, call, self.max_loads)
        window = Window(max_items=self.limits.max_stream_items, max_values=self.limits.max_batch_values)
        late = DeadlineExceeded(f"No results were taken for {self.patience_s:g} s.")
        stream = Stream(
            work=work,
            messages=messages,
            encode=counted,
            window=window,
            patience_s=self.patience_s,
            late=late,
        )
        try:
            async with aclosing(stream.results()) as results:
                async for ready in results:
                    yield ready
            outcome = tally
        except Exception as exc:  # noqa: BLE001 - logged whole, and the caller gets INTERNAL
            self.engine.telemetry.failure(call.request_id, exc)
            outcome = error = InternalError(call.request_id)
            yield error
        finally:
            self.engine.telemetry.in_flight -= 1
            self._record(call, tally, late if stream.stalled else outcome, time.perf_counter() - started)

    async def _batch(
        self, call: Call, decode: Callable[[], Order], encode: Encode[R], tally: Tally[str]
    ) -> Sequence[R]:
        order = decode()
        results: list[R | None] = [None] * len(order.items)

        def put(block: Block) -> None:
            tally[_code(block)] += len(block.places)
            for place, result in zip(block.places, encode(block), strict=True):
                results[place] = result

        limit = asyncio.timeout(self._limit_s(call, order))
        try:
            async with limit, aclosing(self._answered(call, order.items)) as blocks:
                async for block in blocks:
                    put(block)
        except TimeoutError:
            missing = [place for place, result in enumerate(results) if result is None]
            late = DeadlineExceeded("The time limit of the batch has passed.")
            put(Block(items=order.items, places=missing, outcome=late))
        return [result for result in results if result is not None]

    def _limit_s(self, call: Call, order: Order) -> float:
        """Seconds that the batch may take: the least of the caller's wish, our own limit, and what is left."""
        limits = [self.limit_s]
        if order.limit_s is not None:
            limits.append(order.limit_s)
        if call.remaining_s is not None:
            # The results have to be encoded, and to arrive.
            limits.append(call.remaining_s - min(_MOST_AHEAD_S, _AHEAD * call.remaining_s))
        return min(limits)

    async def _answered(self, call: Call, items: Items) -> AsyncGenerator[Block, None]:
        with closing(Work(self.engine, call, self.max_loads)) as work:
            async for block in work.taken(items):
                yield block
            while work.is_waiting:
                async for block in work.loaded():
                    yield block

    def _record(self, call: Call, tally: Tally[str], outcome: object, seconds: float) -> None:
        facts: Facts = {"request_id": call.request_id}
        code, reason = "CANCELLED", ""
        if isinstance(outcome, ForecastError):
            code, reason = outcome.code.name, outcome.reason
            facts["message"] = outcome.message
        elif outcome is not None:
            code = "OK"
        facts["items"] = dict(tally)
        self.engine.telemetry.items(call.protocol, tally)
        self.engine.telemetry.request(
            protocol=call.protocol,
            code=code,
            reason=reason,
            cache=call.tier or "",
            duration_s=seconds,
            facts=facts,
        )


def _code(block: Block) -> str:
    return "OK" if isinstance(block.outcome, Rows | Answer) else block.outcome.code.name
