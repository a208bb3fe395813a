"""The requests of a stream that have no answer yet."""

import asyncio
import threading
from collections.abc import Iterator
from itertools import count
from typing import Generic, TypeVar

from forecast_grpc_client import _wire
from forecast_grpc_client._errors import ForecastError
from forecast_grpc_client._values import Forecast, Provenance, Request
from forecast_grpc_client.v1 import forecast_pb2 as pb

# Trailing metadata comes with the end of the stream, long after most of its answers.
_UNKNOWN = Provenance(request_id="", replica="", cache="")


MAX_PENDING = 500
"""Requests of a stream whose answers the user has not taken.

A proxy on the way may hold back that answers were taken, behind requests that it cannot pass on. With more of them
than the service reads while answers wait (1,000 requests, 5,000,000 values) both sides would stand still for ever.
500 requests of the longest sequence, 10,000 values, stay within both.
"""

Places = TypeVar("Places", threading.Semaphore, asyncio.Semaphore)


class Pending(Generic[Places]):
    """Puts a number on each request, finds it by that when the answer is there, and frees its place then."""

    def __init__(self, places: Places) -> None:
        self.places: Places = places
        """Whoever sends takes one before each request."""
        self.ended = False
        """Whether the stream is over: look at it when you have got a place."""
        self._numbers = count()
        self._requests: dict[str, Request] = {}

    def message(self, request: Request) -> pb.StreamForecastRequest:
        """The message of a request, which is pending from now on."""
        tag = str(next(self._numbers))
        self._requests[tag] = request
        return pb.StreamForecastRequest(items=[_wire.to_item(request, tag)])

    def answered(
        self, message: pb.StreamForecastResponse
    ) -> Iterator[tuple[Request, Forecast | ForecastError]]:
        """The requests that a message answers, each with its answer."""
        for result in message.results:
            yield self._requests.pop(result.tag), _wire.from_result(result, _UNKNOWN)
            # Whoever asks for the next answer has taken this one.
            self.places.release()

    def end(self) -> None:
        """Wakes whoever waits for a place: there are no more answers."""
        self.ended = True
        self.places.release()
