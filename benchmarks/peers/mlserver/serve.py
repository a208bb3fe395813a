"""`python -m benchmarks.peers.mlserver.serve PORT HTTP_PORT METRICS_PORT`: MLServer with a model a customer."""

import asyncio
import sys
import tempfile

import uvloop
from mlserver import MLModel, MLServer, ModelSettings, Settings
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceRequest, InferenceResponse

from benchmarks.peers import waiting
from benchmarks.peers.toy import SLOPES, load


class Customer(MLModel):  # type: ignore[misc]  # MLServer's types are those of pydantic.
    """One customer's model, as MLServer wants it. It has no way to load one on demand: all are there."""

    async def load(self) -> bool:
        """Called at the start."""
        self._model = load(self.name)
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        """The forecast of the only input."""
        forecast = self._model.predict(NumpyCodec.decode_input(payload.inputs[0]))
        output = NumpyCodec.encode_output("forecast", forecast)
        return InferenceResponse(id=payload.id, model_name=self.name, outputs=[output])


async def main(grpc_port: int, http_port: int, metrics_port: int) -> None:
    """Serves until SIGINT."""
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(
            host="127.0.0.1",
            grpc_port=grpc_port,
            http_port=http_port,
            metrics_port=metrics_port,
            metrics_dir=folder,
            debug=False,  # No line in the log for each request,
            parallel_workers=0,  # and no other process that the request would have to go to.
        )
        models = [ModelSettings(name=name, implementation=Customer) for name in SLOPES]
        waiting.say_when_open(grpc_port)
        await MLServer(settings).start(models)


if __name__ == "__main__":
    asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
    asyncio.run(main(*map(int, sys.argv[1:])))
