"""One path below the wire: from a customer and a decoded request to an answer, the same for every door."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial

from forecast_grpc.call import Call
from forecast_grpc.customer import require_customer_id
from forecast_grpc.domain import Answer, CacheTier, ForecastQuery, ForecastResult, RequestLimits, ServedModel
from forecast_grpc.errors import ForecastError
from forecast_grpc.forecasting import answer
from forecast_grpc.loading import AccessLog, Acquired, HotSet
from forecast_grpc.models.pickled import Pickled
from forecast_grpc.outcome import error_of
from forecast_grpc.own_core import beside
from forecast_grpc.quick import maker
from forecast_grpc.records import LoadCause
from forecast_grpc.telemetry import Facts, Telemetry, loading_for

_answer = maker(Answer)
_COLD = CacheTier.COLD  # To look a member up in its enum takes ten times as long.

_THREADS = ThreadPoolExecutor(32, thread_name_prefix="predict", initializer=beside)
"""For models that are somebody else's code: apart from those that fetch models from a folder."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    """What answers requests in a replica. Put together by `app`."""

    replica: str
    """The replica's name, as callers get it in `forecast-replica`."""

    limits: RequestLimits
    """How much one request may ask for."""

    hot: HotSet
    """The models."""

    telemetry: Telemetry
    """Metrics and log."""

    accesses: AccessLog = field(default_factory=AccessLog)
    """Notes who asks."""

    async def forecast(
        self, call: Call, customer_id: str, decode: Callable[[], ForecastQuery]
    ) -> Answer | ForecastError:
        """The answer to a request, or the error that its caller is to get. Raises as `outcome_of`."""
        # As `outcome_of` does it, without its calls: of nearly every request each counts.
        started = time.perf_counter()
        outcome: Answer | ForecastError | None = None
        self.telemetry.in_flight += 1
        try:
            outcome = await self._answer(call, customer_id, decode)
        except Exception as exc:  # noqa: BLE001 - see `error_of`
            outcome = error_of(exc, self.telemetry, call.request_id)
        finally:
            self.telemetry.in_flight -= 1
            self._record(call, customer_id, outcome, time.perf_counter() - started)
        return outcome

    def refused(self, call: Call, customer_id: str, error: ForecastError) -> None:
        """Notes a request that came to an error before it came here."""
        self._record(call, customer_id, error, 0.0)

    async def take_over(self, customer_ids: tuple[str, ...], limit_s: float) -> None:
        """As `prewarm`, for so many seconds at most: what has not been loaded by then comes behind the traffic."""
        started = time.perf_counter()
        with suppress(TimeoutError):
            async with asyncio.timeout(limit_s):
                await self.prewarm(customer_ids)
        self.telemetry.took_over(len(customer_ids), time.perf_counter() - started)

    async def prewarm(self, customer_ids: tuple[str, ...]) -> None:
        """Loads customers before traffic comes. One that cannot be loaded is logged, and holds up nobody."""
        before = loading_for.set(LoadCause.START)
        try:
            acquiring = map(self.hot.acquire, customer_ids)
            outcomes = await asyncio.gather(*acquiring, return_exceptions=True)
        finally:
            loading_for.reset(before)
        for customer_id, outcome in zip(customer_ids, outcomes, strict=True):
            if isinstance(outcome, BaseException):
                self.telemetry.prewarm_failed(customer_id, outcome)

    async def _answer(self, call: Call, customer_id: str, decode: Callable[[], ForecastQuery]) -> Answer:
        require_customer_id(customer_id)
        query = decode()
        found = self.hot.at_hand(customer_id, query.model_version)
        acquired = found if isinstance(found, Acquired) else await found
        model, call.tier = acquired
        tier = acquired.tier
        self.accesses.record(customer_id, model.nbytes, hit=tier is not _COLD)
        result = self.forecast_with(model, query)
        if not isinstance(result, ForecastResult):
            result = await result
        return _answer(customer_id=customer_id, result=result, metadata=model.metadata, tier=tier)

    def forecast_with(
        self, model: ServedModel, query: ForecastQuery
    ) -> ForecastResult | Awaitable[ForecastResult]:
        """What the model answers, to be awaited where it is somebody else's code.

        That may take as long as it likes, and the other requests are not to wait for it. Raises as `answer` does,
        and whatever such code raises.
        """
        if not isinstance(model.forecaster, Pickled):
            return answer(model, query, max_horizon=self.limits.max_horizon)
        answering = partial(answer, model, query, max_horizon=self.limits.max_horizon)
        return asyncio.get_running_loop().run_in_executor(_THREADS, answering)

    def _record(
        self, call: Call, customer_id: str, outcome: Answer | ForecastError | None, seconds: float
    ) -> None:
        code, reason = "CANCELLED", ""
        facts: Facts = {"request_id": call.request_id, "customer_id": customer_id}
        if isinstance(outcome, Answer):
            code, metadata = "OK", outcome.metadata
            facts["model_version"], facts["family"] = metadata.model_version, metadata.family
            facts["horizon"] = outcome.result.forecast.size
        elif outcome is not None:
            code, reason = outcome.code.name, outcome.reason
            facts["message"] = outcome.message
        self.telemetry.request(
            protocol=call.protocol,
            code=code,
            reason=reason,
            cache=call.tier or "",
            duration_s=seconds,
            facts=facts,
        )
