"""From the address of an object store to a client of it: options, credentials, time limits, retries.

Credentials come from where each cloud's own tools look first: the environment (`AWS_*`, `GOOGLE_*`, `AZURE_*`),
then the identity of the machine, the pod or the task. The environment may hold any other setting of obstore too.
"""

import os
import re
from collections.abc import Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any, cast

from obstore.exceptions import BaseError
from obstore.store import AzureStore, GCSStore, S3Store

from forecast_grpc.store.address import OPTIONS, StoreAddress

if TYPE_CHECKING:
    # A name for the type checker alone: the library does not have it when it runs.
    from obstore.store import RetryConfig

Client = S3Store | GCSStore | AzureStore
"""What obstore's functions take."""

_CLIENTS: Mapping[str, type[Client]] = {"s3": S3Store, "gs": GCSStore, "az": AzureStore}

_STALL = 0.3
_ATTEMPT = 0.5
_RETRY = 0.45
_FIRST_BACKOFF = 0.01
_LONGEST_BACKOFF = 0.1
_MAX_RETRIES = 10

_ENDPOINT = re.compile(r"https?://[^\s/]\S*")
_ENDPOINT_VARIABLES: Mapping[str, tuple[str, ...]] = {
    "s3": ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT"),
    "gs": ("GOOGLE_BASE_URL",),
    "az": ("AZURE_STORAGE_ENDPOINT", "AZURE_ENDPOINT"),
}


def connect(address: StoreAddress, timeout_s: float) -> Client:
    """A client that gives up each call within `timeout_s`, retries included. Nothing is sent yet.

    Raises ValueError where an option, or a variable of the environment, has a value that it cannot have.
    """
    _require_endpoints(address)
    # Not `client_options`: they would replace what the environment says of the client, and not add to it.
    config = cast("Any", _options(address) | limits(timeout_s))
    try:
        return _CLIENTS[address.scheme](
            address.bucket,
            prefix=address.prefix or None,
            config=config,
            retry_config=retries(timeout_s),
        )
    except BaseError as exc:
        what = str(exc).partition("\n")[0].rpartition(": ")[2]
        raise ValueError(f"The store {address} cannot be opened: {what}.") from exc


def limits(timeout_s: float) -> dict[str, str]:
    """Limits of one attempt: a share of the time for the whole call, so that a stalled one can be repeated."""
    stall, attempt = (f"{round(share * timeout_s * 1e3)}ms" for share in (_STALL, _ATTEMPT))
    return {"connect_timeout": stall, "read_timeout": stall, "timeout": attempt}


def retries(timeout_s: float) -> "RetryConfig":
    """Exponential backoff with jitter; the last attempt begins early enough to end within `timeout_s`."""
    return {
        "backoff": {
            "init_backoff": timedelta(seconds=_FIRST_BACKOFF * timeout_s),
            "max_backoff": timedelta(seconds=_LONGEST_BACKOFF * timeout_s),
            "base": 2,
        },
        "max_retries": _MAX_RETRIES,
        "retry_timeout": timedelta(seconds=_RETRY * timeout_s),
    }


def _options(address: StoreAddress) -> dict[str, str]:
    names = OPTIONS[address.scheme]
    options = {names[name]: value for name, value in address.options.items()}
    # Who writes http:// into the address has decided; who has it in the environment says AWS_ALLOW_HTTP there.
    if address.options.get("endpoint", "").startswith("http://"):
        options.setdefault(names["allow_http"], "true")
    return options


def _require_endpoints(address: StoreAddress) -> None:
    """The library panics over an endpoint that is none, such as `localhost:9000`."""
    named = {name: os.environ.get(name, "") for name in _ENDPOINT_VARIABLES[address.scheme]}
    for name, value in {"endpoint": address.options.get("endpoint", ""), **named}.items():
        if value and not _ENDPOINT.fullmatch(value):
            raise ValueError(f"The endpoint of a store begins with http:// or https://, and {name} does not.")
