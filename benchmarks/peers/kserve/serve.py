"""`python -m benchmarks.peers.kserve.serve PORT HTTP_PORT`: KServe's Python SDK, loading on demand."""

import sys
from collections import OrderedDict

from kserve import InferOutput, InferRequest, InferResponse, Model, ModelRepository, ModelServer

from benchmarks.peers import waiting
from benchmarks.peers.toy import SLOPES, load

MAX_MODELS = 1_000
"""Models in memory: as many as ours keeps hot."""


class Customer(Model):  # type: ignore[misc]  # KServe ships no types.
    """One customer's model, as KServe wants it."""

    def __init__(self, customer_id: str) -> None:
        super().__init__(customer_id)
        self._model = load(customer_id)
        self.ready = True

    async def predict(self, payload: InferRequest, *_: object, **__: object) -> InferResponse:
        """The forecast of the only input, as raw bytes, which is KServe's quick way."""
        forecast = self._model.predict(payload.inputs[0].as_numpy())
        output = InferOutput("forecast", list(forecast.shape), "FP64")
        output.set_data_from_numpy(forecast, binary_data=True)
        return InferResponse(response_id=payload.id, model_name=self.name, infer_outputs=[output])


class Lazy(ModelRepository):  # type: ignore[misc]
    """Loads a model when it is first asked for, and drops the one that was not asked for longest."""

    def __init__(self) -> None:
        super().__init__()
        self.models: OrderedDict[str, Customer] = OrderedDict()

    def get_model(self, name: str) -> Customer | None:
        """The model; None where there is none."""
        if name in self.models:
            self.models.move_to_end(name)
            return self.models[name]
        if name not in SLOPES:
            return None
        self.models[name] = Customer(name)
        if len(self.models) > MAX_MODELS:
            self.models.popitem(last=False)
        return self.models[name]


if __name__ == "__main__":
    grpc_port, http_port = map(int, sys.argv[1:])
    waiting.say_when_open(grpc_port)
    ModelServer(
        grpc_port=grpc_port,
        http_port=http_port,
        registered_models=Lazy(),
        workers=1,
        enable_latency_logging=False,
        access_log_format=None,
    ).start([])
