"""The command line: one file a command."""

from typing import Annotated

import typer

from forecast_grpc import __version__
from forecast_grpc.cli import keys, models
from forecast_grpc.cli._common import Commands
from forecast_grpc.cli.batch import batch
from forecast_grpc.cli.bench import bench
from forecast_grpc.cli.demo_store import demo_store
from forecast_grpc.cli.fit import fit
from forecast_grpc.cli.forecast import forecast
from forecast_grpc.cli.plan import plan
from forecast_grpc.cli.publish import publish
from forecast_grpc.cli.serve import serve
from forecast_grpc.cli.why import why

__all__ = ["app", "main"]

app = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    # An error that was to be expected is one sentence; any other is a bug, and its plain traceback a report.
    pretty_exceptions_enable=False,
    help="Serve one forecasting model per customer, over gRPC and HTTP: fit them, publish them, ask them.",
)

app.command(epilog="Example: forecast-grpc serve --store ./models --num-replicas 2")(serve)
app.command(
    # A sequence may start with a negative number, which looks like an option.
    context_settings={"ignore_unknown_options": True},
    epilog="Example: forecast-grpc forecast customer_123 100,102,98,105,110 --horizon 3 --plot",
)(forecast)
app.command(epilog="Example: forecast-grpc batch sales.csv --horizon 14 --output forecasts.csv")(batch)
app.command(epilog="Example: forecast-grpc fit sales.csv --customer-column shop --horizon 14")(fit)
app.command(epilog="Example: forecast-grpc publish customer_123 model.safetensors")(publish)
app.command("demo-store", epilog="Example: forecast-grpc demo-store --store ./demo")(demo_store)
app.command(epilog="Example: forecast-grpc why customer_123")(why)
app.command(epilog="Example: forecast-grpc bench customer_123 --rate 500 --duration 30")(bench)
app.command(epilog="Example: forecast-grpc plan --hit-rate 0.99 --plot")(plan)
app.add_typer(models.app, name="models")
app.add_typer(keys.app, name="keys")


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"forecast-grpc {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    *,
    version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and end."),
    ] = False,
) -> None:
    """Options that belong to no command."""


def main() -> None:
    """The entry point of `forecast-grpc`."""
    app()
