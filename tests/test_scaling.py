"""How many replicas the load asks for."""

import time
from types import SimpleNamespace
from typing import Any

import pytest
from ray.serve.config import AutoscalingPolicy

from forecast_grpc.app import app
from forecast_grpc.config import Settings
from forecast_grpc.scaling import BUSY, Busyness, Policy


def wanted(requests: float = 0.0, **busy: float) -> float:
    """Replicas wanted with so many requests under way, and replicas so busy; 32 and 0.5 are a replica's share."""
    config: Any = SimpleNamespace(get_target_ongoing_requests=lambda: 32.0)
    context: Any = SimpleNamespace(
        target_num_replicas=1, total_num_requests=requests, aggregated_metrics={BUSY: busy}, config=config
    )
    replicas, _ = Policy(target_busy_cores=0.5)(context)
    return replicas


def test_busy_replicas_ask_for_more_whatever_waits() -> None:
    """Warm forecasts never wait: no request is under way when somebody looks, and the processor tells all."""
    assert wanted(a=0.9) == pytest.approx(1.8)
    assert wanted(a=1.0, b=1.0) == pytest.approx(4.0)


def test_requests_that_wait_ask_for_more_whoever_is_idle() -> None:
    """A hundred requests that wait for the store take no processor."""
    assert wanted(96.0, a=0.01, b=0.01) == pytest.approx(3.0)


def test_nothing_to_do_asks_for_none() -> None:
    """Ray keeps the fewest that there may be."""
    assert wanted(a=0.0) == 0.0


def test_nobody_has_told_yet() -> None:
    """Before the first report the requests alone decide."""
    context: Any = SimpleNamespace(
        target_num_replicas=1,
        total_num_requests=64.0,
        aggregated_metrics=None,
        config=SimpleNamespace(get_target_ongoing_requests=lambda: 32.0),
    )
    assert Policy(target_busy_cores=0.5)(context) == (2.0, {})


def test_a_busy_process_is_busy_and_an_idle_one_is_not() -> None:
    """A process that works for a while has had about a core; one that sleeps next to none."""
    busyness = Busyness()
    end = time.process_time() + 0.2
    while time.process_time() < end:
        pass
    busy = busyness.cores()
    time.sleep(0.2)
    assert 0.0 <= busyness.cores() < busy <= 1.5


def test_the_number_follows_the_load_only_where_it_may() -> None:
    """Without `max_replicas` a fixed number, with it Ray's autoscaling by our policy, importable by its name."""
    fixed = app(Settings())._bound_deployment._deployment_config
    assert (fixed.num_replicas, fixed.autoscaling_config) == (1, None)
    settings = Settings(num_replicas=2, max_replicas=8, target_busy_cores=0.5)
    config = app(settings)._bound_deployment._deployment_config.autoscaling_config
    assert config is not None
    assert (config.min_replicas, config.max_replicas) == (2, 8)
    policy = config.policy
    assert isinstance(policy, AutoscalingPolicy)
    assert policy.policy_kwargs == {"target_busy_cores": 0.5}
    assert policy.get_policy() is not None
