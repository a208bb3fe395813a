"""What the load generator asks for, and what has to come back."""

from forecast_grpc.v1.forecast_pb2 import ForecastRequest

METHOD = "/forecast.v1.ForecastService/Forecast"
"""The path of the RPC."""

CUSTOMER_ID = "customer_123"
"""Whose model answers."""

SEQUENCE = (100.0, 102.0, 98.0, 105.0, 110.0, 108.0, 112.0, 115.0, 118.0, 120.0)
"""The tutorial's sequence."""

FORECAST = (121.45, 122.9, 124.35, 125.8, 127.25, 128.7, 130.15)
"""The answer that the tutorial documents, and that our model of this customer gives."""

REQUEST = ForecastRequest(sequence_data=SEQUENCE)
"""The request: every one of them."""

METADATA = (("multiplexed_model_id", CUSTOMER_ID),)
"""Its metadata."""
