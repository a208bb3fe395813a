"""What a caller can do wrong without breaking the protocol."""

import grpc


class RpcFault(Exception):
    """What the caller sent cannot be taken; the call ends with this status."""

    def __init__(self, code: grpc.StatusCode, details: str) -> None:
        super().__init__(details)
        self.code, self.details = code, details
        """What the caller is told."""
