"""`forecast-grpc publish`: an artefact or an ONNX graph from a file into the store."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from forecast_grpc.cli._common import (
    CommandFailed,
    CustomerArgument,
    ExitCode,
    JsonOption,
    StoreOption,
    output,
    print_json,
    store_to_publish,
)
from forecast_grpc.cli._graph import artefact_of_graph
from forecast_grpc.cli.keys import SignOption, read_key

if TYPE_CHECKING:
    from forecast_grpc.domain import ModelMetadata


def _of_graph(what: str, default: str) -> object:
    return typer.Option(min=1, metavar="COUNT", help=f"With a graph: {what}.", show_default=default)


def publish(  # noqa: PLR0913 - each is an option of the command.
    customer: CustomerArgument,
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE", help="A .safetensors artefact, or an .onnx graph.", show_default=False
        ),
    ],
    *,
    history: Annotated[
        Path | None,
        typer.Option(
            metavar="TABLE",
            help="With a graph: the customer's history, in a table as `fit` takes it.",
            show_default=False,
        ),
    ] = None,
    horizon: Annotated[int | None, _of_graph("steps to forecast", "the graph's")] = None,
    window: Annotated[int | None, _of_graph("observations that it takes", "the graph's")] = None,
    season_length: Annotated[int | None, _of_graph("steps in a season", "the frequency's")] = None,
    frequency: Annotated[
        str | None,
        typer.Option(metavar="STEP", help="With a graph: the length of a step.", show_default="guessed"),
    ] = None,
    covariate_column: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="With a graph: a column of the history that holds a covariate, in the graph's order. Repeatable.",
            show_default=False,
        ),
    ] = None,
    sign: SignOption = None,
    allow_pickles: Annotated[
        bool,
        typer.Option(
            "--allow-pickles",
            help="Publish a pickle too, for services that allow them. Nothing of it is run.",
        ),
    ] = False,
    as_json: JsonOption = False,
    store: StoreOption = None,
) -> None:
    """Publish an artefact as a customer's next version, and make it the active one.

    The artefact is verified first, and stored under the version that it gets here, whatever version it had. An
    .onnx graph is made an artefact: it needs its --history. A pickle is refused unless it is asked for: loading
    one runs whatever code its author put into it.
    """
    from forecast_grpc import artefact
    from forecast_grpc.customer import require_customer_id

    require_customer_id(customer)
    key = read_key(sign) if sign else None
    said = {"horizon": horizon, "window": window, "season_length": season_length, "frequency": frequency}
    if file.suffix == ".onnx":
        known = tuple(covariate_column or ())
        data, metadata = artefact_of_graph(_read(file), customer, history, said, known)
    elif history or covariate_column or any(said.values()):
        raise CommandFailed(
            "--history, --horizon, --window, --season-length, --frequency and --covariate-column go with an .onnx"
            " graph: an artefact says all that itself.",
            ExitCode.USAGE,
        )
    else:
        data, metadata = _verified(_read(file), allow_pickles=allow_pickles)
    version = store_to_publish(store).publish(
        customer, lambda number: artefact.republish(data, customer, number, key)
    )
    if as_json:
        print_json({"customer_id": customer, "model_version": version, "family": metadata.family})
    else:
        output().print(f"{customer} is served by version {version}, {metadata.family}.")


_HOW = "Or publish the object itself from Python, with forecast_grpc.publish: docs/publishing.md says which."


def _verified(data: bytes, *, allow_pickles: bool) -> "tuple[bytes, ModelMetadata]":
    """The artefact in these bytes, or of the pickle in them, and what it says of itself."""
    from forecast_grpc import artefact
    from forecast_grpc.errors import ModelFormatForbidden
    from forecast_grpc.models.pickled import is_pickle

    try:
        # Not for its customer: whoever signs it anew may give it to another.
        return data, artefact.decode(data, "").metadata
    except ModelFormatForbidden as exc:
        if not allow_pickles:
            text = f"{_HOW} With --allow-pickles it is published for services that run pickles."
            raise CommandFailed(f"{exc.message} {text}") from exc
    data = artefact.encode_pickle(data, 1) if is_pickle(data) else data
    return data, artefact.inspect(data, "")


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as exc:
        raise CommandFailed(f"{file} cannot be read: {exc.strerror}.") from exc
