"""Graphs in the ONNX format, run by ONNX Runtime: what trees, networks and whole pipelines can be exported to."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from forecast_grpc.domain import FloatArray, StoredArray
from forecast_grpc.models.graphs import Seat, check_graph
from forecast_grpc.models.parameters import bounded_horizon, horizon_bound, scalars, stored, vector
from forecast_grpc.models.residuals import NAME, ResidualQuantiles

_INPUT_TYPES: Mapping[str, np.dtype[np.floating]] = {
    "tensor(float)": np.dtype(np.float32),
    "tensor(double)": np.dtype(np.float64),
}

_COUNT, _TAIL = "covariate_count", "covariate_tail"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Onnx:
    """`graph(window[-L:])`: one input of shape (1, L), a first output of shape (1, H).

    With covariates there is a second input, of shape (1, K, P + H): the last P values of each before the first of
    the H steps, and those of the steps. A horizon shorter than H leaves the last ones unknown: they are taken to
    be as the last known one, which makes no difference where no step looks at what is ahead of it.

    Horizons beyond H are reached block by block, each on the forecasts before it; with H = 1 the graph is an
    autoregression. The graph's session is opened when it is first asked, and again after it was closed for want
    of room: see `graphs.Sessions`.
    """

    family: ClassVar[str] = "onnx"
    graph: NDArray[np.uint8]
    """A ModelProto's bytes, shape (n,)."""

    tail: FloatArray
    """The last L values of the training series, shape (L,)."""

    residuals: ResidualQuantiles
    """Quantiles of the errors."""

    max_horizon: int | None = None
    """The longest horizon: H where the graph forecasts several steps at once; None where it forecasts one."""

    covariate_tail: FloatArray | None = None
    """The end of the covariates in training, shape (K, P); None for a graph without the second input."""

    _seat: Seat = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_seat", Seat(self.graph))

    @property
    def min_length(self) -> int:
        """L, the length of the graph's input, or P where that is more."""
        past = 0 if self.covariate_tail is None else self.covariate_tail.shape[1]
        return max(self.tail.size, past)

    def forecast(
        self,
        window: FloatArray,
        horizon: int,
        position: int | None = None,  # noqa: ARG002
        covariates: FloatArray | None = None,
    ) -> FloatArray:
        """The point forecast, shape (horizon,)."""
        lags = self.tail.size
        path = window[-lags:]
        while path.size < lags + horizon:
            known = None if covariates is None else self._known(covariates, path.size - lags)
            block = self._block(path[-lags:], known)
            path = np.concatenate([path, block.ravel().astype(np.float64)])
        return path[lags : lags + horizon]

    def _block(self, lagged: FloatArray, known: FloatArray | None) -> Any:  # noqa: ANN401 - whatever a graph gives
        """What the graph gives after L observations and with covariates of shape (K, P + H)."""
        session = self._seat.session()
        values = [lagged] if known is None else [lagged, known]
        feed = {
            each.name: value[np.newaxis].astype(_INPUT_TYPES[each.type])
            for each, value in zip(session.get_inputs(), values, strict=True)
        }
        (block,) = session.run([session.get_outputs()[0].name], feed)
        return block

    def _known(self, covariates: FloatArray, done: int) -> FloatArray:
        """What the graph is told of the block after `done` steps."""
        assert self.covariate_tail is not None  # noqa: S101 - covariates come to a model that was fitted with them
        width = self.covariate_tail.shape[1] + (self.max_horizon or 1)
        known = covariates[:, done : done + width]
        return np.pad(known, ((0, 0), (0, width - known.shape[1])), mode="edge")

    def close(self) -> None:
        """Gives the session back; the next forecast opens another. Safe to call twice."""
        self._seat.close()

    def quantile_offsets(self, levels: tuple[float, ...], horizon: int) -> FloatArray:
        """As `ResidualQuantiles.at`."""
        return self.residuals.at(levels, horizon)

    def arrays(self) -> dict[str, StoredArray]:
        """`graph`, `tail`, the quantiles, and where there are any `max_horizon` and what belongs to covariates."""
        arrays: dict[str, StoredArray] = {
            "graph": self.graph,
            "tail": self.tail,
            NAME: self.residuals.table,
        }
        arrays |= horizon_bound(self.max_horizon)
        if self.covariate_tail is not None:
            arrays[_COUNT] = np.array([float(len(self.covariate_tail))])
            arrays |= {_TAIL: self.covariate_tail} if self.covariate_tail.size else {}
        return arrays

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, StoredArray]) -> Self:
        """As `Forecaster.from_arrays`; the graph is checked and run once.

        Raises UnsupportedGraph where it holds what is not served, or there is no ONNX Runtime.
        """
        graph = stored(arrays, "graph", 1)
        if graph.dtype != np.uint8:
            raise ValueError(f"the parameter graph is of {graph.dtype}, not of bytes")
        graph = graph.astype(np.uint8, copy=False)
        tail, residuals = vector(arrays, "tail"), ResidualQuantiles.from_arrays(arrays)
        check_graph(graph.tobytes())
        model = cls(
            graph=graph,
            tail=tail,
            residuals=residuals,
            max_horizon=bounded_horizon(arrays),
            covariate_tail=_covariate_tail(arrays),
        )
        model.check_shapes()
        return model

    def check_shapes(self, width: int | None = None) -> int:
        """Runs the graph once on the tail; returns H, the steps that it forecasts at once.

        `width` is P + H, where H is not known yet. Raises ValueError where the graph does not take one window, and
        the covariates if there are any, or gives no forecast.
        """
        inputs, known = self._seat.session().get_inputs(), None
        if self.covariate_tail is not None:
            count, past = self.covariate_tail.shape
            known = np.zeros((count, width or past + (self.max_horizon or 1)))
        if len(inputs) != 1 + (known is not None) or any(each.type not in _INPUT_TYPES for each in inputs):
            raise ValueError(f"the graph must have {_inputs_text(known)}")
        try:
            block = self._block(self.tail, known)
        except Exception as exc:  # The runtime's errors have no common class of their own.
            raise ValueError(f"the graph does not take {_given_text(self.tail, known)}") from exc
        if not isinstance(block, np.ndarray) or block.dtype.kind != "f" or not block.size:
            raise ValueError("the graph's first output must be floats: a forecast")
        if block.size != max(block.shape):
            raise ValueError(f"the graph's first output has the shape {block.shape}, not (1, H)")
        return block.size


def _inputs_text(known: FloatArray | None) -> str:
    if known is None:
        return "one input of floats: a window"
    return "two inputs of floats: a window, and covariates"


def _given_text(lagged: FloatArray, known: FloatArray | None) -> str:
    covariates = "" if known is None else f" and {known.shape[0]} covariates of {known.shape[1]}"
    return f"a window of {lagged.size} values{covariates}"


def _covariate_tail(arrays: Mapping[str, StoredArray]) -> FloatArray | None:
    if _COUNT not in arrays:
        return None
    (count,) = scalars(arrays, _COUNT, 1)
    if _TAIL not in arrays:
        return np.empty((int(count), 0))
    tail = stored(arrays, _TAIL, 2).astype(np.float64, copy=False)
    if len(tail) != count:
        raise ValueError(f"{_TAIL} holds {len(tail)} covariates instead of {count:g}")
    return tail
