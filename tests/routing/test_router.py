"""The router behind Ray's Python proxy: a customer is what it routes by."""

from types import SimpleNamespace
from typing import Any

from forecast_grpc.routing.router import CUSTOMER_ROUTER, CustomerRouter


def routing_key(customer: str, *, session: str = "", request: str = "r") -> str | None:
    """The key of a request with this metadata; the method needs no running router."""
    metadata = SimpleNamespace(multiplexed_model_id=customer, session_id=session, internal_request_id=request)
    pending: Any = SimpleNamespace(metadata=metadata)
    router: Any = CustomerRouter.__new__(CustomerRouter)
    key: str | None = router._routing_key(pending)
    return key


def test_a_request_is_routed_by_its_customer() -> None:
    """Whatever else a request says of itself, its customer decides."""
    assert routing_key("c", session="s", request="r") == "c"


def test_a_request_without_a_customer_is_spread() -> None:
    """Health checks name no customer: each goes its own way."""
    assert routing_key("", request="r1") != routing_key("", request="r2")


def test_the_path_that_serve_imports_is_the_class() -> None:
    """`RequestRouterConfig` names the class by a path, which nothing else checks before a replica starts."""
    module, _, name = CUSTOMER_ROUTER.partition(":")
    assert (module, name) == (CustomerRouter.__module__, CustomerRouter.__qualname__)
