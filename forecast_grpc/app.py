"""The composition root: settings -> store -> loader -> engine -> service -> Serve application.

`forecast_grpc.app:app` is what `serve run`, a Serve config file and `anyscale service deploy` import.
"""

import time
from functools import partial
from typing import Any

import ray
from ray.serve import Application, deployment
from ray.serve.config import AutoscalingConfig, AutoscalingPolicy, BackpressureConfig, RequestRouterConfig
from ray.serve.schema import LoggingConfig

from forecast_grpc import artefact, machine
from forecast_grpc.administration import Administration
from forecast_grpc.bulk import BulkEngine
from forecast_grpc.config import Settings
from forecast_grpc.domain import RequestLimits
from forecast_grpc.engine import Engine
from forecast_grpc.fleet import LocalModels, RayFleet, borrow
from forecast_grpc.items import BulkLimits
from forecast_grpc.loading import AccessLog, Handover, HotSet, LoadLimits, ModelCache, ModelLoader
from forecast_grpc.loading.ray_notes import RayNotes
from forecast_grpc.models.graphs import SESSIONS
from forecast_grpc.names import DEPLOYMENT_NAME
from forecast_grpc.registry import Registry
from forecast_grpc.routing.haproxy import haproxy_enabled
from forecast_grpc.routing.router import CUSTOMER_ROUTER
from forecast_grpc.scaling import Policy
from forecast_grpc.service import ForecastingService, GetModel, Parts
from forecast_grpc.store import open_store
from forecast_grpc.telemetry import TagValues, Telemetry
from forecast_grpc.telemetry.ray_sink import RayMetrics, log_writer
from forecast_grpc.trust import Trust
from forecast_grpc.usage import Machine, Memory, ReplicaUsage

_LOOK_BACK_S = 20.0
"""Seconds over which the load is averaged before it says how many replicas there ought to be."""


def app(settings: Settings) -> Application:
    """The Serve application. Ray fills `settings` from the `args` of a config file."""
    service = deployment(
        name=DEPLOYMENT_NAME,
        **_replicas(settings),
        max_ongoing_requests=settings.max_ongoing_requests,
        max_queued_requests=settings.max_queued_requests,
        ray_actor_options={"num_cpus": settings.num_cpus_per_replica},
        request_router_config=_router_config(),
        backpressure_config=BackpressureConfig(status_code=429, retry_after_s=1),
        # Our own line stands for each request: Ray's would say less and cost more.
        logging_config=LoggingConfig(enable_access_log=False, log_level="WARNING"),
    )(ForecastingService)
    application: Application = service.bind(settings, compose)
    return application


def _replicas(settings: Settings) -> dict[str, Any]:
    """How many there are: always so many, or as many as the load asks for."""
    if settings.max_replicas is None:
        return {"num_replicas": settings.num_replicas}
    return {
        "autoscaling_config": AutoscalingConfig(
            min_replicas=settings.num_replicas,
            max_replicas=settings.max_replicas,
            target_ongoing_requests=settings.target_ongoing_requests,
            upscale_delay_s=settings.upscale_delay_s,
            downscale_delay_s=settings.downscale_delay_s,
            look_back_period_s=_LOOK_BACK_S,
            policy=AutoscalingPolicy(  # type: ignore[no-untyped-call]
                policy_function=f"{Policy.__module__}:{Policy.__name__}",
                policy_kwargs={"target_busy_cores": settings.target_busy_cores},
            ),
        )
    }


