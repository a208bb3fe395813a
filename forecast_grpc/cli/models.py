"""`forecast-grpc models`: what the store holds, and what a running service is to have in memory."""

from itertools import islice
from typing import Annotated

import typer

from forecast_grpc.cli._common import (
    CustomerArgument,
    JsonOption,
    StoreOption,
    existing_store,
    notes,
    output,
    print_json,
)
from forecast_grpc.cli.diff import diff
from forecast_grpc.cli.prune import prune
from forecast_grpc.cli.rollback import rollback
from forecast_grpc.cli.top import top
from forecast_grpc.cli.warm import warm

app = typer.Typer(
    no_args_is_help=True,
    help="List the models of a store, show one, compare two versions, go back to an older one, warm a service, "
    "see who asks.",
)

_ROWS = 100
"""Models that a list shows to people unless they ask for more."""


@app.command("list", epilog="Example: forecast-grpc models list --prefix car-park")
def list_models(
    *,
    prefix: Annotated[
        str, typer.Option(help="Only customers whose names start so.", show_default=False)
    ] = "",
    limit: Annotated[
        int | None,
        typer.Option(min=1, help="Models at most.", show_default=f"{_ROWS}; all of them with --json"),
    ] = None,
    as_json: JsonOption = False,
    store: StoreOption = None,
) -> None:
    """List the customers with their active models.

    A model that cannot be served is listed with the reason.
    """
    from forecast_grpc.cli._describe import facts, models_table

    opened = existing_store(store)
    names = opened.customers(prefix=prefix)
    shown = limit if limit or as_json else _ROWS
    models = (facts(opened, name) for name in islice(names, shown))
    if as_json:
        for model in models:
            print_json(model)
        return
    output().print(models_table(models))
    if next(names, None):
        notes().print(f"These are the first {shown}: see more with --limit, or others with --prefix.")


@app.command(epilog="Example: forecast-grpc models show customer_123")
def show(
    customer: CustomerArgument,
    *,
    version: Annotated[
        int | None, typer.Option(min=1, help="The version.", show_default="the active one")
    ] = None,
    as_json: JsonOption = False,
    store: StoreOption = None,
) -> None:
    """Show one model: its family, its horizon, its accuracy, its versions.

    The artefact is verified on the way: a damaged one ends the command with exit code 1.
    """
    from forecast_grpc.cli._describe import describe, facts_table, load

    opened = existing_store(store)
    model = load(opened, customer, version)
    shown = {
        "customer_id": customer,
        **describe(model.metadata),
        "max_horizon": model.forecaster.max_horizon,
        "versions": list(opened.versions(customer)),
    }
    if as_json:
        print_json(shown)
    else:
        output().print(facts_table(shown))


@app.command(epilog="Example: forecast-grpc models versions customer_123")
def versions(customer: CustomerArgument, *, as_json: JsonOption = False, store: StoreOption = None) -> None:
    """List every published version of a customer's model, the newest first, and which is active."""
    from forecast_grpc.cli._describe import active_version, facts, versions_table

    opened = existing_store(store)
    numbers = reversed(opened.versions(customer))
    active = active_version(opened, customer)
    models = (facts(opened, customer, number) for number in numbers)
    if as_json:
        for model in models:
            print_json({**model, "active": model["model_version"] == active})
    else:
        output().print(versions_table(models, active))


app.command(epilog="Example: forecast-grpc models rollback customer_123 1")(rollback)
app.command(epilog="Example: forecast-grpc models top --limit 5")(top)
app.command(epilog="Example: forecast-grpc models warm customer_123 customer_456")(warm)
app.command(epilog="Example: forecast-grpc models diff customer_123 1 2")(diff)
app.command(epilog="Example: forecast-grpc models prune --all --keep 5 --dry-run")(prune)
