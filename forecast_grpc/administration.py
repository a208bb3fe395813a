"""One path below the wire for the model service: what each call does, the same for every door."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from functools import partial
from typing import Any, TypeVar

from forecast_grpc.call import Call
from forecast_grpc.customer import require_customer_id
from forecast_grpc.errors import DeadlineExceeded, ForecastError, ModelServiceDisabled
from forecast_grpc.fleet import Fleet
from forecast_grpc.outcome import outcome_of
from forecast_grpc.records import (
    Activated,
    Activation,
    CustomersQuery,
    Explanation,
    ModelPage,
    ModelRecord,
    ModelServiceMode,
    Problem,
    VersionsQuery,
    Warming,
)
from forecast_grpc.registry import Registry
from forecast_grpc.telemetry import Facts, Telemetry
from forecast_grpc.usage import Usage

T = TypeVar("T")
Q = TypeVar("Q")

_OFF = {
    ModelServiceMode.OFF: "The model service is switched off here.",
    ModelServiceMode.READ: "What changes models is switched off here.",
}


class Administration:
    """The calls of the model service in one replica.

    Each takes what decodes its request, and returns its outcome or the error that its caller is to get; none
    raises anything but CancelledError.
    """

    def __init__(
        self,
        *,
        mode: ModelServiceMode,
        registry: Registry,
        fleet: Fleet,
        telemetry: Telemetry,
        limit_s: float,
    ) -> None:
        """`limit_s` is what the store may take over one call, and a replica over what it is asked, in seconds."""
        self._mode = mode
        self._registry = registry
        self._fleet = fleet
        self._telemetry = telemetry
        self._limit_s = limit_s

    async def get(
        self, call: Call, decode: Callable[[], tuple[str, int | None]]
    ) -> ModelRecord | ForecastError:
        """One model, of a customer and a version."""

        async def answer(asked: tuple[str, int | None]) -> ModelRecord:
            require_customer_id(asked[0])
            return await self._in_time(self._registry.model(*asked))

        return await self._run(call, "GetModel", decode, answer)

    async def customers(self, call: Call, decode: Callable[[], CustomersQuery]) -> ModelPage | ForecastError:
        """A page of customers."""

        async def answer(query: CustomersQuery) -> ModelPage:
            return await self._in_time(self._registry.customers(query))

        return await self._run(call, "ListModels", decode, answer)

    async def versions(self, call: Call, decode: Callable[[], VersionsQuery]) -> ModelPage | ForecastError:
        """A page of a customer's versions."""

        async def answer(query: VersionsQuery) -> ModelPage:
            require_customer_id(query.customer_id)
            return await self._in_time(self._registry.versions(query))

        return await self._run(call, "ListModelVersions", decode, answer)

    async def warm(self, call: Call, decode: Callable[[], tuple[str, ...]]) -> Warming | ForecastError:
        """Has every replica load these customers."""

        async def answer(customer_ids: tuple[str, ...]) -> Warming:
            for customer_id in customer_ids:
                require_customer_id(customer_id)
            asked = await self._fleet.ask("warm_here", customer_ids, self._limit_s, limit_s=self._limit_s)
            return Warming(replicas=_by_name(asked.replies), unanswered=asked.unanswered)

        return await self._run(call, "WarmModels", decode, answer, needs=ModelServiceMode.ALL)

    async def activate(self, call: Call, decode: Callable[[], Activation]) -> Activated | ForecastError:
        """Makes a version the active one, and has every replica look at the store."""

        async def answer(order: Activation) -> Activated:
            require_customer_id(order.customer_id)
            model, previous = await self._in_time(self._registry.activate(order))
            self._telemetry.activated(call.request_id, order.customer_id, order.version, previous)
            asked = await self._fleet.ask("refresh_here", order.customer_id, limit_s=self._limit_s)
            return Activated(
                model=model,
                previous_version=previous,
                replicas=_by_name(asked.replies),
                unanswered=asked.unanswered,
            )

        return await self._run(call, "ActivateModelVersion", decode, answer, needs=ModelServiceMode.ALL)

    async def explain(self, call: Call, decode: Callable[[], str]) -> Explanation | ForecastError:
        """Where a customer's model is."""

        async def answer(customer_id: str) -> Explanation:
            require_customer_id(customer_id)
            model, asked = await asyncio.gather(
                self._stored(customer_id),
                self._fleet.ask("explain_here", customer_id, limit_s=self._limit_s),
            )
            return Explanation(model=model, replicas=_by_name(asked.replies), unanswered=asked.unanswered)

        return await self._run(call, "ExplainModel", decode, answer)

    async def usage(self, call: Call, decode: Callable[[], int]) -> Usage | ForecastError:
        """What all replicas know of who asks; so many customers are named at most."""

        async def answer(max_top: int) -> Usage:
            asked = await self._fleet.ask("usage_here", max_top, limit_s=self._limit_s)
            return Usage(replicas=_by_name(asked.replies), unanswered=asked.unanswered, max_top=max_top)

        return await self._run(call, "GetAccessStatistics", decode, answer)

    async def _stored(self, customer_id: str) -> ModelRecord:
        """What the store has of a customer; where it has nothing, or does not answer, that."""
        try:
            return await self._in_time(self._registry.model(customer_id))
        except ForecastError as exc:
            return ModelRecord(customer_id=customer_id, active=False, problem=Problem.of(exc))

    async def _in_time(self, answer: Coroutine[Any, Any, T]) -> T:
        try:
            async with asyncio.timeout(self._limit_s):
                return await answer
        except TimeoutError as exc:
            raise DeadlineExceeded(
                "The store of models was not done in time; look before you try again."
            ) from exc

    async def _run(
        self,
        call: Call,
        rpc: str,
        decode: Callable[[], Q],
        answer: Callable[[Q], Awaitable[T]],
        *,
        needs: ModelServiceMode = ModelServiceMode.READ,
    ) -> T | ForecastError:
        async def answered() -> T:
            self._require(needs)
            return await answer(decode())

        record = partial(self._record, call, rpc)
        return await outcome_of(answered(), self._telemetry, call.request_id, record)

    def _require(self, needs: ModelServiceMode) -> None:
        if self._mode in {needs, ModelServiceMode.ALL}:
            return
        raise ModelServiceDisabled(
            f"{_OFF[self._mode]} The operator switches it on with the setting model_service={needs}.",
            metadata={"model_service": self._mode.value},
        )

    def _record(self, call: Call, rpc: str, outcome: object, seconds: float) -> None:
        facts: Facts = {"request_id": call.request_id, "rpc": rpc}
        code, reason = "OK", ""
        if outcome is None:
            code = "CANCELLED"
        elif isinstance(outcome, ForecastError):
            code, reason = outcome.code.name, outcome.reason
            facts["message"] = outcome.message
        self._telemetry.request(
            protocol=call.protocol, code=code, reason=reason, cache="", duration_s=seconds, facts=facts
        )


def _by_name(replies: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(sorted(replies, key=lambda reply: reply.replica))
