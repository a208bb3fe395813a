"""The JSON bodies of the model service, for the OpenAPI document: the messages under their proto names.

The protos say more of each field; a test holds that the names are the same.
"""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from forecast_grpc.wire.model_requests import MAX_WARMED
from forecast_grpc.wire.requests import CUSTOMER_SCHEMA, VERSION_SCHEMA

# For the document alone: `model_requests` judges the requests of both protocols.
_customer = Field(json_schema_extra=CUSTOMER_SCHEMA)
_version = Field(json_schema_extra=VERSION_SCHEMA)


class Body(BaseModel):
    """A JSON body; nothing but its fields is in it."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)


class ProblemBody(Body):
    """Why a model cannot be served or was not loaded."""

    reason: str
    """For programs."""
    message: str
    """For people."""


class DescriptionBody(Body):
    """A customer's model in one version."""

    customer_id: str
    """The customer."""
    version: int | None = None
    """The version, counted from 1."""
    active: bool = False
    """Whether it is the active one."""
    family: str = ""
    """`trend`, `seasonal_naive`, `theta`, `ets`, `linear` or another."""
    sha256: str = ""
    """Digest of the model's tensor bytes."""
    trained_time: str | None = None
    """When it was fitted, RFC 3339."""
    state_time: str = ""
    """The end of the series that it was fitted to."""
    horizon: int = 0
    """Steps that it forecasts unless asked otherwise."""
    max_horizon: int | None = None
    """The longest horizon; unset where there is no limit."""
    min_length: int = 0
    """Observations that a sequence must hold."""
    season_length: int = 0
    """Steps in a season; 1 for none."""
    frequency: str = ""
    """The length of a step, ISO 8601."""
    time_zone: str = ""
    """Where the clock is read."""
    covariates: list[str] = []
    """The names of its covariates."""
    accuracy: dict[str, float] = {}
    """Errors measured when it was fitted."""
    problem: ProblemBody | None = None
    """Why it cannot be served."""


class GetModelBody(Body):
    """The model that was asked for."""

    model: DescriptionBody
    """The model."""


class ListModelsBody(Body):
    """One page of customers, or of versions."""

    models: list[DescriptionBody] = []
    """The models."""
    next_page_token: str = ""
    """The `page_token` of the next page; missing on the last one."""


class WarmFailureBody(Body):
    """One customer whose model was not loaded."""

    customer_id: str
    """The customer."""
    problem: ProblemBody
    """Why."""


class WarmedReplicaBody(Body):
    """What became of it in one replica."""

    replica: str
    """The replica's name."""
    loaded_count: int = 0
    """Customers whose models were loaded now."""
    present_count: int = 0
    """Customers whose models were in memory before."""
    failures: list[WarmFailureBody] = []
    """Customers whose models were not loaded."""


class WarmModelsBody(Body):
    """What became of it in each replica."""

    replicas: list[WarmedReplicaBody] = []
    """The replicas that answered in time."""
    unanswered_replica_count: int = 0
    """How many did not."""


class LoadFailureBody(Body):
    """A load, or a check against the store, that failed."""

    time: str
    """When, RFC 3339."""
    cause: str
    """What it was for: a `LOAD_CAUSE_...`."""
    problem: ProblemBody
    """Why it failed."""


class ReplicaModelBody(Body):
    """One customer's active model as one replica has it."""

    replica: str
    """The replica's name."""
    tier: Literal["CACHE_TIER_HOT", "CACHE_TIER_WARM"] | None = None
    """Where in memory; missing where it is not."""
    version: int | None = None
    """Its version."""
    load_time: str | None = None
    """When it came from the store, RFC 3339."""
    load_cause: str | None = None
    """What it was loaded for: a `LOAD_CAUSE_...`."""
    check_time: str | None = None
    """When it was last compared with the store, RFC 3339."""
    last_failure: LoadFailureBody | None = None
    """How this customer's model last failed to load here."""


class ActivateModelVersionBody(Body):
    """What is active now."""

    model: DescriptionBody
    """The model that was made active."""
    previous_version: int | None = None
    """The version that was active before."""
    replicas: list[ReplicaModelBody] = []
    """The replicas that answered in time."""
    unanswered_replica_count: int = 0
    """How many did not."""


class ExplainModelBody(Body):
    """Where one customer's model is."""

    model: DescriptionBody
    """What the store has."""
    replicas: list[ReplicaModelBody] = []
    """What each replica has that answered in time."""
    unanswered_replica_count: int = 0
    """How many did not answer."""


class WarmModelsRequestBody(Body):
    """Which customers to load."""

    customer_ids: Annotated[
        list[Annotated[str, _customer]], Field(json_schema_extra={"minItems": 1, "maxItems": MAX_WARMED})
    ]
    """The customers, 1 to 1,000."""


class ActivateModelVersionRequestBody(Body):
    """Which version is to answer forecasts from now on."""

    version: Annotated[int, _version]
    """The version."""
    expected_version: Annotated[int, _version] | None = None
    """The active version that you have seen; unset for whichever it is."""