def compose(settings: Settings, replica: str, get_model: GetModel) -> Parts:
    """Puts the parts of one replica together; runs in the replica."""
    SESSIONS.limit(settings.max_onnx_bytes)
    telemetry = Telemetry(
        sink=RayMetrics(),
        log=log_writer(replica),
        log_requests=settings.log_requests,
        facts={"replica": replica},
        gauges=lambda: _gauges(cache, loader),
    )
    cache = ModelCache(
        settings.max_warm_bytes,
        pinned=frozenset(settings.pinned),
        on_evict=lambda slot: telemetry.evicted(time.monotonic() - slot.used_at),
    )
    store = open_store(
        settings.store,
        timeout_s=settings.store_timeout_s,
        pickles=settings.allow_pickles,
        max_concurrent=settings.max_concurrent_loads + settings.max_concurrent_refreshes,
    )
    decode = partial(artefact.decode, trust=_trust(settings))
    fleet = RayFleet()
    loader = ModelLoader(
        store=store,
        decode=partial(decode, to_serve=True),
        cache=cache,
        telemetry=telemetry,
        limits=_load_limits(settings),
        borrow=partial(borrow, fleet),
    )
    hot = HotSet(loader=loader, cache=cache, telemetry=telemetry, get_model=get_model)
    engine = Engine(replica=replica, limits=_request_limits(settings), hot=hot, telemetry=telemetry)
    return Parts(
        engine=engine,
        bulk=BulkEngine(
            engine=engine,
            limits=_bulk_limits(settings),
            limit_s=settings.request_timeout_s,
            max_loads=settings.max_concurrent_loads,
            patience_s=settings.stream_stall_timeout_s,
        ),
        models=Administration(
            mode=settings.model_service,
            registry=Registry(store, decode),
            fleet=fleet,
            telemetry=telemetry,
            limit_s=settings.request_timeout_s,
        ),
        local=LocalModels(
            replica=replica,
            loader=loader,
            journal=telemetry.journal,
            usage=partial(_usage, replica, engine.accesses, cache, settings),
        ),
        handover=Handover(
            notes=RayNotes(settings.store),
            replica=replica,
            top=engine.accesses.top,
            interval_s=settings.handover_interval_s,
        ),
    )


def _trust(settings: Settings) -> Trust:
    return Trust(
        allow_pickles=settings.allow_pickles,
        pickle_digests=frozenset(settings.pickle_digests),
        public_keys=settings.trusted_keys,
    )


def _router_config() -> RequestRouterConfig:
    """Affinity in Ray's router. Behind HAProxy, which never asks it, Ray refuses a router that is not its own."""
    return (
        RequestRouterConfig()
        if haproxy_enabled()
        else RequestRouterConfig.model_validate({"request_router_class": CUSTOMER_ROUTER})
    )


def _load_limits(settings: Settings) -> LoadLimits:
    return LoadLimits(
        max_concurrent=settings.max_concurrent_loads,
        max_concurrent_refreshes=settings.max_concurrent_refreshes,
        max_waiting=settings.max_waiting_loads,
        store_timeout_s=settings.store_timeout_s,
        request_timeout_s=settings.request_timeout_s,
        refresh_interval_s=settings.refresh_interval_s,
        not_found_ttl_s=settings.not_found_ttl_s,
        failed_ttl_s=settings.failed_ttl_s,
        max_remembered_failures=settings.max_remembered_failures,
    )


def _request_limits(settings: Settings) -> RequestLimits:
    return RequestLimits(
        max_sequence_length=settings.max_sequence_length,
        max_horizon=settings.max_horizon,
        max_quantile_levels=settings.max_quantile_levels,
        max_covariates=settings.max_covariates,
        max_covariate_values=settings.max_covariate_values,
    )


def _usage(
    replica: str, accesses: AccessLog, cache: ModelCache, settings: Settings, max_top: int
) -> ReplicaUsage:
    """What this replica knows of who asks, and of what there is to spend."""
    return accesses.usage(
        replica,
        memory=Memory(
            hot_models=cache.hot_count,
            hot_bytes=cache.hot_bytes,
            warm_bytes=cache.warm_bytes,
            pinned_bytes=cache.pinned_bytes,
            max_hot_models=settings.max_hot_models,
            max_warm_bytes=settings.max_warm_bytes,
            process_bytes=machine.resident_bytes(),
        ),
        machine=Machine(
            node=ray.get_runtime_context().get_node_id(),
            cores=machine.cores(aside=settings.replica_cores),
            memory_bytes=machine.memory_bytes(),
        ),
        max_top=max_top,
    )


def _bulk_limits(settings: Settings) -> BulkLimits:
    return BulkLimits(
        item=_request_limits(settings),
        max_batch_items=settings.max_batch_items,
        max_batch_values=settings.max_batch_values,
        max_stream_items=settings.max_stream_items,
    )


def _gauges(cache: ModelCache, loader: ModelLoader) -> dict[tuple[str, TagValues], float]:
    """What is in memory at this moment."""
    return {
        ("models", (("tier", "hot"),)): cache.hot_count,
        ("models", (("tier", "warm"),)): cache.warm_count,
        ("models", (("tier", "pinned"),)): cache.pinned_count,
        ("model_bytes", (("tier", "hot"),)): cache.hot_bytes,
        ("model_bytes", (("tier", "warm"),)): cache.warm_bytes,
        ("model_bytes", (("tier", "pinned"),)): cache.pinned_bytes,
        ("remembered_failures", ()): loader.remembered_failures,
        ("loads_in_flight", ()): loader.loads_in_flight,
        ("refreshes_in_flight", ()): loader.refreshes_in_flight,
    }
