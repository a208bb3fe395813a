"""One forecast over HTTP, for where gRPC does not reach: the same numbers, the same errors, as JSON."""

import argparse
import sys
from collections.abc import Iterator

import httpx

SEQUENCE = (100, 102, 98, 105, 110, 108, 112, 115, 118, 120)
PROVENANCE = ("request_id", "forecast-replica", "forecast-cache")


def main() -> int:
    """Makes the call that the command line asks for. Returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("values", nargs="*", type=float, default=SEQUENCE, help="observations, oldest first")
    parser.add_argument("--url", default="http://127.0.0.1:8000", help="the service (default: %(default)s)")
    parser.add_argument("--customer", default="customer_123", help="whose model (default: %(default)s)")
    parser.add_argument("--horizon", type=int, help="steps to forecast (default: the model's own)")
    parser.add_argument("--timeout", type=float, default=5.0, help="time limit in s (default: %(default)s)")
    options = parser.parse_args()
    # JSON has no NaN: a missing observation is null. The fields are those of forecast.v1.ForecastRequest.
    values = [None if value != value else value for value in options.values]  # noqa: PLR0124
    body = {"sequence_data": values, "horizon": options.horizon, "quantile_levels": [0.1, 0.9]}
    headers = {"serve_multiplexed_model_id": options.customer}
    try:
        reply = httpx.post(f"{options.url}/v1/forecast", json=body, headers=headers, timeout=options.timeout)
    except httpx.HTTPError as error:
        print(f"{options.url}: {error}", file=sys.stderr)
        return 1
    if reply.is_error:
        print(*explain(reply), sep="\n  ", file=sys.stderr)
        return 1
    answer = reply.json()
    print(f"{answer['customer_id']}:", *(f"{value:.10g}" for value in answer["forecast"]))
    for quantile in answer["quantiles"]:
        print(f"  quantile {quantile['level']:g}:", *(f"{value:.10g}" for value in quantile["values"]))
    print(f"  model: {answer['model']['family']}, version {answer['model']['version']}")
    print(*(f"  {key}: {reply.headers[key]}" for key in PROVENANCE if key in reply.headers), sep="\n")
    return 0


def explain(reply: httpx.Response) -> Iterator[str]:
    """What a refusal says: its status, a reason for programs, the fields at fault, where it happened."""
    if not reply.headers.get("content-type", "").startswith("application/json"):
        yield f"HTTP {reply.status_code}: {reply.text}"  # not from the service: from something before it
        return
    error = reply.json()["error"]
    yield f"{error['status']}: {error['message']}"
    for detail in error["details"]:
        if "reason" in detail:
            yield f"reason: {detail['reason']}"
        yield from (
            f"field: {each['field']}: {each['description']}" for each in detail.get("fieldViolations", ())
        )
    yield from (f"{key}: {reply.headers[key]}" for key in PROVENANCE if key in reply.headers)


if __name__ == "__main__":
    sys.exit(main())
