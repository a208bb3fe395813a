"""`forecast-grpc models rollback`: the way back to an older version, in the store or by way of the service."""

import asyncio
from typing import TYPE_CHECKING, Annotated

import typer

from forecast_grpc.cli._common import (
    CommandFailed,
    CustomerArgument,
    ExitCode,
    JsonOption,
    StoreOption,
    existing_store,
    output,
    print_json,
)
from forecast_grpc.cli._target import ApplicationOption, TimeoutOption, TlsOption, TokenOption, target

if TYPE_CHECKING:
    from forecast_grpc.cli._call import Connection


def rollback(  # noqa: PLR0913 - each is an option of the command.
    customer: CustomerArgument,
    version: Annotated[
        int | None, typer.Argument(min=1, help="The version.", show_default="the one before the active one")
    ] = None,
    *,
    expected: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Only while this is the active version: nobody's change in between is undone unseen.",
            show_default="whichever is",
        ),
    ] = None,
    address: Annotated[
        str | None,
        typer.Option(
            metavar="HOST:PORT",
            help="Have the service there do it, at once in every replica, in place of the store.",
            show_default=False,
        ),
    ] = None,
    timeout: TimeoutOption = 60.0,
    tls: TlsOption = False,
    token: TokenOption = None,
    application: ApplicationOption = None,
    as_json: JsonOption = False,
    store: StoreOption = None,
) -> None:
    """Make another version of a customer's model the active one.

    No version is deleted: the way forward is the same command with the newer version. A version that cannot be
    read is refused.
    """
    if address is None:
        done = _in_store(store, customer, version, expected)
    else:
        from forecast_grpc.cli._call import connected

        service = target(address, timeout, tls=tls, token=token, application=application)
        with connected(service) as connection:
            done = _by_service(connection, customer, version, expected)
    if as_json:
        print_json(done)
    else:
        output().print(_sentence(done))


def _in_store(
    store: str | None, customer: str, version: int | None, expected: int | None
) -> dict[str, object]:
    from forecast_grpc import artefact
    from forecast_grpc.cli._describe import active_version
    from forecast_grpc.records import Activation
    from forecast_grpc.registry import Registry

    opened = existing_store(store)
    active, published = active_version(opened, customer), opened.versions(customer)
    order = Activation(
        customer_id=customer,
        version=version or _before(customer, active, published),
        # The version before the active one is meant of the one that was seen.
        expected_version=expected or (None if version else active),
    )
    model, previous = asyncio.run(Registry(opened, artefact.decode).activate(order))
    return {"customer_id": customer, "model_version": model.version, "previous_version": previous}


def _by_service(
    connection: "Connection", customer: str, version: int | None, expected: int | None
) -> dict[str, object]:
    from forecast_grpc.v1.model_pb2 import ActivateModelVersionRequest, GetModelRequest
    from forecast_grpc.v1.model_pb2_grpc import ModelServiceStub

    stub = ModelServiceStub(connection.channel)
    if version is None:
        found = connection.ask(stub.GetModel, GetModelRequest(customer_id=customer)).response.model
        expected = expected or found.version
        version = _before(customer, found.version, _published(connection, customer))
    request = ActivateModelVersionRequest(customer_id=customer, version=version, expected_version=expected)
    done = connection.ask(stub.ActivateModelVersion, request).response
    previous = done.previous_version if done.HasField("previous_version") else None
    return {
        "customer_id": customer,
        "model_version": done.model.version,
        "previous_version": previous,
        "replicas": len(done.replicas),
        "unanswered_replicas": done.unanswered_replica_count,
    }


def _published(connection: "Connection", customer: str) -> tuple[int, ...]:
    """The versions that the service has of a customer, ascending."""
    from forecast_grpc.v1.model_pb2 import ListModelVersionsRequest
    from forecast_grpc.v1.model_pb2_grpc import ModelServiceStub

    method = ModelServiceStub(connection.channel).ListModelVersions
    request = ListModelVersionsRequest(customer_id=customer, page_size=1_000)
    newest_first = [model.version for page in connection.pages(method, request) for model in page.models]
    return tuple(reversed(newest_first))


def _before(customer: str, active: int | None, versions: tuple[int, ...]) -> int:
    if active is None:
        raise CommandFailed(f"The active model of {customer} cannot be read: name a version to go back to.")
    older = [number for number in versions if number < active]
    if not older:
        raise CommandFailed(f"{customer} has no version older than {active}.", ExitCode.NOT_FOUND)
    return older[-1]


def _sentence(done: dict[str, object]) -> str:
    before = f", before by {done['previous_version']}" if done["previous_version"] else ""
    where = f", in {done['replicas']} replicas at once" if "replicas" in done else ""
    silent = done.get("unanswered_replicas")
    late = f" {silent} replicas did not answer: they follow within the refresh interval." if silent else ""
    return f"{done['customer_id']} is served by version {done['model_version']}{before}{where}.{late}"
