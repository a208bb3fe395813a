"""An ONNX graph from a file as an artefact, with the history that it goes on from."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from forecast_grpc.cli._common import CommandFailed, ExitCode

if TYPE_CHECKING:
    from forecast_grpc.domain import ModelMetadata
    from forecast_grpc.fit import Series


def artefact_of_graph(
    data: bytes, customer: str, history: Path | None, said: Mapping[str, Any], covariates: tuple[str, ...]
) -> "tuple[bytes, ModelMetadata]":
    """The artefact, and what it says of itself. Ends the command where the graph cannot be served.

    `covariates` are the columns of the history that hold any.
    """
    from forecast_grpc.convert import convert
    from forecast_grpc.models.graphs import parse_graph

    if history is None:
        raise CommandFailed(
            "A graph needs --history: what a request without observations goes on from.", ExitCode.USAGE
        )
    options = {name: value for name, value in said.items() if value is not None}
    try:
        series = _series(history, customer, said["frequency"], covariates)
        fitted = convert(parse_graph(data), history=series, **options)
    except ValueError as exc:
        text = str(exc)
        raise CommandFailed(text[:1].upper() + text[1:].removesuffix(".") + ".") from exc
    return fitted.encode(1), fitted.metadata


def _series(history: Path, customer: str, frequency: str | None, covariates: tuple[str, ...]) -> "Series":
    from forecast_grpc.fit import SeriesError, read_table

    try:
        # The table's reader says at length what the system says in three words.
        history.open("rb").close()
        return read_table(history, frequency=frequency, covariate_columns=covariates).series(customer)
    except SeriesError as exc:
        raise CommandFailed(f"{history} has no history of {customer} to go on from: {exc}.") from exc
    except OSError as exc:
        raise CommandFailed(f"{history} cannot be read: {exc.strerror}.") from exc
