"""forecast-grpc: one forecasting model per customer, served from one small fleet on Ray Serve.

`forecast_grpc.publish(store, customer, model)` puts a model that was fitted elsewhere into a store: see
`forecast_grpc.convert`.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from forecast_grpc.convert.dispatch import publish

__all__ = ["__version__", "publish"]

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:  # noqa: ANN401 - what a module offers is of any type
    """`publish`, when it is asked for: a replica imports this package too, and has no use for converters."""
    if name != "publish":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from forecast_grpc.convert.dispatch import publish  # noqa: PLC0415

    return publish
