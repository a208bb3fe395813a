"""`forecast-grpc models top`: who asks most."""

from typing import Annotated

import typer

from forecast_grpc.cli._common import JsonOption, notes, output, print_json, table
from forecast_grpc.cli._target import (
    DEFAULT_ADDRESS,
    AddressOption,
    ApplicationOption,
    TimeoutOption,
    TlsOption,
    TokenOption,
    statistics,
    target,
)


def top(
    *,
    limit: Annotated[int, typer.Option(min=1, max=1_000, help="Customers at most.")] = 20,
    address: AddressOption = DEFAULT_ADDRESS,
    timeout: TimeoutOption = 60.0,
    tls: TlsOption = False,
    token: TokenOption = None,
    application: ApplicationOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show the customers who ask the running service most, with their share of its requests.

    A request counts half an hour later half, and so on: these are the customers of about the last hour.
    """
    service = target(address, timeout, tls=tls, token=token, application=application)
    response = statistics(service, limit)
    if as_json:
        for customer in response.top_customers:
            print_json(
                {
                    "customer_id": customer.customer_id,
                    "requests": round(customer.request_count, 1),
                    "share": customer.share,
                }
            )
    else:
        rows = table("customer", "requests", "share", numbers=("requests", "share"))
        for customer in response.top_customers:
            rows.add_row(customer.customer_id, f"{customer.request_count:,.0f}", f"{customer.share:.2%}")
        output().print(rows)
    if silent := response.unanswered_replica_count:
        notes().print(f"{silent} replicas did not answer in time: their customers are missing here.")
