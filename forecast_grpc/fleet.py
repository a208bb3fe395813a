"""All replicas: what one of them does when it is asked, and how all of them are asked."""

import asyncio
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Generic, Protocol, TypeVar

import ray
from ray import serve
from ray.serve.handle import DeploymentHandle

from forecast_grpc.errors import DeadlineExceeded, ForecastError
from forecast_grpc.loading import Loan, ModelLoader, ModelSlot, lendable
from forecast_grpc.records import Holding, LoadCause, Problem, ReplicaModel, WarmedReplica
from forecast_grpc.telemetry import Journal, loading_for
from forecast_grpc.usage import ReplicaUsage

T = TypeVar("T")

GRACE_S = 1.0
"""How much longer than what it was asked for a replica's answer may take, in seconds."""

LOAN_S = 0.25
"""How long replicas are waited for that are asked for a model, in seconds."""

_LATE = Problem.of(DeadlineExceeded("The model was not loaded in time; the load goes on."))


class LocalModels:
    """What one replica has in memory, to be looked at and added to."""

    def __init__(
        self,
        *,
        replica: str,
        loader: ModelLoader,
        journal: Journal,
        usage: Callable[[int], ReplicaUsage],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`clock` is the loader's, and the journal that in which its failures stand.

        `usage` tells what is known of who asks, and names so many customers at most.
        """
        self.replica = replica
        """The replica's name."""
        self._loader = loader
        self._journal = journal
        self._usage = usage
        self._clock = clock

    async def warm(self, customer_ids: Iterable[str], limit_s: float) -> WarmedReplica:
        """Loads the customers that are not in memory; what takes longer than `limit_s` seconds goes on without."""
        loading_for.set(LoadCause.WARM)
        missing = [name for name in customer_ids if self._loader.lookup(name) is None]
        tasks = {name: asyncio.ensure_future(self._problem(name)) for name in missing}
        if tasks:
            await asyncio.wait(tasks.values(), timeout=limit_s)
        outcomes = {name: task.result() if task.done() else _LATE for name, task in tasks.items()}
        for task in tasks.values():
            # The load itself goes on: a cancelled caller leaves it.
            task.cancel()
        failures = tuple((name, problem) for name, problem in outcomes.items() if problem is not None)
        return WarmedReplica(
            replica=self.replica,
            loaded=len(missing) - len(failures),
            present=len(tuple(customer_ids)) - len(missing),
            failures=failures,
        )

    async def refresh(self, customer_id: str) -> ReplicaModel:
        """Compares the customer's model with the store now, where it is in memory, and says what is there then."""
        await self._loader.refresh(customer_id)
        return await self.explain(customer_id)

    async def explain(self, customer_id: str) -> ReplicaModel:
        """The customer's model as it is in memory."""
        slot = self._loader.peek(customer_id)
        return ReplicaModel(
            replica=self.replica,
            holding=None if slot is None else self._holding(slot),
            last_failure=self._journal.last_failure(customer_id),
        )

    async def usage(self, max_top: int) -> ReplicaUsage:
        """What is known of who asks; so many customers are named at most."""
        return self._usage(max_top)

    async def lend(self, customer_id: str) -> Loan | None:
        """The customer's model for another replica; None where it is not in memory, or cannot leave it."""
        slot = self._loader.peek(customer_id)
        if slot is None or not lendable(slot.model):
            return None
        return Loan(model=slot.model, etag=slot.etag)

    async def _problem(self, customer_id: str) -> Problem | None:
        try:
            await self._loader.load(customer_id)
        except ForecastError as exc:
            return Problem.of(exc)
        return None

    def _holding(self, slot: ModelSlot) -> Holding:
        return Holding(
            tier=slot.tier,
            version=slot.model.metadata.model_version,
            load_time=self._time(slot.loaded_at),
            load_cause=slot.loaded_for,
            check_time=self._time(slot.checked_at),
        )

    def _time(self, at: float) -> datetime:
        return datetime.now(UTC) - timedelta(seconds=self._clock() - at)


@dataclass(frozen=True, slots=True, kw_only=True)
class Replies(Generic[T]):
    """What came back from all replicas."""

    replies: tuple[T, ...]
    """One of each replica that answered in time, in no order."""

    unanswered: int
    """How many did not."""


class Fleet(Protocol):
    """All replicas of this deployment, the one that asks among them."""

    async def ask(self, method: str, *args: object, limit_s: float) -> Replies[Any]:
        """Calls a method of each replica; waits for each answer for `limit_s` seconds. Raises nothing."""
        ...


async def borrow(fleet: Fleet, customer_id: str) -> Loan | None:
    """The customer's model from another replica, the newest version that any has; None where none has it."""
    replies = await fleet.ask("lend_here", customer_id, limit_s=LOAN_S)
    loans: list[Loan] = [each for each in replies.replies if each is not None]
    return max(loans, key=lambda loan: loan.model.metadata.model_version, default=None)


class RayFleet:
    """The replicas that Ray Serve knows at the moment of the call."""

    def __init__(self) -> None:
        self._handle: DeploymentHandle[Any] | None = None

    async def ask(self, method: str, *args: object, limit_s: float) -> Replies[Any]:
        """See Fleet."""
        if self._handle is None:
            # Asks Ray's controller, and blocks meanwhile.
            self._handle = await asyncio.to_thread(_own_deployment)
        response = self._handle.broadcast(method, *args)
        # What is public of it has all answers or none, and one replica that hangs must not cost us the others'.
        results = await response._fetch_replica_results_async()  # noqa: SLF001
        replies = await asyncio.gather(*(_reply(result, limit_s + GRACE_S) for result in results))
        answered = tuple(reply for reply in replies if reply is not None)
        return Replies(replies=answered, unanswered=len(replies) - len(answered))


def _own_deployment() -> DeploymentHandle[Any]:
    here = serve.get_replica_context()
    return serve.get_deployment_handle(here.deployment, here.app_name)


async def _reply(result: Any, limit_s: float) -> Any:  # noqa: ANN401 - Ray's own, and whatever the method returns
    with suppress(TimeoutError, ray.exceptions.RayError):
        async with asyncio.timeout(limit_s):
            return await result.get_async()
    return None
