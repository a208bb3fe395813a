"""The client for asyncio."""

import time
from asyncio import Semaphore
from collections.abc import AsyncIterable, AsyncIterator, Iterable
from types import TracebackType
from typing import Any, Self

import grpc
from grpc import aio

from forecast_grpc_client import _wire
from forecast_grpc_client._connection import DEFAULT_ADDRESS, DEFAULT_TIMEOUT_S, Connection, Metadata
from forecast_grpc_client._errors import ForecastError, error_of, is_cut_off, provenance_of
from forecast_grpc_client._pending import MAX_PENDING, Pending
from forecast_grpc_client._values import Forecast, Request
from forecast_grpc_client.v1 import forecast_pb2 as pb
from forecast_grpc_client.v1.forecast_pb2_grpc import ForecastServiceStub


class AsyncClient:
    """As `Client`, for the tasks of one event loop: make it where the loop runs."""

    def __init__(self, address: str | Connection = DEFAULT_ADDRESS) -> None:
        """As `Client`."""
        self._connection = address if isinstance(address, Connection) else Connection(address)
        connect: Any = aio.secure_channel if self._connection.credentials else aio.insecure_channel
        self.channel: aio.Channel = connect(**self._connection.arguments())
        """As `Client.channel`."""
        self._stub = ForecastServiceStub(self.channel)

    @classmethod
    def anyscale(cls, host: str, token: str, application: str | None = None) -> Self:
        """As `Client.anyscale`."""
        return cls(Connection.anyscale(host, token, application))

    async def forecast(
        self, request: Request, *, timeout_s: float = DEFAULT_TIMEOUT_S, request_id: str | None = None
    ) -> Forecast:
        """As `Client.forecast`."""
        message, metadata = _wire.to_message(request), self._connection.call(request.customer_id, request_id)
        reply, call = await _answer(self._stub.Forecast, message, metadata, timeout_s)
        return _wire.from_message(reply, provenance_of(await call.trailing_metadata()))

    async def batch(
        self,
        requests: Iterable[Request],
        *,
        timeout_s: float = DEFAULT_TIMEOUT_S,
        request_id: str | None = None,
    ) -> list[Forecast | ForecastError]:
        """As `Client.batch`."""
        asked = list(requests)
        metadata = self._connection.call(_wire.only_customer(asked), request_id)
        message = _wire.to_batch(asked, timeout_s)
        reply, call = await _answer(self._stub.BatchForecast, message, metadata, timeout_s)
        provenance = provenance_of(await call.trailing_metadata())
        return [_wire.from_result(result, provenance) for result in reply.results]

    async def stream(
        self,
        requests: Iterable[Request] | AsyncIterable[Request],
        *,
        timeout_s: float | None = None,
        request_id: str | None = None,
    ) -> AsyncIterator[tuple[Request, Forecast | ForecastError]]:
        """As `Client.stream`; the requests are taken in a task of their own, and may come asynchronously."""
        pending = Pending(Semaphore(MAX_PENDING))
        metadata = self._connection.call("", request_id)
        call = self._stub.StreamForecast(_messages(pending, requests), metadata=metadata, timeout=timeout_s)
        try:
            async for message in call:
                for answer in pending.answered(message):
                    yield answer
        except grpc.RpcError as error:
            raise error_of(error) from error
        finally:
            call.cancel()
            pending.end()

    async def close(self) -> None:
        """As `Client.close`."""
        await self.channel.close(None)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        await self.close()


async def _answer(method: Any, message: Any, metadata: Metadata, timeout_s: float) -> tuple[Any, Any]:  # noqa: ANN401
    """The answer of a method of a stub, and its call. Raises ForecastError."""
    ends = time.monotonic() + timeout_s
    call = method(message, metadata=metadata, timeout=timeout_s)
    try:
        return await call, call
    except grpc.RpcError as error:
        failed = error
    if is_cut_off(failed):
        try:
            call = method(message, metadata=metadata, timeout=ends - time.monotonic())
            return await call, call
        except grpc.RpcError as error:
            failed = error
        except aio.UsageError:
            pass  # It was the channel that was closed, by its owner.
    raise error_of(failed) from failed


async def _messages(
    pending: Pending[Semaphore], requests: Iterable[Request] | AsyncIterable[Request]
) -> AsyncIterator[pb.StreamForecastRequest]:
    await pending.places.acquire()
    async for request in requests if isinstance(requests, AsyncIterable) else _each(requests):
        yield pending.message(request)
        # gRPC's task waits here, and is cancelled with the call, but not where that has failed.
        await pending.places.acquire()
        if pending.ended:
            return


async def _each(requests: Iterable[Request]) -> AsyncIterator[Request]:
    for request in requests:
        yield request
