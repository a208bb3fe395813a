"""`forecast-grpc keys`: the pair of keys that artefacts are signed with."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from forecast_grpc.cli._common import CommandFailed, JsonOption, notes, output, print_json

if TYPE_CHECKING:
    from forecast_grpc.signing import SigningKey

app = typer.Typer(
    no_args_is_help=True,
    help="Make the keys that artefacts are signed with: a private one for publishers, a public one for services.",
)

SignOption = Annotated[
    Path | None,
    typer.Option(
        "--sign", metavar="KEYFILE", help="Sign with the private key in this file.", show_default=False
    ),
]

_PRIVATE = 0o600


@app.command(epilog="Example: forecast-grpc keys generate publisher.pem")
def generate(
    file: Annotated[
        Path, typer.Argument(metavar="KEYFILE", help="Where to write the private key.", show_default=False)
    ],
    *,
    as_json: JsonOption = False,
) -> None:
    """Make a pair of Ed25519 keys: the private one into a file of your own, the public one as one line of text.

    The file can be read by you alone, and has no password: keep it where publishers are, never with a service. A
    file that is there already is left as it is.
    """
    from forecast_grpc.signing import SigningKey

    key = SigningKey.generate()
    _write(file, key.pem)
    notes().print(f"Wrote the private key to {file}. This is the public key:")
    _print(file, key, as_json=as_json)


@app.command(epilog="Example: forecast-grpc keys show publisher.pem")
def show(
    file: Annotated[
        Path, typer.Argument(metavar="KEYFILE", help="The file of a private key.", show_default=False)
    ],
    *,
    as_json: JsonOption = False,
) -> None:
    """Print the public key of a pair: what `serve --require-signature` and the setting `trusted_keys` take."""
    _print(file, read_key(file), as_json=as_json)


def read_key(file: Path) -> "SigningKey":
    """The private key in a file. Ends the command where there is none."""
    from forecast_grpc.signing import SigningKey

    try:
        return SigningKey(file.read_bytes())
    except OSError as exc:
        raise CommandFailed(f"{file} cannot be read: {exc.strerror}.") from exc
    except ValueError as exc:
        raise CommandFailed(f"{file} holds no key to sign with: it is {exc}.") from exc


def _write(file: Path, pem: bytes) -> None:
    try:
        # The mode from the start: a moment in which others can read it is enough.
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _PRIVATE)
    except OSError as exc:
        raise CommandFailed(f"{file} cannot be written: {exc.strerror}.") from exc
    with os.fdopen(descriptor, "wb") as opened:
        opened.write(pem)


def _print(file: Path, key: "SigningKey", *, as_json: bool) -> None:
    if as_json:
        print_json({"file": str(file), "public_key": key.public})
    else:
        output().print(key.public)
