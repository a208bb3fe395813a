"""`python -m benchmarks.peers.bare.serve PORT`: a bare `grpc.aio` server on our wire, with a dict of models."""

import asyncio
import signal
import sys

import grpc
import numpy as np
import uvloop

from benchmarks.peers.toy import SLOPES, load
from forecast_grpc.v1.forecast_pb2 import ForecastRequest, ForecastResponse
from forecast_grpc.v1.forecast_pb2_grpc import ForecastServiceServicer, add_ForecastServiceServicer_to_server

MODELS = {customer_id: load(customer_id) for customer_id in SLOPES}
"""All there are, loaded."""


class Service(ForecastServiceServicer):
    """Looks the model up, and answers: no checks, no errors, no metrics, no log."""

    async def Forecast(  # noqa: N802 - the RPC's name
        self, request: ForecastRequest, context: grpc.aio.ServicerContext[ForecastRequest, ForecastResponse]
    ) -> ForecastResponse:
        """See the proto."""
        customer_id = str(dict(context.invocation_metadata() or ())["multiplexed_model_id"])
        forecast = MODELS[customer_id].predict(np.array(request.sequence_data))
        return ForecastResponse(customer_id=customer_id, forecast=forecast.tolist())


async def main(port: str) -> None:
    """Serves until SIGINT."""
    server = grpc.aio.server()
    service = Service()  # type: ignore[abstract]  # Its other RPCs are UNIMPLEMENTED.
    add_ForecastServiceServicer_to_server(service, server)
    server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    stopped = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGINT, stopped.set)
    print("ready", flush=True)
    await stopped.wait()
    await server.stop(None)


# The event loop that Ray's replicas have.
uvloop.run(main(sys.argv[1]))
