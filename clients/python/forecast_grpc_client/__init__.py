"""Calls a forecast-grpc service, blocking or with asyncio.

with Client("127.0.0.1:9000") as client:
    print(client.forecast(Request("customer_123", [100, 102, 98], horizon=3)).values)
"""

from forecast_grpc_client._aio import AsyncClient
from forecast_grpc_client._connection import Connection
from forecast_grpc_client._errors import FieldViolation, ForecastError
from forecast_grpc_client._sync import Client
from forecast_grpc_client._values import Forecast, Model, Provenance, Request

__all__ = [
    "AsyncClient",
    "Client",
    "Connection",
    "FieldViolation",
    "Forecast",
    "ForecastError",
    "Model",
    "Provenance",
    "Request",
]
