"""What stands before an Anyscale service: TLS and a bearer token; behind it, the service as it is."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import grpc
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

TOKEN = "let-me-in"  # noqa: S105 - it opens nothing but this front


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsFront(grpc.GenericRpcHandler):  # type: ignore[type-arg]  # generic in its stubs alone
    """Forwards calls, bytes and metadata, of those who have the token: unary ones, and streams named so."""

    channel: grpc.Channel
    """To the service."""

    refuses_first: bool = False
    """Whether the first attempt of each call is refused as UNAVAILABLE."""

    seen: list[dict[str, Any]] = field(default_factory=list)
    """The metadata of each call that came."""

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> "grpc.RpcMethodHandler[bytes, bytes]":
        """The handler of any method: no serializer looks into its bytes."""
        method = handler_call_details.method
        if "/Stream" in method:
            stream = self.channel.stream_stream(method, None, None)
            return grpc.stream_stream_rpc_method_handler(
                lambda requests, context: stream(requests, metadata=self._admitted(context))
            )
        forward = self.channel.unary_unary(method, None, None)
        return grpc.unary_unary_rpc_method_handler(
            lambda request, context: _forwarded(forward, request, self._admitted(context), context)
        )

    def _admitted(self, context: grpc.ServicerContext) -> tuple[tuple[str, str | bytes], ...]:
        """The metadata to forward. Ends the call of whoever has not the token."""
        metadata = dict(context.invocation_metadata())
        self.seen.append(dict(metadata))
        if metadata.pop("authorization", None) != f"Bearer {TOKEN}":
            context.abort(grpc.StatusCode.UNAUTHENTICATED, "The token is not that of this service.")
        metadata.pop("user-agent", None)
        # Clients say so of their own accord when they try again.
        if metadata.pop("grpc-previous-rpc-attempts", None) is None and self.refuses_first:
            context.abort(grpc.StatusCode.UNAVAILABLE, "Not at the first attempt.")
        return tuple(metadata.items())


def _forwarded(forward: Any, request: bytes, metadata: Any, context: grpc.ServicerContext) -> bytes:
    try:
        response, call = forward.with_call(request, metadata=metadata, timeout=context.time_remaining())
    except grpc.RpcError as error:
        ended: Any = error
        context.set_trailing_metadata(ended.trailing_metadata())
        context.abort(ended.code(), ended.details())
    context.set_trailing_metadata(call.trailing_metadata())
    answered: bytes = response
    return answered


@contextmanager
def tls_front(
    address: str, folder: Path, *, refuses_first: bool = False
) -> Iterator[tuple[TlsFront, str, Path]]:
    """A front before the service at `address`; yields it, its own address, and the certificate to trust."""
    key, certificate = _self_signed()
    trusted = folder / "ca.pem"
    trusted.write_bytes(certificate)
    server = grpc.server(ThreadPoolExecutor(4))
    # At every address of the name: a client may try the one of IPv6 last, and report that.
    port = server.add_secure_port("localhost:0", grpc.ssl_server_credentials([(key, certificate)]))
    with grpc.insecure_channel(address) as channel:
        front = TlsFront(channel=channel, refuses_first=refuses_first)
        server.add_generic_rpc_handlers((front,))
        server.start()
        try:
            yield front, f"localhost:{port}", trusted
        finally:
            server.stop(grace=None).wait()


def _self_signed() -> tuple[bytes, bytes]:
    """A private key and its certificate for this machine, PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    names = x509.SubjectAlternativeName([x509.DNSName("localhost"), x509.IPAddress(IPv4Address("127.0.0.1"))])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(subject_name=name, issuer_name=name, public_key=key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(names, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return private, certificate.public_bytes(serialization.Encoding.PEM)
