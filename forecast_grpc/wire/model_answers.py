"""Answers of the model service: domain values to messages, and messages to JSON."""

from datetime import datetime
from typing import Any

from google.protobuf import json_format
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from pydantic import BaseModel

from forecast_grpc.domain import CacheTier, ModelMetadata
from forecast_grpc.records import (
    Activated,
    Explanation,
    Holding,
    LoadCause,
    ModelPage,
    ModelRecord,
    Problem,
    ReplicaModel,
    WarmedReplica,
    Warming,
)
from forecast_grpc.v1 import model_pb2 as pb
from forecast_grpc.wire.model_requests import page_token

_TIERS = {
    CacheTier.HOT: pb.CACHE_TIER_HOT,
    CacheTier.WARM: pb.CACHE_TIER_WARM,
}

_CAUSES = {
    LoadCause.REQUEST: pb.LOAD_CAUSE_REQUEST,
    LoadCause.START: pb.LOAD_CAUSE_START,
    LoadCause.WARM: pb.LOAD_CAUSE_WARM,
    LoadCause.REFRESH: pb.LOAD_CAUSE_REFRESH,
}


def model_response(record: ModelRecord) -> pb.GetModelResponse:
    """The answer of GetModel."""
    return pb.GetModelResponse(model=_model(record))


def customers_response(page: ModelPage) -> pb.ListModelsResponse:
    """The answer of ListModels."""
    token = page_token(page.scope, page.models[-1].customer_id) if page.has_more else ""
    return pb.ListModelsResponse(models=map(_model, page.models), next_page_token=token)


def versions_response(page: ModelPage) -> pb.ListModelVersionsResponse:
    """The answer of ListModelVersions."""
    token = page_token(page.scope, str(page.models[-1].version)) if page.has_more else ""
    return pb.ListModelVersionsResponse(models=map(_model, page.models), next_page_token=token)


def warming_response(warming: Warming) -> pb.WarmModelsResponse:
    """The answer of WarmModels."""
    return pb.WarmModelsResponse(
        replicas=map(_warmed, warming.replicas), unanswered_replica_count=warming.unanswered
    )


def activation_response(activated: Activated) -> pb.ActivateModelVersionResponse:
    """The answer of ActivateModelVersion."""
    return pb.ActivateModelVersionResponse(
        model=_model(activated.model),
        previous_version=activated.previous_version,
        replicas=map(_replica, activated.replicas),
        unanswered_replica_count=activated.unanswered,
    )


def explanation_response(explanation: Explanation) -> pb.ExplainModelResponse:
    """The answer of ExplainModel."""
    return pb.ExplainModelResponse(
        model=_model(explanation.model),
        replicas=map(_replica, explanation.replicas),
        unanswered_replica_count=explanation.unanswered,
    )


def message_to_json(message: Message, body: type[BaseModel]) -> dict[str, Any]:
    """The fields of a message that are set, under their proto names, in the shape of `body`."""
    # Protobuf's JSON has 64-bit integers as texts; the body's fields say that they are numbers.
    found = json_format.MessageToDict(message, preserving_proto_field_name=True)
    return body.model_validate(found).model_dump(exclude_unset=True)


def _model(record: ModelRecord) -> pb.Model:
    model = pb.Model(customer_id=record.customer_id, version=record.version, active=record.active)
    if record.metadata is not None:
        model.MergeFrom(_described(record.metadata, record.max_horizon))
    if record.problem is not None:
        model.problem.MergeFrom(_problem(record.problem))
    return model


def _described(metadata: ModelMetadata, max_horizon: int | None) -> pb.Model:
    return pb.Model(
        family=metadata.family,
        sha256=metadata.sha256,
        trained_time=None if metadata.trained_time is None else _time(metadata.trained_time),
        state_time=metadata.state_time or "",
        horizon=metadata.horizon,
        max_horizon=max_horizon,
        min_length=metadata.min_length,
        season_length=metadata.season_length,
        frequency=metadata.frequency or "",
        time_zone=metadata.time_zone,
        covariates=metadata.covariates,
        accuracy=metadata.accuracy,
    )


def _problem(problem: Problem) -> pb.ModelProblem:
    return pb.ModelProblem(reason=problem.reason, message=problem.message)


def _warmed(warmed: WarmedReplica) -> pb.WarmedReplica:
    return pb.WarmedReplica(
        replica=warmed.replica,
        loaded_count=warmed.loaded,
        present_count=warmed.present,
        failures=[
            pb.WarmFailure(customer_id=customer_id, problem=_problem(problem))
            for customer_id, problem in warmed.failures
        ],
    )


def _replica(replica: ReplicaModel) -> pb.ReplicaModel:
    message = pb.ReplicaModel(replica=replica.replica)
    if replica.holding is not None:
        message.MergeFrom(_holding(replica.holding))
    failure = replica.last_failure
    if failure is not None:
        message.last_failure.MergeFrom(
            pb.LoadFailure(
                time=_time(failure.time), cause=_CAUSES[failure.cause], problem=_problem(failure.problem)
            )
        )
    return message


def _holding(holding: Holding) -> pb.ReplicaModel:
    return pb.ReplicaModel(
        tier=_TIERS[holding.tier],
        version=holding.version,
        load_time=_time(holding.load_time),
        load_cause=_CAUSES[holding.load_cause],
        check_time=_time(holding.check_time),
    )


def _time(at: datetime) -> Timestamp:
    stamp = Timestamp()
    stamp.FromDatetime(at)
    return stamp
