"""`forecast-grpc forecast`: a forecast from the running service."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from forecast_grpc.cli._common import (
    CommandFailed,
    CustomerArgument,
    ExitCode,
    JsonOption,
    notes,
    output,
    print_json,
    table,
)
from forecast_grpc.cli._target import (
    DEFAULT_ADDRESS,
    AddressOption,
    ApplicationOption,
    TimeoutOption,
    TlsOption,
    TokenOption,
    target,
)

if TYPE_CHECKING:
    from forecast_grpc.cli._call import Reply
    from forecast_grpc.v1.forecast_pb2 import ForecastResponse

_INTERVAL = "0.1,0.9"
"""The quantile levels that a picture asks for by itself: an 80 % interval."""


def forecast(  # noqa: PLR0913 - each is an option of the command.
    customer: CustomerArgument,
    values: Annotated[
        str | None,
        typer.Argument(
            metavar="VALUES",
            help="Observations, oldest first: 1,2,3 or @file.csv or - for standard input; nothing between two "
            "commas, or nan, is a missing one. Without VALUES the forecast goes on from the end of training.",
            show_default=False,
        ),
    ] = None,
    *,
    horizon: Annotated[
        int | None, typer.Option(help="Steps to forecast.", show_default="the model's own")
    ] = None,
    quantiles: Annotated[
        str,
        typer.Option(
            metavar="LEVELS", help="Quantile levels to forecast too, such as 0.1,0.9.", show_default=False
        ),
    ] = "",
    covariate: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=VALUES",
            help="What else is known at each step, such as promo=0,0,1 or promo=@file.csv: up to the last step of "
            "the forecast. Once for each covariate of the model.",
            show_default=False,
        ),
    ] = None,
    version: Annotated[
        int | None, typer.Option(help="The version of the model.", show_default="the active one")
    ] = None,
    column: Annotated[
        str | None,
        typer.Option(help="The column of the file to read, where it has several.", show_default=False),
    ] = None,
    address: AddressOption = DEFAULT_ADDRESS,
    timeout: TimeoutOption = 10.0,
    tls: TlsOption = False,
    token: TokenOption = None,
    application: ApplicationOption = None,
    as_json: JsonOption = False,
    plot: Annotated[bool, typer.Option("--plot", help="Draw history and forecast in the terminal.")] = False,
    plot_file: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Draw them into a .png or .svg file.", show_default=False),
    ] = None,
) -> None:
    """Ask the running service for a customer's forecast.

    A picture has an 80 % interval unless you name other quantiles.
    """
    from forecast_grpc.cli._call import forecast as call
    from forecast_grpc.cli._values import covariates, levels, observations
    from forecast_grpc.customer import require_customer_id

    require_customer_id(customer)
    service = target(address, timeout, tls=tls, token=token, application=application)
    drawing = plot or plot_file is not None
    if plot_file is not None:
        from forecast_grpc.cli._picture import require_suffix

        require_suffix(plot_file)
    asked = quantiles or (_INTERVAL if drawing else "")
    history = [] if values is None else observations(values, column)
    request = _request(
        sequence_data=history,
        quantile_levels=levels(asked) if asked else [],
        covariates=covariates(covariate or []),
        horizon=horizon,
        model_version=version,
    )
    reply = call(service, customer, request)
    if as_json:
        print_json(_as_json(reply))
    else:
        _print(reply)
    if drawing:
        from forecast_grpc.cli._picture import Picture
        from forecast_grpc.cli._terminal import draw

        picture = Picture.of(reply.response, history)
        # With --json standard output is for programs alone.
        draw(picture, notes() if as_json else output(), plot=plot, plot_file=plot_file)


def _request(**fields: Any) -> Any:  # noqa: ANN401
    from forecast_grpc.v1.forecast_pb2 import ForecastRequest

    try:
        return ForecastRequest(**fields)
    except ValueError as exc:
        raise CommandFailed(f"The request cannot be sent: {exc}.", ExitCode.USAGE) from exc


def _as_json(reply: "Reply[ForecastResponse]") -> dict[str, Any]:
    """The answer, with the trailing metadata beside it."""
    return {**response_to_json(reply.response), **reply.provenance}


def response_to_json(response: "ForecastResponse") -> dict[str, Any]:
    """The answer as the HTTP door gives it."""
    model: dict[str, Any] = {
        "version": response.model.version,
        "family": response.model.family,
        "sha256": response.model.sha256,
    }
    if response.model.HasField("trained_time"):
        model["trained_time"] = response.model.trained_time.ToJsonString()
    body: dict[str, Any] = {"customer_id": response.customer_id, "forecast": list(response.forecast)}
    if response.quantiles:
        body["quantiles"] = [
            {"level": each.level, "values": list(each.values)} for each in response.quantiles
        ]
    return {**body, "model": model}


def _print(reply: "Reply[ForecastResponse]") -> None:
    response = reply.response
    names = ["step", "forecast", *(f"quantile {each.level:g}" for each in response.quantiles)]
    rows = table(*names, numbers=names)
    columns = [response.forecast, *(each.values for each in response.quantiles)]
    for step, cells in enumerate(zip(*columns, strict=True), start=1):
        rows.add_row(str(step), *(f"{cell:.6g}" for cell in cells))
    output().print(rows)
    model = response.model
    where = ", ".join(f"{key} {value}" for key, value in sorted(reply.provenance.items()))
    notes().print(f"{response.customer_id}: version {model.version}, {model.family}; {where}", style="dim")
