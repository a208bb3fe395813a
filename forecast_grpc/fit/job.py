"""What is to be done for each customer of a table, and by what it is known that it was done before."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from hashlib import blake2b
from typing import TYPE_CHECKING

import numpy as np

from forecast_grpc import __version__
from forecast_grpc.artefact import sign
from forecast_grpc.fit.fitting import AUTO, check_options
from forecast_grpc.fit.series import Series

if TYPE_CHECKING:
    from forecast_grpc.signing import SigningKey

_DIGEST_BYTES = 16


def _now() -> datetime:
    return datetime.now(UTC).replace(microsecond=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class FitJob:
    """How each customer of a table is fitted, and where the models go. ValueError where that cannot be."""

    family: str = AUTO
    """One of FAMILY_CHOICES."""

    horizon: int | None = None
    """Steps to forecast; None: as in `fit_series`."""

    season_length: int | None = None
    """Steps in a season; None: as in `fit_series`."""

    trained_time: datetime = field(default_factory=_now)
    """What all models of this job say of when they were fitted; with a time zone."""

    store: str | None = None
    """Address of the store that the models are published into; None: nowhere."""

    again: bool = False
    """Whether customers are fitted whose newest model comes from the same history and options already."""

    key: "SigningKey | None" = None
    """What the models are signed with; None for none. It goes wherever the job goes."""

    def __post_init__(self) -> None:
        check_options(self.family, self.horizon, self.season_length)

    def digest(self, series: Series) -> str:
        """32 hexadecimal digits that are the same only for the same history, options and release."""
        digest = blake2b(digest_size=_DIGEST_BYTES)
        history = {each.name: getattr(series, each.name) for each in fields(series)}
        digest.update(_bytes((__version__, self.family, self.horizon, self.season_length)))
        if self.key is not None:
            # What is there unsigned, or signed by another, is not what this job would put there.
            digest.update(_bytes(self.key.public))
        digest.update(_bytes(history))
        return digest.hexdigest()

    def encoder(self, customer_id: str, encode: Callable[[int], bytes]) -> Callable[[int], bytes]:
        """What makes the artefact of a version to publish, signed where the job has a key."""
        key = self.key
        return encode if key is None else lambda version: sign(encode(version), customer_id, key)


def _bytes(value: object) -> bytes:
    if isinstance(value, np.ndarray):
        return f"{value.dtype}{value.shape}".encode() + np.ascontiguousarray(value).tobytes()
    if isinstance(value, Mapping):
        return b"".join(repr(key).encode() + _bytes(value[key]) for key in sorted(value))
    return repr(value).encode()
