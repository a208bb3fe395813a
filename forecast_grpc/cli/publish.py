"""`forecast-grpc publish`: an artefact from a file into the store."""

from functools import partial
from pathlib import Path
from typing import Annotated

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


def publish(
    customer: CustomerArgument,
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="A .safetensors artefact.", show_default=False)
    ],
    *,
    as_json: JsonOption = False,
    store: StoreOption = None,
) -> None:
    """Publish an artefact as a customer's next version, and make it the active one.

    The artefact is verified first, and stored under the version that it gets here, whatever version it had. A
    pickle is refused: loading one runs whatever code its author put into it.
    """
    from forecast_grpc import artefact
    from forecast_grpc.customer import require_customer_id

    require_customer_id(customer)
    data = _read(file)
    model = artefact.decode(data, customer)
    version = store_to_publish(store).publish(customer, partial(artefact.replace_version, data))
    if as_json:
        print_json({"customer_id": customer, "model_version": version, "family": model.metadata.family})
    else:
        output().print(f"{customer} is served by version {version}, {model.metadata.family}.")


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as exc:
        raise CommandFailed(f"{file} cannot be read: {exc.strerror}.") from exc
