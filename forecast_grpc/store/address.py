"""The address of an object store: `s3://bucket/prefix?option=value`, and the same with `gs` and `az`."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import parse_qsl

OPTIONS: Mapping[str, Mapping[str, str]] = {
    "s3": {
        "endpoint": "endpoint",
        "region": "region",
        "allow_http": "allow_http",
        "anonymous": "skip_signature",
        "virtual_hosted_style": "virtual_hosted_style_request",
    },
    "gs": {"endpoint": "base_url", "allow_http": "allow_http", "anonymous": "skip_signature"},
    "az": {
        "endpoint": "endpoint",
        "account": "account_name",
        "allow_http": "allow_http",
        "anonymous": "skip_signature",
    },
}
"""What may follow the `?`, by the scheme, with obstore's name for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreAddress:
    """Where an object store is, and how to reach it. Credentials are no part of it: see `clients`."""

    scheme: str
    """`s3`, `gs` or `az`."""

    bucket: str
    """The bucket's name; the container's with Azure."""

    prefix: str
    """The folder in the bucket, without slashes around it; empty for the whole bucket."""

    options: Mapping[str, str] = field(default_factory=dict)
    """What followed the `?`: only names that `OPTIONS` lists for this scheme."""

    def __str__(self) -> str:
        """The address without its options."""
        return f"{self.scheme}://{self.bucket}" + (f"/{self.prefix}" if self.prefix else "")


def parse(scheme: str, rest: str) -> StoreAddress:
    """The address `scheme://rest`. Raises ValueError, which does not repeat what might be a secret."""
    path, _, query = rest.partition("?")
    bucket, _, prefix = path.partition("/")
    if "@" in bucket or ":" in bucket:
        raise ValueError(
            "The address of a store holds no credentials and no port: see docs/stores.md for both."
        )
    if not bucket or "\0" in path or "//" in prefix:
        raise ValueError(f"An object store is named {scheme}://BUCKET or {scheme}://BUCKET/PREFIX.")
    return StoreAddress(
        scheme=scheme, bucket=bucket, prefix=prefix.strip("/"), options=_options(scheme, query)
    )


def _options(scheme: str, query: str) -> dict[str, str]:
    options = dict(parse_qsl(query, keep_blank_values=True))
    for name in options.keys() - set(OPTIONS[scheme]):
        known = ", ".join(OPTIONS[scheme])
        raise ValueError(f"The address of a store has no option {name} after {scheme}://: there are {known}.")
    return options
