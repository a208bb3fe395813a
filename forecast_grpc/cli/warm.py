"""`forecast-grpc models warm`: customers' models into the memory of the running service."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any

import typer

from forecast_grpc.cli._common import (
    CommandFailed,
    ExitCode,
    JsonOption,
    notes,
    output,
    print_json,
    progress,
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
    from forecast_grpc.cli._call import Connection
    from forecast_grpc.v1.model_pb2 import WarmedReplica, WarmModelsResponse

_AT_ONCE = 100
"""Customers of one call: each call is a step of the bar."""

_NAMES_AT_ONCE = 1_000
_SHOWN = 20
"""Failures that are listed one by one."""


def warm(  # noqa: PLR0913 - each is an option of the command.
    customers: Annotated[
        list[str] | None,
        typer.Argument(metavar="[CUSTOMER]...", help="The customers.", show_default=False),
    ] = None,
    *,
    all_customers: Annotated[bool, typer.Option("--all", help="Warm every customer of the store.")] = False,
    prefix: Annotated[
        str, typer.Option(help="Warm the customers whose names start so.", show_default=False)
    ] = "",
    address: AddressOption = DEFAULT_ADDRESS,
    timeout: TimeoutOption = 60.0,
    tls: TlsOption = False,
    token: TokenOption = None,
    application: ApplicationOption = None,
    as_json: JsonOption = False,
) -> None:
    """Load customers' models into the memory of every replica of the running service.

    Their next forecasts do not wait for the store then. A customer who cannot be loaded holds up nobody.
    """
    from forecast_grpc.cli._call import connected

    if sum(map(bool, (customers, all_customers, prefix))) != 1:
        raise CommandFailed("Name the customers to warm, or a --prefix of them, or --all.", ExitCode.USAGE)
    service = target(address, timeout, tls=tls, token=token, application=application)
    with connected(service) as connection:
        names = list(dict.fromkeys(customers)) if customers else list(_names(connection, prefix))
        summary = _warmed(connection, names)
    if as_json:
        for line in summary.lines():
            print_json(line)
    else:
        output().print(summary.table())
    _finish(summary)


def _names(connection: "Connection", prefix: str) -> Iterator[str]:
    """The customers that the service has, page by page."""
    from forecast_grpc.v1.model_pb2 import MODEL_VIEW_BASIC, ListModelsRequest
    from forecast_grpc.v1.model_pb2_grpc import ModelServiceStub

    method = ModelServiceStub(connection.channel).ListModels
    request = ListModelsRequest(prefix=prefix, page_size=_NAMES_AT_ONCE, view=MODEL_VIEW_BASIC)
    for page in connection.pages(method, request):
        yield from (model.customer_id for model in page.models)


def _warmed(connection: "Connection", names: list[str]) -> "Summary":
    from forecast_grpc.v1.model_pb2 import WarmModelsRequest
    from forecast_grpc.v1.model_pb2_grpc import ModelServiceStub

    method = ModelServiceStub(connection.channel).WarmModels
    summary = Summary(asked=len(names))
    with progress() as bar:
        task = bar.add_task("Warming", total=len(names))
        for start in range(0, len(names), _AT_ONCE):
            batch = names[start : start + _AT_ONCE]
            summary.add(connection.ask(method, WarmModelsRequest(customer_ids=batch)).response)
            bar.advance(task, len(batch))
    return summary


@dataclass(slots=True)
class Replica:
    """What became of all the customers in one replica."""

    loaded: int = 0
    """Customers who were loaded."""

    present: int = 0
    """Customers who were there before."""

    failures: list[dict[str, str]] = field(default_factory=list)
    """Customers who were not loaded, with reason and message."""

    def add(self, warmed: "WarmedReplica") -> None:
        """Takes in one step."""
        self.loaded += warmed.loaded_count
        self.present += warmed.present_count
        self.failures += (
            {
                "customer_id": failure.customer_id,
                "reason": failure.problem.reason,
                "message": failure.problem.message,
            }
            for failure in warmed.failures
        )


@dataclass(slots=True)
class Summary:
    """The whole of it, gathered as it goes."""

    asked: int
    """Customers that were to be warmed."""

    replicas: dict[str, Replica] = field(default_factory=dict)
    """By name."""

    unanswered: int = 0
    """The most replicas that did not answer one call."""

    def add(self, response: "WarmModelsResponse") -> None:
        """Takes in one step."""
        for warmed in response.replicas:
            self.replicas.setdefault(warmed.replica, Replica()).add(warmed)
        self.unanswered = max(self.unanswered, response.unanswered_replica_count)

    @property
    def failed(self) -> dict[str, str]:
        """The customers who were not loaded somewhere, each with a sentence."""
        return {
            failure["customer_id"]: failure["message"]
            for replica in self.replicas.values()
            for failure in replica.failures
        }

    def lines(self) -> Iterator[dict[str, Any]]:
        """One object a replica."""
        for name, replica in sorted(self.replicas.items()):
            counts = {"loaded": replica.loaded, "present": replica.present}
            yield {"replica": name, **counts, "failures": replica.failures}

    def table(self) -> Any:  # noqa: ANN401 - rich's tables hold anything.
        """One row a replica."""
        columns = ("loaded", "there before", "failed")
        rows = table("replica", *columns, numbers=columns)
        for name, replica in sorted(self.replicas.items()):
            rows.add_row(name, str(replica.loaded), str(replica.present), str(len(replica.failures)))
        return rows


def _finish(summary: Summary) -> None:
    """Says what went wrong, if anything did, and ends the command with what that means."""
    failed = summary.failed
    for message in list(failed.values())[:_SHOWN]:
        notes().print(message, markup=False)
    if failed or summary.unanswered:
        silent = f" {summary.unanswered} replicas did not answer in time." if summary.unanswered else ""
        raise CommandFailed(f"{len(failed)} of {summary.asked} customers could not be loaded.{silent}")
