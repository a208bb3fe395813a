"""A service in one of the lanes, and calls that are under way in it for as long as a test wants."""

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import grpc

from forecast_grpc.v1.forecast_pb2 import ForecastRequest
from forecast_grpc.v1.forecast_pb2_grpc import ForecastServiceStub
from tests.service import RunningService, eventually, serving
from tests.slow_model import CUSTOMERS, Gate

DIRECT_LANE = {"direct": "auto", "ordinary": "off"}
"""The setting `direct_lane` of each lane."""

SLOTS = 4
"""Calls under way at a time."""


@contextmanager
def running(lane: str, gate: Gate, *settings: str) -> Iterator[RunningService]:
    """A service whose calls take this lane."""
    allowed = ("allow_pickles=true", f"direct_lane={DIRECT_LANE[lane]}")
    options = [f"--set={each}" for each in (*allowed, *settings)]
    try:
        with serving(gate.store, "haproxy", *options) as service:
            yield service
    finally:
        gate.open()


@contextmanager
def held(service: RunningService, gate: Gate, calls: int) -> Iterator[list[Future[str]]]:
    """So many calls under way in the body. They go on after it, if not before."""
    eventually(lambda: gate.waiting == 0)
    gate.close()
    with ThreadPoolExecutor(calls) as pool:
        futures = [pool.submit(patient, service, customer) for customer in CUSTOMERS[:calls]]
        try:
            eventually(lambda: gate.waiting >= min(calls, SLOTS))
            yield futures
        finally:
            gate.open()


def patient(service: RunningService, customer: str) -> str:
    """The status of a call whose caller has two minutes for it."""
    with grpc.insecure_channel(service.grpc_address) as channel:
        call: Any = ForecastServiceStub(channel).Forecast.future
        metadata = (("multiplexed_model_id", customer),)
        code: grpc.StatusCode = call(ForecastRequest(), metadata=metadata, timeout=120).code()
        return code.name
