"""Asks a forecast-grpc service for forecasts: python example.py [HOST:PORT].

With ANYSCALE_TOKEN in the environment it calls an Anyscale service, with TLS and the token.
"""

import asyncio
import os
import sys

from forecast_grpc_client import AsyncClient, Client, Forecast, ForecastError, Request

ADDRESS = sys.argv[1] if len(sys.argv) > 1 else "127.0.0.1:9000"
SEQUENCE = [100, 102, 98, 105, 110, 108, 112, 115, 118, 120]


def connect() -> Client:
    """A client with the retry policy."""
    if token := os.environ.get("ANYSCALE_TOKEN"):
        return Client.anyscale(ADDRESS, token, os.environ.get("ANYSCALE_APPLICATION"))
    return Client(ADDRESS)


def main() -> None:
    """One forecast, a refusal, a batch, a stream."""
    with connect() as client:
        request = Request("customer_123", SEQUENCE, horizon=3, quantile_levels=[0.1, 0.9])
        # The deadline is for the retries too.
        answer = client.forecast(request, timeout_s=5)
        print("one:", answer.customer_id, answer.values)

        try:
            client.forecast(Request("nobody", SEQUENCE))
        except ForecastError as error:
            print("refused:", error.reason, error.message)

        requests = [Request(name, SEQUENCE, horizon=3) for name in ("customer_123", "customer_456", "nobody")]
        # In the order of the requests.
        for asked, outcome in zip(requests, client.batch(requests), strict=True):
            print("batch:", asked.customer_id, said(outcome))
        # Each as soon as it is there, in no order.
        for asked, outcome in client.stream(requests[:1]):
            print("stream:", asked.customer_id, said(outcome))
    if "ANYSCALE_TOKEN" not in os.environ:
        asyncio.run(at_once(requests[:2]))


async def at_once(requests: list[Request]) -> None:
    """The same with asyncio: calls that do not wait for each other."""
    async with AsyncClient(ADDRESS) as client:
        for answer in await asyncio.gather(*map(client.forecast, requests)):
            print("at once:", answer.customer_id, answer.values)


def said(outcome: Forecast | ForecastError) -> list[float] | str:
    """The forecast, or the reason why there is none."""
    return outcome.reason if isinstance(outcome, ForecastError) else outcome.values


if __name__ == "__main__":
    main()
