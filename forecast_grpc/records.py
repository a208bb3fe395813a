"""The values of the model service: which models there are, where they are, and what became of an order."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from forecast_grpc.domain import CacheTier, ModelMetadata
from forecast_grpc.errors import ForecastError


class ModelServiceMode(StrEnum):
    """How much of the model service is on."""

    OFF = "off"
    """Nothing."""

    READ = "read"
    """What changes nothing."""

    ALL = "all"
    """Everything."""


class LaneMode(StrEnum):
    """Whether calls may take the direct lane."""

    AUTO = "auto"
    """Where Ray Serve has what it needs."""

    OFF = "off"
    """Never."""


class LoadCause(StrEnum):
    """What a model was loaded for."""

    REQUEST = "request"
    """A forecast."""

    START = "start"
    """The start of the replica."""

    WARM = "warm"
    """An order to warm it."""

    REFRESH = "refresh"
    """A check against the store, which had another version."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """Why a model cannot be served, or was not loaded."""

    reason: str
    """The error's reason."""

    message: str
    """The error's sentence for the caller."""

    @classmethod
    def of(cls, error: ForecastError) -> "Problem":
        """What is told of an error."""
        return cls(reason=error.reason, message=error.message)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelRecord:
    """A customer's model in one version."""

    customer_id: str
    """The customer."""

    version: int | None = None
    """The version; None where the artefact cannot be read, or was not to be."""

    active: bool
    """Whether it is the active one."""

    metadata: ModelMetadata | None = None
    """What the artefact says; None where it cannot be read, or was not to be."""

    max_horizon: int | None = None
    """The longest horizon, in steps; None where there is no limit."""

    problem: Problem | None = None
    """Why it cannot be served; None where it can."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelPage:
    """Some of a list."""

    models: tuple[ModelRecord, ...]
    """In the order of the list."""

    has_more: bool
    """Whether others follow."""

    scope: str
    """Of what it is a part: the prefix of the customers, or the customer of the versions."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CustomersQuery:
    """Which customers to list."""

    prefix: str = ""
    """How their names start."""

    start_after: str = ""
    """The name after which to begin."""

    size: int
    """How many at most."""

    names_only: bool = False
    """Whether artefacts are left unread."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionsQuery:
    """Which versions of a customer to list, from the newest on."""

    customer_id: str
    """The customer."""

    before: int | None = None
    """The version below which to begin; None for the newest."""

    size: int
    """How many at most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Activation:
    """A version that is to be the active one."""

    customer_id: str
    """The customer."""

    version: int
    """The version."""

    expected_version: int | None = None
    """The version that it may replace; None for any."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadFailure:
    """A load, or a check against the store, that failed."""

    time: datetime
    """When, in UTC."""

    cause: LoadCause
    """What it was for."""

    problem: Problem
    """Why it failed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Holding:
    """A model in a replica's memory."""

    tier: CacheTier
    """`hot` or `warm`."""

    version: int
    """Its version."""

    load_time: datetime
    """When its bytes came from the store, in UTC."""

    load_cause: LoadCause
    """What they were loaded for."""

    check_time: datetime
    """When the store was last asked whether it has the same, in UTC."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicaModel:
    """A customer's active model as one replica has it."""

    replica: str
    """The replica."""

    holding: Holding | None
    """The model; None where it is not in memory."""

    last_failure: LoadFailure | None
    """The last failure that the replica remembers of this customer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WarmedReplica:
    """What became of an order to warm customers in one replica."""

    replica: str
    """The replica."""

    loaded: int
    """Customers who were loaded."""

    present: int
    """Customers who were in memory before."""

    failures: tuple[tuple[str, Problem], ...]
    """Customers who were not loaded, and why not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Warming:
    """What became of an order to warm customers."""

    replicas: tuple[WarmedReplica, ...]
    """The replicas that answered."""

    unanswered: int
    """How many did not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Activated:
    """What became of an order to make a version active."""

    model: ModelRecord
    """What is active now."""

    previous_version: int | None
    """What was before; None where nothing was, or it could not be read."""

    replicas: tuple[ReplicaModel, ...]
    """The replicas that answered, after they looked at the store."""

    unanswered: int
    """How many did not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """Where a customer's model is."""

    model: ModelRecord
    """What the store has."""

    replicas: tuple[ReplicaModel, ...]
    """What the replicas have that answered."""

    unanswered: int
    """How many did not."""
