"""Calls at a steady rate until standard input ends; then a line of JSON: how many, and what became of the failed.

python load.py HOST:PORT CALLS_A_SECOND
"""

import asyncio
import json
import sys
import time
from collections import Counter

from forecast_grpc_client import AsyncClient, ForecastError, Request

CUSTOMERS = 60
TIMEOUT_S = 20.0


async def main(address: str, rate: int) -> dict[str, object]:
    """Makes the calls. Returns what there is to say."""
    failures: Counter[str] = Counter()
    slowest_s = 0.0
    ended = asyncio.create_task(asyncio.to_thread(sys.stdin.read))
    async with AsyncClient(address) as client, asyncio.TaskGroup() as group:

        async def call(number: int) -> None:
            nonlocal slowest_s
            began = time.monotonic()
            try:
                await client.forecast(
                    Request(f"shop-{number % CUSTOMERS:02}", [1, 2, 3]), timeout_s=TIMEOUT_S
                )
            except ForecastError as error:
                failures[str(error)] += 1
            slowest_s = max(slowest_s, time.monotonic() - began)

        calls, started = 0, time.monotonic()
        while not ended.done():
            group.create_task(call(calls))
            calls += 1
            await asyncio.sleep(max(0.0, started + calls / rate - time.monotonic()))
    return {"calls": calls, "failures": failures, "slowest_s": slowest_s}


if __name__ == "__main__":
    print(json.dumps(asyncio.run(main(sys.argv[1], int(sys.argv[2])))))
