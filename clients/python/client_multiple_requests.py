"""Many forecasts at once over one gRPC channel: which cache tier answered each customer, and how fast."""

import argparse
import asyncio
import sys
import time
from collections import Counter
from pathlib import Path

import grpc
from rich.console import Console
from rich.progress import track
from rich.table import Table

from forecast_grpc.v1.forecast_pb2 import ForecastRequest
from forecast_grpc.v1.forecast_pb2_grpc import ForecastServiceStub

RETRIES = (Path(__file__).parents[1] / "service_config.json").read_text("utf-8")
CUSTOMERS = tuple(f"customer_{name}" for name in ("123", "456", "789", "abc", "def", "hij"))
TIERS = ("hot", "warm", "cold")


async def send(options: argparse.Namespace) -> list[tuple[str, str, float]]:
    """Makes the calls. Returns for each: the customer, the cache tier or the error, milliseconds."""
    slots = asyncio.Semaphore(options.concurrency)

    async def forecast(customer: str) -> tuple[str, str, float]:
        request = ForecastRequest(sequence_data=range(90, 110))
        async with slots:
            started = time.perf_counter()
            call = stub.Forecast(request, timeout=5.0, metadata=(("multiplexed_model_id", customer),))
            try:
                await call
                outcome = str(dict(await call.trailing_metadata())["forecast-cache"])
            except grpc.aio.AioRpcError as error:
                outcome = f"{error.code().name}: {error.details()}"
            return customer, outcome, 1e3 * (time.perf_counter() - started)

    async with grpc.aio.insecure_channel(options.address, [("grpc.service_config", RETRIES)]) as channel:
        stub = ForecastServiceStub(channel)
        calls = [forecast(CUSTOMERS[number % len(CUSTOMERS)]) for number in range(options.requests)]
        bar = track(asyncio.as_completed(calls), "Forecasting", len(calls), console=Console(stderr=True))
        return [await each for each in bar]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--address", default="127.0.0.1:9000", help="HOST:PORT (default: %(default)s)")
    parser.add_argument("--requests", type=int, default=100, help="how many (default: %(default)s)")
    parser.add_argument("--concurrency", type=int, default=20, help="at the same time (default: %(default)s)")
    results = asyncio.run(send(parser.parse_args()))
    table = Table("customer", "answered", *TIERS)
    for name in CUSTOMERS:
        tiers = Counter(outcome for customer, outcome, _ in results if customer == name and outcome in TIERS)
        table.add_row(name, *map(str, (tiers.total(), *(tiers[tier] for tier in TIERS))))
    if took := sorted(milliseconds for _, outcome, milliseconds in results if outcome in TIERS):
        p50, p99 = (took[(len(took) - 1) * percent // 100] for percent in (50, 99))
        Console().print(table, f"p50 {p50:.1f} ms, p99 {p99:.1f} ms")
    errors = Counter(outcome for _, outcome, _ in results if outcome not in TIERS).most_common()
    sys.exit("\n".join(f"{count} times {error}" for error, count in errors) or 0)
