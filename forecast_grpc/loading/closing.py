"""Models that hold more than memory: a session, a connection, memory on a device."""

import logging
import weakref
from collections.abc import Callable
from dataclasses import dataclass

from forecast_grpc.domain import ServedModel

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True, weakref_slot=True)
class _Closing(ServedModel):
    """A model whose end can be noticed."""


def closed_after_use(model: ServedModel) -> ServedModel:
    """The model, with `close()` of its forecaster called once nobody uses it any more, if it has such a method.

    Python's own reference counts are the lease: the cache holds the model, and so does each request for as long as
    it works with it. The last to let go closes it, in whatever thread that happens; so `close()` is to be quick.
    It is called once, at the latest when the process ends. A model without `close` is returned as it is.
    """
    close = getattr(model.forecaster, "close", None)
    if close is None:
        return model
    closing = _Closing(metadata=model.metadata, forecaster=model.forecaster, nbytes=model.nbytes)
    weakref.finalize(closing, _close, close)
    return closing


def _close(close: Callable[[], None]) -> None:
    try:
        close()
    except Exception:
        # Raised from here it would only be printed, wherever the model happened to be let go.
        logger.exception("A model could not be closed.")
