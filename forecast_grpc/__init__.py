"""forecast-grpc: one forecasting model per customer, served from one small fleet on Ray Serve."""

__version__ = "0.1.0"
