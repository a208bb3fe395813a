"""The options by which a command names the running service that it calls."""

from typing import TYPE_CHECKING, Annotated

import typer

from forecast_grpc.cli._common import CommandFailed, ExitCode

if TYPE_CHECKING:
    from forecast_grpc.cli._call import Target
    from forecast_grpc.v1.model_pb2 import GetAccessStatisticsResponse

AddressOption = Annotated[
    str,
    typer.Option(
        "--address", envvar="FORECAST_GRPC_ADDRESS", metavar="HOST:PORT", help="Where the service listens."
    ),
]

TimeoutOption = Annotated[
    float, typer.Option("--timeout", min=0.001, help="Seconds to wait for each answer of the service.")
]

TlsOption = Annotated[bool, typer.Option("--tls", help="Call over TLS, as an Anyscale service wants it.")]

TokenOption = Annotated[
    str | None,
    typer.Option(
        "--token",
        envvar="FORECAST_GRPC_TOKEN",
        help="Bearer token to authenticate with; needs --tls.",
        show_default=False,
    ),
]

ApplicationOption = Annotated[
    str | None,
    typer.Option("--application", help="The Serve application, where several run there.", show_default=False),
]

DEFAULT_ADDRESS = "127.0.0.1:9000"
"""Where `forecast-grpc serve` listens."""


def target(
    address: str, timeout: float, *, tls: bool, token: str | None, application: str | None
) -> "Target":
    """The service that the options name. Ends the command where they do not fit together."""
    from forecast_grpc.cli._call import Target

    if token and not tls:
        raise CommandFailed("A token is sent over TLS only: add --tls.", ExitCode.USAGE)
    return Target(address=address, tls=tls, token=token, application=application, timeout_s=timeout)


def statistics(service: "Target", top_size: int) -> "GetAccessStatisticsResponse":
    """What the service knows of who asks, naming so many customers. Ends the command where it does not answer."""
    from forecast_grpc.cli._call import connected
    from forecast_grpc.v1.model_pb2 import GetAccessStatisticsRequest
    from forecast_grpc.v1.model_pb2_grpc import ModelServiceStub

    with connected(service) as connection:
        method = ModelServiceStub(connection.channel).GetAccessStatistics
        return connection.ask(method, GetAccessStatisticsRequest(top_size=top_size)).response
