"""The names and ports by which users, operators and configuration files know the service."""

DISTRIBUTION = "forecast-grpc"
"""The name of this package where packages are installed from."""

GRPC_PORT = 9000
"""Where `forecast-grpc serve` listens for gRPC unless told otherwise."""

HTTP_PORT = 8000
"""Where `forecast-grpc serve` listens for HTTP unless told otherwise."""

DEPLOYMENT_NAME = "ForecastingService"
"""The name of the Serve deployment, for `serve.get_deployment_handle`."""

APPLICATION_NAME = "default"
"""The name of the Serve application, for the metadata `application`."""
