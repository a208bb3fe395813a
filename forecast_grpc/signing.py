"""Ed25519 signatures (RFC 8032) and the two files that a pair of keys lies in.

A private key is a PEM file (PKCS #8, not encrypted), as `openssl genpkey -algorithm ed25519` makes it too. A
public key is one line of text: `ed25519:` and its 32 bytes in base64.

This module loads a library for both, so it is imported only where something is signed or has to be.
"""

import re
from base64 import b64decode, b64encode
from dataclasses import dataclass, field
from functools import cached_property, lru_cache

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

_SIGNATURE = re.compile(r"[0-9a-f]{128}", re.ASCII)
_PREFIX = "ed25519:"


@dataclass(frozen=True)
class SigningKey:
    """A private key. It may be pickled, so that others sign with it too; it is not printed."""

    pem: bytes = field(repr=False)
    """The PEM file's content. Raises ValueError where it is not that of an Ed25519 key without a password."""

    def __post_init__(self) -> None:
        self._key  # noqa: B018 - to be found out now, not by the first signature

    @classmethod
    def generate(cls) -> "SigningKey":
        """A new one, of the system's random numbers."""
        pem = Ed25519PrivateKey.generate().private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        return cls(pem)

    @property
    def public(self) -> str:
        """The public key of the pair, as one line of text."""
        return _PREFIX + b64encode(self._key.public_key().public_bytes_raw()).decode()

    def sign(self, message: bytes) -> str:
        """The signature: 128 lower-case hexadecimal digits."""
        return self._key.sign(message).hex()

    def __getstate__(self) -> bytes:
        return self.pem

    def __setstate__(self, pem: bytes) -> None:
        object.__setattr__(self, "pem", pem)

    @cached_property
    def _key(self) -> Ed25519PrivateKey:

        try:
            key = serialization.load_pem_private_key(self.pem, password=None)
        # TypeError is what a key with a password raises.
        except (ValueError, TypeError, UnsupportedAlgorithm) as exc:
            raise ValueError("not the PEM file of a private key without a password") from exc
        if not isinstance(key, Ed25519PrivateKey):
            raise ValueError("a private key, but not an Ed25519 one")  # noqa: TRY004 - a wrong file, no wrong type
        return key


def verify(message: bytes, signature: str, public_keys: tuple[str, ...]) -> bool:
    """Whether one of these keys has signed the message."""
    if not _SIGNATURE.fullmatch(signature):
        return False
    for text in public_keys:
        try:
            _public_key(text).verify(bytes.fromhex(signature), message)
        except InvalidSignature:
            continue
        return True
    return False


@lru_cache(maxsize=64)
def _public_key(text: str) -> Ed25519PublicKey:

    return Ed25519PublicKey.from_public_bytes(b64decode(text.removeprefix(_PREFIX)))
