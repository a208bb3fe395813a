"""The requests of a stream that have no answer yet."""

from collections.abc import Iterator
from itertools import count

from forecast_grpc_client import _wire
from forecast_grpc_client._errors import ForecastError
from forecast_grpc_client._values import Forecast, Provenance, Request
from forecast_grpc_client.v1 import forecast_pb2 as pb

# Trailing metadata comes with the end of the stream, long after most of its answers.
_UNKNOWN = Provenance(request_id="", replica="", cache="")


class Pending:
    """Puts a number on each request, and finds the request by it when the answer is there."""

    def __init__(self) -> None:
        self._numbers = count()
        self._requests: dict[str, Request] = {}

    def message(self, request: Request) -> pb.StreamForecastRequest:
        """The message of a request, which is pending from now on."""
        tag = str(next(self._numbers))
        self._requests[tag] = request
        return pb.StreamForecastRequest(items=[_wire.to_item(request, tag)])

    def answered(
        self, message: pb.StreamForecastResponse
    ) -> Iterator[tuple[Request, Forecast | ForecastError]]:
        """The requests that a message answers, each with its answer."""
        for result in message.results:
            yield self._requests.pop(result.tag), _wire.from_result(result, _UNKNOWN)
