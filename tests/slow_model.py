"""Pickled models that answer when they are told to: for calls to be under way while something happens."""

import sys
import time
import uuid
from pathlib import Path
from typing import Any

from ray import cloudpickle

CUSTOMERS = tuple(f"slow-{number}" for number in range(7))
"""Whose models they are: one each, since a pickled model answers one call at a time."""

_POLL_S = 0.01


class SlowModel:
    """Forecasts nothing but ones, as long as the gate is not closed."""

    def __init__(self, gate: Path, waiting: Path) -> None:
        self.gate, self.waiting = gate, waiting

    def predict(self, _sequence: list[float]) -> list[float]:
        """Waits while the gate is closed, and leaves a mark meanwhile."""
        mark = self.waiting / uuid.uuid4().hex
        mark.touch()
        while self.gate.exists():
            time.sleep(_POLL_S)
        mark.unlink()
        return [1.0, 1.0]


class Gate:
    """Holds up the models of `CUSTOMERS` in a store."""

    def __init__(self, store: Path) -> None:
        """Puts the models into the store."""
        self.store = store
        """The store."""
        self._closed, self._waiting = store.with_name("closed"), store.with_name("waiting")
        self._waiting.mkdir()
        pickling: Any = cloudpickle
        # By value: a replica knows nothing of the tests.
        pickling.register_pickle_by_value(sys.modules[__name__])
        for customer in CUSTOMERS:
            (store / customer).mkdir()
            model = pickling.dumps(SlowModel(self._closed, self._waiting))
            (store / customer / "model.pkl").write_bytes(model)

    @property
    def waiting(self) -> int:
        """Forecasts that wait at the gate."""
        return len(list(self._waiting.iterdir()))

    def close(self) -> None:
        """From now on forecasts wait."""
        self._closed.touch()

    def open(self) -> None:
        """Those that wait go on."""
        self._closed.unlink(missing_ok=True)
