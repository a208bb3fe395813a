"""What a team would write without any of this: grpc.aio, a dict of models, the arithmetic, and nothing else.

`python -m benchmarks.bare_service PORT STORE CUSTOMER`: everybody is answered with the model of that customer.
"""

import asyncio
import signal
import sys
from pathlib import Path
from typing import Any

import grpc
import numpy as np

from benchmarks.workload import CUSTOMER_ID
from forecast_grpc import artefact
from forecast_grpc.store import FolderStore
from forecast_grpc.v1.forecast_pb2 import ForecastRequest, ForecastResponse, ModelRef
from forecast_grpc.v1.forecast_pb2_grpc import ForecastServiceServicer, add_ForecastServiceServicer_to_server


class Bare(ForecastServiceServicer):
    """Checks nothing, counts nothing, logs nothing."""

    def __init__(self, store: Path, customer_id: str) -> None:
        model = artefact.decode(FolderStore(store).read(customer_id).data, customer_id)
        self._models = {CUSTOMER_ID: model}

    async def Forecast(self, request: ForecastRequest, context: Any) -> ForecastResponse:  # noqa: N802, ANN401 - gRPC's
        """See the proto."""
        customer_id = dict(context.invocation_metadata())["multiplexed_model_id"]
        model = self._models[customer_id]
        metadata = model.metadata
        forecast = model.forecaster.forecast(np.array(request.sequence_data[:]), metadata.horizon)
        reference = ModelRef(version=metadata.model_version, family=metadata.family, sha256=metadata.sha256)
        return ForecastResponse(customer_id=customer_id, forecast=forecast.tolist(), model=reference)


async def main(port: str, store: str, customer_id: str) -> None:
    """Serves until it is interrupted."""
    server = grpc.aio.server()
    servicer = Bare(Path(store), customer_id)  # type: ignore[abstract]  # its other RPCs are UNIMPLEMENTED
    add_ForecastServiceServicer_to_server(servicer, server)
    server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    print("ready", flush=True)
    await server.wait_for_termination()


if __name__ == "__main__":
    # A shell that starts us in the background has SIGINT ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        asyncio.run(main(*sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(0)
