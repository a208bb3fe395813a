"""One forecast over gRPC: a deadline, where the answer came from, and what went wrong if something did."""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

import grpc
from google.rpc import error_details_pb2, status_pb2

from forecast_grpc.v1.forecast_pb2 import ForecastRequest
from forecast_grpc.v1.forecast_pb2_grpc import ForecastServiceStub

RETRIES = (Path(__file__).parents[1] / "service_config.json").read_text("utf-8")
SEQUENCE = (100, 102, 98, 105, 110, 108, 112, 115, 118, 120)


def main() -> int:
    """Makes the call that the command line asks for. Returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("values", nargs="*", type=float, default=SEQUENCE, help="oldest first; nan: missing")
    parser.add_argument("--address", default="127.0.0.1:9000", help="HOST:PORT (default: %(default)s)")
    parser.add_argument("--customer", default="customer_123", help="whose model (default: %(default)s)")
    parser.add_argument("--horizon", type=int, help="steps to forecast (default: the model's own)")
    parser.add_argument("--timeout", type=float, default=5.0, help="deadline in s (default: %(default)s)")
    options = parser.parse_args()
    request = ForecastRequest(sequence_data=options.values, horizon=options.horizon)
    request.quantile_levels.extend([0.1, 0.9])
    metadata = (("multiplexed_model_id", options.customer),)
    with grpc.insecure_channel(options.address, [("grpc.service_config", RETRIES)]) as channel:
        stub = ForecastServiceStub(channel)
        try:
            response, call = stub.Forecast.with_call(request, timeout=options.timeout, metadata=metadata)
        except grpc.RpcError as error:
            print(*explain(error), sep="\n  ", file=sys.stderr)  # type: ignore[arg-type]  # an ended call too
            return 1
    print(f"{response.customer_id}:", *(f"{value:.10g}" for value in response.forecast))
    for quantile in response.quantiles:
        print(f"  quantile {quantile.level:g}:", *(f"{value:.10g}" for value in quantile.values))
    print(f"  model: {response.model.family}, version {response.model.version}")
    print(*(f"  {key}: {value!s}" for key, value in call.trailing_metadata()), sep="\n")
    return 0


def explain(call: grpc.Call) -> Iterator[str]:
    """What a failed call says: its status, a reason for programs, the fields at fault, where it happened."""
    yield f"{call.code().name}: {call.details()}"
    for key, value in call.trailing_metadata() or ():
        if not isinstance(value, bytes):
            yield f"{key}: {value}"
        elif key == "grpc-status-details-bin":
            for detail in status_pb2.Status.FromString(value).details:
                if detail.Unpack(info := error_details_pb2.ErrorInfo()):
                    yield f"reason: {info.reason}"
                elif detail.Unpack(bad := error_details_pb2.BadRequest()):
                    yield from (f"field: {each.field}: {each.description}" for each in bad.field_violations)


if __name__ == "__main__":
    sys.exit(main())
