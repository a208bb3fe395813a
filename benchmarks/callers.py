"""Callers that look at more of an answer than the load generator: its version, its error's details."""

import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from threading import Event
from typing import Any

import grpc
from google.rpc import error_details_pb2, status_pb2

from forecast_grpc.v1.forecast_pb2 import ForecastRequest
from forecast_grpc.v1.forecast_pb2_grpc import ForecastServiceStub

_AT_ONCE = 64  # Calls at most, of those that come at a rate.


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What one caller got."""

    asked_at: float
    """When it asked, by the clock `time.monotonic`, in seconds."""

    seconds: float
    """How long that took."""

    code: str
    """The gRPC code's name."""

    version: int = 0
    """The version that answered; 0 for an error."""

    retry: bool = False
    """Whether an error said when to try again."""

    message: str = ""
    """What an error said."""


class Caller:
    """One channel, from many threads."""

    def __init__(self, channel: grpc.Channel) -> None:
        self._stub = ForecastServiceStub(channel)

    @classmethod
    @contextmanager
    def connected(cls, port: int) -> Iterator["Caller"]:
        """To the service that listens there."""
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            yield cls(channel)

    def ask(self, customer: str, timeout_s: float = 10.0) -> Answer:
        """One forecast."""
        started = time.monotonic()
        code, version, retry, message = "OK", 0, False, ""
        try:
            metadata = (("multiplexed_model_id", customer),)
            version = self._stub.Forecast(
                ForecastRequest(), metadata=metadata, timeout=timeout_s
            ).model.version
        except grpc.RpcError as error:
            code, retry, message = error.code().name, _says_when(error), error.details() or ""
        seconds = time.monotonic() - started
        return Answer(
            asked_at=started, seconds=seconds, code=code, version=version, retry=retry, message=message
        )

    @contextmanager
    def asking(self, customers: str, rate: float, timeout_s: float) -> Iterator[Future[list[Answer]]]:
        """Asks for one customer after the other while the body runs, whether or not earlier ones are answered.

        All the answers, once the body is left.
        """
        stop = Event()
        with ThreadPoolExecutor(1) as pool:
            try:
                yield pool.submit(self._ask_until, stop, customers, rate, timeout_s)
            finally:
                stop.set()

    def _ask_until(self, stop: Event, customers: str, rate: float, timeout_s: float) -> list[Answer]:
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            asked = []
            for number in count():
                if stop.wait(1 / rate):
                    break
                asked.append(pool.submit(self.ask, customers % number, timeout_s))
            return [each.result() for each in asked]


def _says_when(error: grpc.RpcError) -> bool:
    """Whether an error has `RetryInfo`."""
    metadata: Any = error.trailing_metadata() or ()
    trailing = dict(metadata)
    details = status_pb2.Status.FromString(trailing.get("grpc-status-details-bin", b"")).details
    return any(each.Is(error_details_pb2.RetryInfo.DESCRIPTOR) for each in details)
