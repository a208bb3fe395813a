"""Somebody else's object with a `predict`, as in Ray's tutorial: the only family whose models are code.

It is not among `FAMILIES`: nothing makes one because an artefact says so. Whoever does has asked the operator's
settings first: see `trust`. Nowhere else is anything unpickled.
"""

import inspect
import pickle
import pickletools
from collections.abc import Callable, Mapping
from threading import Lock
from typing import Any, ClassVar, Self

import numpy as np

from forecast_grpc.domain import FloatArray, StoredArray
from forecast_grpc.models.parameters import stored

NAME = "pickle"
"""The name of the stored array, and of the family."""


_NOT_LOADED = "cannot be loaded here, or has no method predict(sequence)"


class NotUsable(Exception):
    """What was unpickled does not do what a model must. The message says what, after the words "the model"."""


class PredictFailed(Exception):
    """`predict` has raised; the cause is what it raised."""


class Pickled:
    """An object whose `predict(sequence)` takes a list of floats and returns the forecast, nearest step first.

    It is unpickled, once, by the first forecast: so whatever it does then, it does in the thread of a forecast.
    """

    family: ClassVar[str] = NAME
    min_length: ClassVar[int] = 1
    max_horizon: ClassVar[int | None] = None
    covariate_tail: ClassVar[FloatArray | None] = None

    def __init__(self, payload: StoredArray) -> None:
        """`payload`: the pickle's bytes, shape (n,)."""
        self._payload = payload
        self._predict: Callable[..., Any] | None = None
        self._takes_horizon = False
        self._failure: Exception | None = None
        # Nobody has promised that `predict` may be called by several threads.
        self._lock = Lock()

    @property
    def tail(self) -> FloatArray:
        """Empty: where it goes on from without a sequence, the object knows itself."""
        return np.empty(0)

    def forecast(
        self,
        window: FloatArray,
        horizon: int,
        position: int | None = None,  # noqa: ARG002
        covariates: FloatArray | None = None,  # noqa: ARG002
    ) -> FloatArray:
        """What `predict` returns, shape (h,): h is `horizon` only where it takes one and `horizon` is not 0.

        **Runs code**, for as long as it likes, one call at a time: call it in a thread. Raises NotUsable where the
        object cannot be loaded or returns anything but finite numbers, PredictFailed where `predict` raises.
        """
        with self._lock:
            predict = self._loaded()
            options = {"horizon": horizon} if horizon and self._takes_horizon else {}
            try:
                result = predict(window.tolist(), **options)
            except BaseException as exc:
                # SystemExit too: a model must not end the replica.
                raise PredictFailed("the model's predict has failed") from exc
            return _checked(result)

    def quantile_offsets(self, levels: tuple[float, ...], horizon: int) -> FloatArray:  # noqa: ARG002
        """Raises NotUsable: nobody has measured its errors."""
        raise NotUsable("has no quantiles")

    def arrays(self) -> dict[str, StoredArray]:
        """`pickle`: the bytes."""
        return {NAME: self._payload}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, StoredArray]) -> Self:
        """As `Forecaster.from_arrays`. Runs nothing."""
        return cls(stored(arrays, NAME, 1))

    def _loaded(self) -> Callable[..., Any]:
        """The object's `predict`. What could not be loaded once is not tried again."""
        if self._failure is not None:
            raise NotUsable(_NOT_LOADED) from self._failure
        if self._predict is None:
            try:
                predict = pickle.loads(self._payload.tobytes()).predict  # noqa: S301 - the operator has allowed it
                self._takes_horizon = "horizon" in _parameters(predict)
            except BaseException as exc:
                # SystemExit too: a model must not end the replica.
                self._failure = PredictFailed(f"{type(exc).__name__}: {exc}")
                raise NotUsable(_NOT_LOADED) from exc
            self._predict = predict
        return self._predict


def _checked(result: Any) -> FloatArray:  # noqa: ANN401 - whatever the object returns
    try:
        point = np.array(result, np.float64)
    except BaseException as exc:
        # Numpy calls methods of the result, which may raise anything.
        raise NotUsable("returned something else than a list of numbers") from exc
    if point.ndim != 1 or not point.size or not np.isfinite(point).all():
        raise NotUsable("returned something else than a list of finite numbers")
    return point


def _parameters(call: Any) -> Mapping[str, Any]:  # noqa: ANN401 - whatever the pickle holds
    if not callable(call):
        raise TypeError("predict is no method")
    try:
        return inspect.signature(call).parameters
    except ValueError:
        # Written in C, and it does not say.
        return {}


def is_pickle(data: bytes) -> bool:
    """Whether the bytes are a pickle's. They are looked at, never run."""
    # Since protocol 2 a pickle starts with 0x80 and its protocol, and so may a safetensors file, with its
    # header's length. But there the upper bytes of the length follow, zero, and zero is no instruction.
    if data[:1] == b"\x80" and data[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05"):
        return data[2:3] not in (b"", b"\x00")
    try:
        instructions = sum(1 for _ in pickletools.genops(data))
    except Exception:  # noqa: BLE001  # Bytes that are no pickle may raise anything.
        return False
    return instructions > 1
