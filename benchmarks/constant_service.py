"""A deployment that answers every request alike: what Ray Serve itself costs behind HAProxy.

It has the options of the real service, whatever these are, so that the two differ in the handler alone.
"""

from google.protobuf.timestamp_pb2 import Timestamp

from benchmarks.workload import CUSTOMER_ID, FORECAST
from forecast_grpc.app import app as real_app
from forecast_grpc.config import Settings
from forecast_grpc.v1.forecast_pb2 import ForecastRequest, ForecastResponse, ModelRef

ANSWER = ForecastResponse(
    customer_id=CUSTOMER_ID,
    forecast=FORECAST,
    model=ModelRef(
        version=1,
        family="trend",
        sha256="0" * 64,
        trained_time=Timestamp(seconds=1_767_225_600, nanos=500_000_000),
    ),
)
"""The real answer but for the digest and the time of training, which are as long as the real ones."""


class ConstantService:
    """One replica."""

    async def Forecast(self, _request: ForecastRequest) -> ForecastResponse:  # noqa: N802 - the RPC's name
        """The same answer to everyone."""
        return ANSWER


_real = real_app(Settings.model_validate({}))._bound_deployment  # noqa: SLF001 - there is no public way to an application's options

app = _real.options(func_or_class=ConstantService, name=ConstantService.__name__, _init_kwargs={}).bind()
