"""Every setting of a replica: its unit, its default, its meaning. Nothing else in the house has defaults.

A setting comes from the `args` of a Serve config file, from the command line of `forecast-grpc serve`, or from
`FORECAST_GRPC_<NAME>` in the environment, in this order of precedence.
"""

import os
from pathlib import Path
from typing import Annotated

from platformdirs import user_data_path
from pydantic import BeforeValidator, Field, NonNegativeInt, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from forecast_grpc.records import LaneMode, ModelServiceMode


def default_store() -> Path:
    """The folder of the demo store: what every command uses where no store is named."""
    return user_data_path("forecast-grpc") / "demo-store"


def _split(value: object) -> object:
    """A comma-separated text as a tuple, so that lists can stand in the environment and on a command line."""
    if isinstance(value, str):
        return tuple(part.strip() for part in value.split(",") if part.strip())
    return value


Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
"""A SHA-256 digest, in lower-case hexadecimal digits as `sha256sum` prints it."""

PublicKey = Annotated[str, Field(pattern=r"^ed25519:[A-Za-z0-9+/]{43}=$")]
"""An Ed25519 public key, as `forecast-grpc keys` prints it."""


class Settings(BaseSettings):
    """The settings of a replica."""

    model_config = SettingsConfigDict(
        env_prefix="FORECAST_GRPC_", extra="forbid", frozen=True, use_attribute_docstrings=True
    )

    store: str = Field(default_factory=lambda: str(default_store()))
    """Where the models are: a folder, or a bucket as `s3://`, `gs://` or `az://`; see docs/stores.md."""

    num_replicas: int = Field(default=1, ge=1)
    """Replicas to run; where there may be more under load, the fewest."""

    max_replicas: int | None = Field(default=None, ge=1)
    """The most replicas under load. Unset: always `num_replicas`."""

    target_busy_cores: float = Field(default=0.6, gt=0)
    """Cores that a replica is to be busy with, where their number follows the load; it can use about one."""

    target_ongoing_requests: float = Field(default=32.0, gt=0)
    """Requests that are to be under way in a replica, waiting for models or for pickled ones, where their number
    follows the load."""

    upscale_delay_s: float = Field(default=5.0, ge=0)
    """Seconds for which the load must have asked for more replicas before there are more."""

    downscale_delay_s: float = Field(default=300.0, ge=0)
    """Seconds for which the load must have asked for fewer replicas before there are fewer."""

    num_cpus_per_replica: float = Field(default=0.5, gt=0)
    """Cores that Ray sets aside for a replica when it decides where to place it; no limit on what it may use."""

    replica_cores: Annotated[tuple[NonNegativeInt, ...], NoDecode, BeforeValidator(_split)] = ()
    """Cores of each machine that replicas have to themselves, one each, by their numbers, separated by commas:
    `serve` keeps all else off them. See docs/performance.md."""

    max_hot_models: int = Field(default=1_000, ge=1)
    """Customers that Ray's multiplexer holds in each replica. Its cost grows with this number even when idle."""

    max_warm_bytes: int = Field(default=256 * 2**20, ge=0)
    """Bytes of decoded models that a replica keeps beside the hot ones."""

    max_onnx_bytes: int = Field(default=512 * 2**20, ge=0)
    """Bytes of ONNX sessions that a replica keeps open, for hot and warm models together; a model whose session
    was closed opens another when it is asked."""

    prewarm: Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split)] = ()
    """Customers to load before a replica takes traffic, separated by commas."""

    pinned: Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split)] = ()
    """Customers to load before a replica takes traffic and to keep in memory from then on, beside
    `max_warm_bytes`, separated by commas."""

    handover_timeout_s: float = Field(default=10.0, ge=0)
    """Seconds that a new replica may take, before traffic comes, to load the customers who asked other replicas
    most, also those that are gone. 0: it takes traffic at once."""

    handover_interval_s: float = Field(default=10.0, gt=0)
    """Seconds after which a replica notes anew, for those that come after it, who asks most."""

    refresh_interval_s: float = Field(default=10.0, gt=0)
    """Seconds after which a model that is asked for is checked against the store, behind the request's back."""

    not_found_ttl_s: float = Field(default=1.0, ge=0)
    """Seconds for which the store is not asked again for a customer or a version that it does not have."""

    failed_ttl_s: float = Field(default=1.0, ge=0)
    """Seconds for which the store is not asked again for a model that is damaged or not allowed."""

    max_remembered_failures: int = Field(default=10_000, ge=1)
    """Models that a replica remembers as not there, damaged or not allowed, the latest ones."""

    store_timeout_s: float = Field(default=5.0, gt=0)
    """Seconds that the store may take over one model, retries included, before the request fails as
    STORE_UNAVAILABLE."""

    request_timeout_s: float = Field(default=30.0, gt=0)
    """Seconds that a request may wait for its model before it fails with DEADLINE_EXCEEDED."""

    max_concurrent_loads: int = Field(default=64, ge=1)
    """Models that a replica loads at the same time."""

    max_concurrent_refreshes: int = Field(default=8, ge=1)
    """Models in memory that a replica checks against the store at the same time, beside those that it loads."""

    max_waiting_loads: int = Field(default=10_000, ge=1)
    """Models that may wait to be loaded; a request for one more is refused as OVERLOADED."""

    max_ongoing_requests: int = Field(default=256, ge=1)
    """Requests that a replica handles at the same time; more are queued."""

    max_queued_requests: int = Field(default=2_000, ge=-1)
    """Requests that may wait for a replica; more are refused with RESOURCE_EXHAUSTED. -1 for no limit."""

    direct_lane: LaneMode = LaneMode.AUTO
    """Whether forecasts over gRPC go past Ray Serve's own request handling: `auto` where that can be, `off` never.
    See docs/performance.md."""

    max_sequence_length: int = Field(default=10_000, ge=1)
    """Observations that one request may hold."""

    max_horizon: int = Field(default=1_000, ge=1)
    """Steps that one request may ask for."""

    max_quantile_levels: int = Field(default=100, ge=1)
    """Quantile levels that one request may ask for."""

    max_covariates: int = Field(default=100, ge=0, le=1_000)
    """Covariates that one request may hold."""

    max_covariate_values: int = Field(default=50_000, ge=0)
    """Values that all covariates of one request may hold together."""

    max_batch_items: int = Field(default=10_000, ge=1)
    """Items that one batch may hold."""

    max_batch_values: int = Field(default=5_000_000, ge=1)
    """Observations and values of covariates that all items of one batch may hold together, and values that all its
    forecasts may. A stream reads on only while it holds fewer."""

    max_stream_items: int = Field(default=1_000, ge=1)
    """Items that one message of a stream may hold, and items of a stream that may wait for their results."""

    stream_stall_timeout_s: float = Field(default=60.0, gt=0)
    """Seconds for which a stream may have results that its caller does not take, before it ends with
    DEADLINE_EXCEEDED."""

    allow_pickles: bool = False
    """Whether pickled models are loaded. Each runs whatever code its author put into it: see docs/security.md."""

    pickle_digests: Annotated[tuple[Digest, ...], NoDecode, BeforeValidator(_split)] = ()
    """SHA-256 digests of the pickles that may be loaded, separated by commas; empty for any, where pickles are
    allowed at all."""

    trusted_keys: Annotated[tuple[PublicKey, ...], NoDecode, BeforeValidator(_split)] = ()
    """Public keys, separated by commas: where there are any, only artefacts that one of them has signed are
    served. See docs/security.md."""

    model_service: ModelServiceMode = ModelServiceMode.READ
    """How much of ModelService is on: `all` of it, `read` for what changes nothing, `off` for none. `forecast-grpc
    serve` has `all` where it listens on 127.0.0.1. See docs/operating.md."""

    log_requests: bool = True
    """Whether each request leaves its line in the log."""

    @field_validator("replica_cores")
    @classmethod
    def _can_be_set_aside(cls, cores: tuple[int, ...]) -> tuple[int, ...]:
        if cores and not hasattr(os, "sched_setaffinity"):
            raise ValueError("only Linux can keep other work off a core")
        return cores
