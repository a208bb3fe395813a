"""forecast.v1.ModelService: a short method an RPC, and what each replica does when it is asked by another."""

from functools import partial

from ray import serve
from ray.serve.grpc_util import RayServegRPCContext

from forecast_grpc import wire
from forecast_grpc.administration import Administration
from forecast_grpc.fleet import LocalModels
from forecast_grpc.loading import Loan
from forecast_grpc.records import ReplicaModel, WarmedReplica
from forecast_grpc.rpc import Rpcs
from forecast_grpc.usage import ReplicaUsage
from forecast_grpc.v1 import model_pb2 as pb

Context = RayServegRPCContext | None
"""None where the caller is Python, with a deployment handle."""


class ModelService(Rpcs):
    """The RPCs of a replica that look at models and change them."""

    models: Administration
    local: LocalModels

    async def GetModel(  # noqa: N802 - the RPC's name
        self, request: pb.GetModelRequest, grpc_context: Context = None
    ) -> pb.GetModelResponse:
        """One model."""
        call = self._call(grpc_context)
        outcome = await self.models.get(call, partial(wire.model_query, request, _customer()))
        return self._answer(call, outcome, wire.model_response, grpc_context, pb.GetModelResponse)

    async def ListModels(  # noqa: N802 - the RPC's name
        self, request: pb.ListModelsRequest, grpc_context: Context = None
    ) -> pb.ListModelsResponse:
        """A page of customers with their active models."""
        call = self._call(grpc_context)
        outcome = await self.models.customers(call, partial(wire.customers_query, request))
        return self._answer(call, outcome, wire.customers_response, grpc_context, pb.ListModelsResponse)

    async def ListModelVersions(  # noqa: N802 - the RPC's name
        self, request: pb.ListModelVersionsRequest, grpc_context: Context = None
    ) -> pb.ListModelVersionsResponse:
        """A page of a customer's versions."""
        call = self._call(grpc_context)
        outcome = await self.models.versions(call, partial(wire.versions_query, request, _customer()))
        return self._answer(call, outcome, wire.versions_response, grpc_context, pb.ListModelVersionsResponse)

    async def WarmModels(  # noqa: N802 - the RPC's name
        self, request: pb.WarmModelsRequest, grpc_context: Context = None
    ) -> pb.WarmModelsResponse:
        """Loads customers in every replica."""
        call = self._call(grpc_context)
        outcome = await self.models.warm(call, partial(wire.warmed_customers, request))
        return self._answer(call, outcome, wire.warming_response, grpc_context, pb.WarmModelsResponse)

    async def ActivateModelVersion(  # noqa: N802 - the RPC's name
        self, request: pb.ActivateModelVersionRequest, grpc_context: Context = None
    ) -> pb.ActivateModelVersionResponse:
        """Makes a version the active one, in every replica."""
        call = self._call(grpc_context)
        outcome = await self.models.activate(call, partial(wire.activation, request, _customer()))
        empty = pb.ActivateModelVersionResponse
        return self._answer(call, outcome, wire.activation_response, grpc_context, empty)

    async def ExplainModel(  # noqa: N802 - the RPC's name
        self, request: pb.ExplainModelRequest, grpc_context: Context = None
    ) -> pb.ExplainModelResponse:
        """Where a customer's model is."""
        call = self._call(grpc_context)
        outcome = await self.models.explain(call, partial(wire.explained_customer, request, _customer()))
        return self._answer(call, outcome, wire.explanation_response, grpc_context, pb.ExplainModelResponse)

    async def GetAccessStatistics(  # noqa: N802 - the RPC's name
        self, request: pb.GetAccessStatisticsRequest, grpc_context: Context = None
    ) -> pb.GetAccessStatisticsResponse:
        """Who asks, and what that tells of caches of other sizes."""
        call = self._call(grpc_context)
        outcome = await self.models.usage(call, partial(wire.top_size, request))
        empty = pb.GetAccessStatisticsResponse
        return self._answer(call, outcome, wire.usage_response, grpc_context, empty)

    # --- from the other replicas, by `Fleet.ask` ---

    async def warm_here(self, customer_ids: tuple[str, ...], limit_s: float) -> WarmedReplica:
        """Loads customers into this replica's memory."""
        return await self.local.warm(customer_ids, limit_s)

    async def refresh_here(self, customer_id: str) -> ReplicaModel:
        """Compares this replica's model of a customer with the store."""
        return await self.local.refresh(customer_id)

    async def explain_here(self, customer_id: str) -> ReplicaModel:
        """What this replica has of a customer."""
        return await self.local.explain(customer_id)

    async def lend_here(self, customer_id: str) -> Loan | None:
        """This replica's model of a customer, for another one that cannot have it from the store."""
        return await self.local.lend(customer_id)

    async def usage_here(self, max_top: int) -> ReplicaUsage:
        """What this replica knows of who asks."""
        return await self.local.usage(max_top)


def _customer() -> str:
    """The customer of the request metadata, or of the handle's options."""
    customer_id: str = serve.get_multiplexed_model_id()
    return customer_id
