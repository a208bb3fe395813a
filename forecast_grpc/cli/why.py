"""`forecast-grpc why`: where a customer's model is, and how it came there."""

from collections.abc import Mapping
from typing import Any

from forecast_grpc.cli._common import CustomerArgument, JsonOption, notes, output, print_json, table
from forecast_grpc.cli._target import (
    DEFAULT_ADDRESS,
    AddressOption,
    ApplicationOption,
    TimeoutOption,
    TlsOption,
    TokenOption,
    target,
)

_SECONDS = len("2026-01-31T00:00:00")

_CAUSES = {
    "LOAD_CAUSE_REQUEST": "a request",
    "LOAD_CAUSE_START": "the replica's start",
    "LOAD_CAUSE_WARM": "models warm",
    "LOAD_CAUSE_REFRESH": "a new version",
}


def why(
    customer: CustomerArgument,
    *,
    address: AddressOption = DEFAULT_ADDRESS,
    timeout: TimeoutOption = 60.0,
    tls: TlsOption = False,
    token: TokenOption = None,
    application: ApplicationOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show where a customer's model is in the running service, since when and why, and how it last failed."""
    from forecast_grpc.cli._call import connected
    from forecast_grpc.customer import require_customer_id
    from forecast_grpc.v1.model_pb2 import ExplainModelRequest
    from forecast_grpc.v1.model_pb2_grpc import ModelServiceStub
    from forecast_grpc.wire import message_to_json
    from forecast_grpc.wire.model_bodies import ExplainModelBody

    require_customer_id(customer)
    service = target(address, timeout, tls=tls, token=token, application=application)
    with connected(service) as connection:
        method = ModelServiceStub(connection.channel).ExplainModel
        # With the customer in the metadata the call takes the way of the customer's forecasts.
        reply = connection.ask(method, ExplainModelRequest(customer_id=customer), customer)
    home = reply.provenance.get("forecast-replica", "")
    found = message_to_json(reply.response, ExplainModelBody)
    if as_json:
        print_json({"customer_id": customer, "home": home, **found})
    else:
        _print(customer, home, found)


def _print(customer: str, home: str, found: Mapping[str, Any]) -> None:
    output().print(f"The store: {_stored(found['model'])}", markup=False)
    output().print(f"Forecasts of {customer} go to the replica {home}.", markup=False)
    rows = table("replica", "", "tier", "version", "loaded", "for", "checked", numbers=("version",))
    replicas = found.get("replicas", [])
    for replica in replicas:
        rows.add_row(*_cells(replica, home))
    output().print(rows)
    for replica in replicas:
        if "last_failure" in replica:
            output().print(_failed(replica), markup=False)
    if silent := found.get("unanswered_replica_count"):
        notes().print(f"{silent} replicas did not answer in time.")


def _stored(model: Mapping[str, Any]) -> str:
    if "problem" in model:
        return f"{model['problem']['message']} [{model['problem']['reason']}]"
    trained = f", trained {model['trained_time'][:_SECONDS]}" if "trained_time" in model else ""
    return f"version {model['version']}, {model['family']}{trained}."


def _cells(replica: Mapping[str, Any], home: str) -> list[str]:
    name = replica["replica"]
    mark = "home" if name == home else ""
    if "tier" not in replica:
        return [name, mark, "not in memory", "", "", "", ""]
    return [
        name,
        mark,
        replica["tier"].removeprefix("CACHE_TIER_").lower(),
        str(replica["version"]),
        replica["load_time"][:_SECONDS],
        _CAUSES.get(replica["load_cause"], ""),
        replica["check_time"][:_SECONDS],
    ]


def _failed(replica: Mapping[str, Any]) -> str:
    failure = replica["last_failure"]
    problem = failure["problem"]
    cause = _CAUSES.get(failure["cause"], "")
    when = failure["time"][:_SECONDS]
    return (
        f"{replica['replica']} last failed at {when}, for {cause}: {problem['message']} [{problem['reason']}]"
    )
