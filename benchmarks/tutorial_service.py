"""The deployment of Ray's tutorial "Model multiplexing with forecasting models", on our wire.

It does what `serve_forecast_multiplex.py` of that tutorial does, in its form with one deployment: a toy model of a
customer (a slope and a base level, drawn at random from the customer's name), at most four models a replica, a
load that only waits 0.1 s, seven steps of `last value + slope * step` rounded to two decimals, and the default of
every setting of Ray Serve. Later editions of the tutorial put a second deployment in front, which costs each
request one hop more.

Two things differ: there is a gRPC method beside the JSON door, and the draw is by a checksum of the name in place
of Python's salted `hash`, so that the answers can be checked.
"""

import asyncio
import os
import zlib
from collections.abc import Sequence

import numpy as np
from ray import serve
from starlette.requests import Request

from forecast_grpc.v1.forecast_pb2 import ForecastRequest, ForecastResponse

MAX_MODELS = 4
"""Models that a replica holds."""

LOAD_VARIABLE = "TUTORIAL_LOAD_S"
"""What may set `LOAD_S` in the environment: the replica imports this module anew."""

LOAD_S = float(os.environ.get(LOAD_VARIABLE, "0.1"))
"""How long the mock of a load waits, in seconds."""

HORIZON = 7
"""Steps of every forecast."""

SERVICERS = ("forecast_grpc.v1.forecast_pb2_grpc.add_ForecastServiceServicer_to_server",)
"""For `grpc_servicer_functions`: the generated function, as whoever follows the tutorial would name it."""


class ToyModel:
    """A customer's model: a straight line."""

    def __init__(self, customer_id: str) -> None:
        draw = np.random.default_rng(zlib.crc32(customer_id.encode()))
        self.slope = float(draw.uniform(-1, 3))
        """Change a step."""
        self.base_level = float(draw.uniform(90, 110))
        """Where an empty sequence goes on from."""

    def predict(self, sequence: Sequence[float]) -> list[float]:
        """The line from the last value of the sequence, or from the base level."""
        last = sequence[-1] if sequence else self.base_level
        return [round(last + self.slope * step, 2) for step in range(1, HORIZON + 1)]


@serve.deployment
class TutorialService:
    """One replica of the tutorial's deployment."""

    @serve.multiplexed(max_num_models_per_replica=MAX_MODELS)  # type: ignore[untyped-decorator]
    async def get_model(self, customer_id: str) -> ToyModel:
        """Loads a customer's model, or makes believe."""
        await asyncio.sleep(LOAD_S)
        return ToyModel(customer_id)

    async def Forecast(self, request: ForecastRequest) -> ForecastResponse:  # noqa: N802 - the RPC's name
        """Forecasts one series with the model of the customer in the metadata `multiplexed_model_id`."""
        customer_id = serve.get_multiplexed_model_id()
        model = await self.get_model(customer_id)
        return ForecastResponse(customer_id=customer_id, forecast=model.predict(request.sequence_data))

    async def __call__(self, request: Request) -> dict[str, object]:
        """The same over HTTP, the tutorial's own door: the customer in the header `serve_multiplexed_model_id`."""
        customer_id = serve.get_multiplexed_model_id()
        model = await self.get_model(customer_id)
        body = await request.json()
        return {"customer_id": customer_id, "forecast": model.predict(body["sequence_data"])}


app = TutorialService.bind()  # type: ignore[attr-defined]  # what the decorator made of the class
