"""Models lent by other replicas while the store does not answer.

A customer lives on one replica, and yet may come to another: when the first is busy, has died or is replaced. As
long as the store answers that costs a load. When it does not, whoever still has the model helps out.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass

from forecast_grpc.domain import ServedModel
from forecast_grpc.loading.flight import SingleFlight

MAX_AT_ONCE = 16
"""Customers whom a replica asks the others for at a time: most will be those whom nobody has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Loan:
    """A model as it is in the memory of another replica."""

    model: ServedModel
    """The model, verified by its lender."""

    etag: str
    """What the store called its bytes."""


Borrow = Callable[[str], Awaitable[Loan | None]]
"""From a customer to the active model as another replica has it; None where none has, or none says so."""


async def nobody(_customer_id: str) -> None:
    """Where there are no other replicas."""


class Borrower:
    """Asks for loans: once a customer however many wait, for some customers at a time."""

    def __init__(self, borrow: Borrow, *, limit_s: float) -> None:
        """Whoever has not got a loan after `limit_s` seconds goes without."""
        self._borrow = borrow
        self._limit_s = limit_s
        self._flights: SingleFlight[str, Loan | None] = SingleFlight()
        self._turns = asyncio.Semaphore(MAX_AT_ONCE)

    async def loan(self, customer_id: str) -> Loan | None:
        """The loan; None where there is none in time."""
        with suppress(TimeoutError):
            async with asyncio.timeout(self._limit_s):
                return await self._flights.run(customer_id, lambda: self._asked(customer_id))
        return None

    async def _asked(self, customer_id: str) -> Loan | None:
        async with self._turns:
            return await self._borrow(customer_id)


def lendable(model: ServedModel) -> bool:
    """Whether a model can go to another process: not where it holds a session or a connection."""
    return getattr(model.forecaster, "close", None) is None
