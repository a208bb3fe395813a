"""What a gRPC server is told of forecast.v1.ForecastService: the methods, and who reads and writes messages."""

from typing import Any

import grpc

from forecast_grpc.v1 import forecast_pb2
from forecast_grpc.v1.forecast_pb2_grpc import add_ForecastServiceServicer_to_server
from forecast_grpc.wire import EncodedResponse, read_request

SERVICE = forecast_pb2.DESCRIPTOR.services_by_name["ForecastService"]
"""The service, as its proto describes it."""


def register(servicer: Any, server: Any) -> None:  # noqa: ANN401 - neither has a public type
    """As the generated function, but for the messages of `Forecast`: see `wire.plain`."""
    generated = _Generated()
    add_ForecastServiceServicer_to_server(servicer, generated)  # type: ignore[arg-type]  # it only listens
    one = generated.handlers["Forecast"]._replace(
        request_deserializer=read_request, response_serializer=EncodedResponse.SerializeToString
    )
    handlers = generated.handlers | {"Forecast": one}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE.full_name, handlers),))
    server.add_registered_method_handlers(SERVICE.full_name, handlers)


class _Generated:
    """Hears what the generated function registers."""

    def __init__(self) -> None:
        self.handlers: dict[str, Any] = {}

    def add_generic_rpc_handlers(self, handlers: object) -> None:
        """The same once more."""

    def add_registered_method_handlers(self, _service: str, handlers: dict[str, Any]) -> None:
        """Handlers by the names of their methods."""
        self.handlers = handlers
