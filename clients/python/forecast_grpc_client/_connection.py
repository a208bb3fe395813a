"""How both clients connect."""

from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass, field
from pkgutil import get_data
from typing import Any, Self

import grpc

MAX_MESSAGE_BYTES = 64 * 2**20
"""What an answer may have, and a request that is to be sent again: gRPC's own limits, 4 MiB and 256 KiB, are below
what a batch can need."""

DEFAULT_ADDRESS = "127.0.0.1:9000"
"""Where `make serve` listens."""

DEFAULT_TIMEOUT_S = 10.0
"""How long a call may take unless its caller says otherwise."""

Metadata = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Connection:
    """Where the service is, and how it is to be reached."""

    address: str = DEFAULT_ADDRESS
    """HOST:PORT."""

    _: KW_ONLY

    credentials: grpc.ChannelCredentials | None = None
    """TLS and what goes with it; None for none."""

    metadata: Mapping[str, str] = field(default_factory=dict)
    """What goes with every call."""

    options: Mapping[str, Any] = field(default_factory=dict)
    """gRPC's channel options, in place of our own where they are the same."""

    @classmethod
    def anyscale(cls, host: str, token: str, application: str | None) -> Self:
        """To an Anyscale service."""
        # gRPC sends the token as `authorization: Bearer TOKEN`, and over no channel without TLS.
        token_credentials = grpc.access_token_call_credentials(token)
        secured = grpc.composite_channel_credentials(grpc.ssl_channel_credentials(), token_credentials)
        return cls(
            address=host, credentials=secured, metadata={"application": application} if application else {}
        )

    def arguments(self) -> dict[str, Any]:
        """What `secure_channel` and `insecure_channel` take, blocking or not."""
        secured = {} if self.credentials is None else {"credentials": self.credentials}
        return {"target": self.address, "options": list({**_defaults(), **self.options}.items()), **secured}

    def call(self, customer_id: str, request_id: str | None) -> Metadata:
        """The metadata of a call."""
        named = (("multiplexed_model_id", customer_id), ("request_id", request_id))
        return (*self.metadata.items(), *((key, value) for key, value in named if value))


def _defaults() -> dict[str, Any]:
    # Not importlib.resources: importing that takes a tenth of the client's own time.
    policy = get_data("forecast_grpc_client", "service_config.json")
    assert policy is not None  # noqa: S101 - it is a file of this package
    return {
        "grpc.service_config": policy.decode(),
        "grpc.max_receive_message_length": MAX_MESSAGE_BYTES,
        "grpc.per_rpc_retry_buffer_size": MAX_MESSAGE_BYTES,
    }
