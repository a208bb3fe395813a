"""`forecast-grpc publish`: an artefact from a file into the store."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from forecast_grpc.cli._common import (
    CommandFailed,
    CustomerArgument,
    JsonOption,
    StoreOption,
    output,
    print_json,
    store_to_publish,
)
from forecast_grpc.cli.keys import SignOption, read_key

if TYPE_CHECKING:
    from forecast_grpc.domain import ModelMetadata


def publish(
    customer: CustomerArgument,
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="A .safetensors artefact.", show_default=False)
    ],
    *,
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

    The artefact is verified first, and stored under the version that it gets here, whatever version it had. A
    pickle is refused unless it is asked for: loading one runs whatever code its author put into it.
    """
    from forecast_grpc import artefact
    from forecast_grpc.customer import require_customer_id

    require_customer_id(customer)
    key = read_key(sign) if sign else None
    data, metadata = _verified(_read(file), allow_pickles=allow_pickles)
    version = store_to_publish(store).publish(
        customer, lambda number: artefact.republish(data, customer, number, key)
    )
    if as_json:
        print_json({"customer_id": customer, "model_version": version, "family": metadata.family})
    else:
        output().print(f"{customer} is served by version {version}, {metadata.family}.")


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
            text = "With --allow-pickles it is published for services that run pickles."
            raise CommandFailed(f"{exc.message} {text}") from exc
    data = artefact.encode_pickle(data, 1) if is_pickle(data) else data
    return data, artefact.inspect(data, "")


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as exc:
        raise CommandFailed(f"{file} cannot be read: {exc.strerror}.") from exc
