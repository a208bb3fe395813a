"""The blocking client."""

import time
from collections.abc import Iterable, Iterator
from threading import Semaphore
from types import TracebackType
from typing import Any, Self

import grpc

from forecast_grpc_client import _wire
from forecast_grpc_client._connection import DEFAULT_ADDRESS, DEFAULT_TIMEOUT_S, Connection, Metadata
from forecast_grpc_client._errors import ForecastError, error_of, is_cut_off, provenance_of
from forecast_grpc_client._pending import MAX_PENDING, Pending
from forecast_grpc_client._values import Forecast, Request
from forecast_grpc_client.v1 import forecast_pb2 as pb
from forecast_grpc_client.v1.forecast_pb2_grpc import ForecastServiceStub


class Client:
    """One connection, for all calls and any number of threads. Connects at the first call; close it at the end."""

    def __init__(self, address: str | Connection = DEFAULT_ADDRESS) -> None:
        """To HOST:PORT without TLS, or by a Connection that says more."""
        self._connection = address if isinstance(address, Connection) else Connection(address)
        connect: Any = grpc.secure_channel if self._connection.credentials else grpc.insecure_channel
        self.channel: grpc.Channel = connect(**self._connection.arguments())
        """For other stubs of `forecast_grpc_client.v1`, such as the model service's."""
        self._stub = ForecastServiceStub(self.channel)

    @classmethod
    def anyscale(cls, host: str, token: str, application: str | None = None) -> Self:
        """To an Anyscale service: TLS, its token, and the Serve application's name where it runs several."""
        return cls(Connection.anyscale(host, token, application))

    def forecast(
        self, request: Request, *, timeout_s: float = DEFAULT_TIMEOUT_S, request_id: str | None = None
    ) -> Forecast:
        """The answer to a request, tried again as the retry policy says until `timeout_s` have passed.

        Raises ForecastError; TypeError or ValueError where a field of the request is not of its type.
        """
        message, metadata = _wire.to_message(request), self._connection.call(request.customer_id, request_id)
        reply, call = _answer(self._stub.Forecast, message, metadata, timeout_s)
        return _wire.from_message(reply, provenance_of(call.trailing_metadata()))

    def batch(
        self,
        requests: Iterable[Request],
        *,
        timeout_s: float = DEFAULT_TIMEOUT_S,
        request_id: str | None = None,
    ) -> list[Forecast | ForecastError]:
        """The answers to many requests by one call, in their order; one that fails fails alone.

        Where the time runs out, what is there comes, and the rest is DEADLINE_EXCEEDED. Raises as `forecast`.
        """
        asked = list(requests)
        metadata = self._connection.call(_wire.only_customer(asked), request_id)
        message = _wire.to_batch(asked, timeout_s)
        reply, call = _answer(self._stub.BatchForecast, message, metadata, timeout_s)
        provenance = provenance_of(call.trailing_metadata())
        return [_wire.from_result(result, provenance) for result in reply.results]

    def stream(
        self, requests: Iterable[Request], *, timeout_s: float | None = None, request_id: str | None = None
    ) -> Iterator[tuple[Request, Forecast | ForecastError]]:
        """Each request with its answer as soon as that is there, in no order; one that fails fails alone.

        Requests are taken in a thread of their own, as long as there are at most 500 whose answers you have not
        taken. Who stops before the end closes the iterator. Raises as `forecast`, where the stream as a whole
        fails.
        """
        pending = Pending(Semaphore(MAX_PENDING))
        metadata = self._connection.call("", request_id)
        call = self._stub.StreamForecast(_messages(pending, requests), metadata=metadata, timeout=timeout_s)
        try:
            for message in call:
                yield from pending.answered(message)
        except grpc.RpcError as error:
            raise error_of(error) from error
        finally:
            call.cancel()
            pending.end()

    def close(self) -> None:
        """Ends the connection, and the calls under way."""
        self.channel.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self.close()


def _answer(method: Any, message: Any, metadata: Metadata, timeout_s: float) -> tuple[Any, Any]:  # noqa: ANN401
    """The answer of a method of a stub, and its call. Raises ForecastError."""
    ends = time.monotonic() + timeout_s
    try:
        return method.with_call(message, metadata=metadata, timeout=timeout_s)  # type: ignore[no-any-return]
    except grpc.RpcError as error:
        failed = error
    if is_cut_off(failed):
        try:
            return method.with_call(message, metadata=metadata, timeout=ends - time.monotonic())  # type: ignore[no-any-return]
        except grpc.RpcError as error:
            failed = error
        except ValueError:
            pass  # It was the channel that was closed, by its owner.
    raise error_of(failed) from failed


def _messages(pending: Pending[Semaphore], requests: Iterable[Request]) -> Iterator[pb.StreamForecastRequest]:
    pending.places.acquire()
    for request in requests:
        yield pending.message(request)
        # gRPC's thread waits here, and nothing that becomes of the call wakes it: `end` does.
        pending.places.acquire()
        if pending.ended:
            return
