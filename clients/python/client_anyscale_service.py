"""One forecast from an Anyscale service over gRPC: TLS, and the bearer token that the service asks for."""

import argparse
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import grpc
from google.rpc import error_details_pb2, status_pb2

from forecast_grpc.v1.forecast_pb2 import ForecastRequest
from forecast_grpc.v1.forecast_pb2_grpc import ForecastServiceStub


def main() -> int:
    """Makes the call that the command line asks for. Returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    option = parser.add_argument
    option("values", nargs="*", type=float, default=(100, 102, 98, 105), help="observations, oldest first")
    option("--endpoint", default=os.environ.get("ANYSCALE_ENDPOINT"), help="HOST[:443] (ANYSCALE_ENDPOINT)")
    option("--token", default=os.environ.get("ANYSCALE_TOKEN"), help="`ps` does not show ANYSCALE_TOKEN")
    option("--customer", default="customer_123", help="whose model (default: %(default)s)")
    option("--application", help="which, where the service runs several Serve applications")
    option("--ca-certificate", type=Path, help="PEM file, where the system's certificates do not do")
    options = parser.parse_args()
    if not options.endpoint or not options.token:
        parser.error("name the service and its token with ANYSCALE_ENDPOINT and ANYSCALE_TOKEN")
    host = options.endpoint.removeprefix("https://").rstrip("/")
    target = host if ":" in host else f"{host}:443"
    retries = (Path(__file__).parents[1] / "service_config.json").read_text("utf-8")
    roots = options.ca_certificate.read_bytes() if options.ca_certificate else None
    # gRPC sends the token as `authorization: Bearer TOKEN`, and never over a channel without TLS.
    bearer = grpc.access_token_call_credentials(options.token)
    credentials = grpc.composite_channel_credentials(grpc.ssl_channel_credentials(roots), bearer)
    named = {"multiplexed_model_id": options.customer, "application": options.application}
    metadata = tuple((key, value) for key, value in named.items() if value)
    with grpc.secure_channel(target, credentials, [("grpc.service_config", retries)]) as channel:
        ask = ForecastServiceStub(channel).Forecast.with_call
        try:
            response, call = ask(ForecastRequest(sequence_data=options.values), timeout=10, metadata=metadata)
        except grpc.RpcError as error:
            print(*explain(error), sep="\n  ", file=sys.stderr)  # type: ignore[arg-type]  # an ended call too
            return 1
    print(f"{response.customer_id}:", *(f"{value:.10g}" for value in response.forecast))
    print(*(f"  {key}: {value!s}" for key, value in call.trailing_metadata()), sep="\n")
    return 0


def explain(call: grpc.Call) -> Iterator[str]:
    """What a failed call says. A refusal by the load balancer has no reason: that is the service's own."""
    yield f"{call.code().name}: {call.details()}"
    rich = dict(call.trailing_metadata() or ()).get("grpc-status-details-bin")
    for detail in status_pb2.Status.FromString(rich).details if isinstance(rich, bytes) else ():
        if detail.Unpack(info := error_details_pb2.ErrorInfo()):
            yield f"reason: {info.reason}"


if __name__ == "__main__":
    sys.exit(main())
