"""What the running service does while load comes: new versions, and strangers."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

from forecast_grpc.cli import _load
from forecast_grpc.store import FolderStore
from tests.load import program
from tests.service import RunningService, eventually
from tests.stores import publisher, trend

CUSTOMERS, REPLICAS = 6, 3


def sent(service: RunningService, **options: Any) -> dict[str, Any]:
    """What the load generator says of its load."""
    dashed = {key.replace("_", "-"): value for key, value in options.items()}
    return _load.run(program(), {"address": service.grpc_address, **dashed})


def test_new_versions_come_without_an_error(service: RunningService) -> None:
    """At 200 requests a second new versions are served soon, and nobody waits for one.

    On a busy machine some requests go to another replica than their customer's, which loads the model.
    """
    store, names = FolderStore(service.store), [f"fresh-{number}" for number in range(CUSTOMERS)]
    for name in names:
        store.publish(name, publisher(trend(1.0)))
    asked = {"customers": "fresh-%d", "count": CUSTOMERS, "tiers": "true"}
    sent(service, requests=100 * CUSTOMERS, **asked)
    with ThreadPoolExecutor(1) as pool:
        load = pool.submit(sent, service, rate=200, duration="5s", **asked)
        before = service.grpc(None, names[0]).forecast
        for name in names:
            store.publish(name, publisher(trend(2.0)))
        eventually(lambda: all(service.grpc(None, name).forecast != before for name in names))
        result = load.result()
    assert result["outcomes"] == {"OK": result["requests"]}
    assert result["latency_by_tier_ms"].get("cold", {"count": 0})["count"] <= (REPLICAS - 1) * CUSTOMERS


def test_strangers_evict_nobody(service: RunningService) -> None:
    """A thousand unknown customers are refused, each for being unknown, and models in memory stay there."""
    store, names = FolderStore(service.store), [f"known-{number}" for number in range(CUSTOMERS)]
    for name in names:
        store.publish(name, publisher(trend(1.0)))
        assert service.grpc(None, name).code == "OK"
    result = sent(service, customers="stranger-%d", count=1_000, order="turn", requests=1_000)
    assert result["outcomes"] == {"NOT_FOUND": 1_000}
    tiers = {service.grpc(None, name).metadata["forecast-cache"] for name in names}
    assert tiers <= {"hot", "warm"}
