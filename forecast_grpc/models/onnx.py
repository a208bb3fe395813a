"""Graphs in the ONNX format, run by ONNX Runtime: what trees, networks and whole pipelines can be exported to."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from forecast_grpc.domain import FloatArray, StoredArray
from forecast_grpc.models.graphs import Seat, check_graph
from forecast_grpc.models.parameters import bounded_horizon, stored, vector
from forecast_grpc.models.residuals import NAME, ResidualQuantiles

_INPUT_TYPES: Mapping[str, np.dtype[np.floating]] = {
    "tensor(float)": np.dtype(np.float32),
    "tensor(double)": np.dtype(np.float64),
}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Onnx:
    """`graph(window[-L:])`: one input of shape (1, L), a first output of shape (1, H).

    Horizons beyond H are reached block by block, each on the forecasts before it; with H = 1 the graph is an
    autoregression. The graph's session is opened when it is first asked, and again after it was closed for want
    of room: see `graphs.Sessions`.
    """

    family: ClassVar[str] = "onnx"
    covariate_tail: ClassVar[FloatArray | None] = None

    graph: NDArray[np.uint8]
    """A ModelProto's bytes, shape (n,)."""

    tail: FloatArray
    """The last L values of the training series, shape (L,)."""

    residuals: ResidualQuantiles
    """Quantiles of the errors."""

    max_horizon: int | None = None
    """The longest horizon: H where the graph forecasts several steps at once; None where it forecasts one."""

    _seat: Seat = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_seat", Seat(self.graph))

    @property
    def min_length(self) -> int:
        """L, the length of the graph's input."""
        return self.tail.size

    def forecast(
        self,
        window: FloatArray,
        horizon: int,
        position: int | None = None,  # noqa: ARG002
        covariates: FloatArray | None = None,  # noqa: ARG002
    ) -> FloatArray:
        """The point forecast, shape (horizon,)."""
        session, lags = self._seat.session(), self.tail.size
        (given,) = session.get_inputs()
        dtype, path = _INPUT_TYPES[given.type], window[-lags:]
        while path.size < lags + horizon:
            lagged = path[np.newaxis, -lags:].astype(dtype)
            (block,) = session.run([session.get_outputs()[0].name], {given.name: lagged})
            path = np.concatenate([path, block.ravel().astype(np.float64)])
        return path[lags : lags + horizon]

    def close(self) -> None:
        """Gives the session back; the next forecast opens another. Safe to call twice."""
        self._seat.close()

    def quantile_offsets(self, levels: tuple[float, ...], horizon: int) -> FloatArray:
        """As `ResidualQuantiles.at`."""
        return self.residuals.at(levels, horizon)

    def arrays(self) -> dict[str, StoredArray]:
        """`graph`, `tail`, the quantiles, and `max_horizon` where there is one."""
        arrays: dict[str, StoredArray] = {
            "graph": self.graph,
            "tail": self.tail,
            NAME: self.residuals.offsets,
        }
        if self.max_horizon is not None:
            arrays["max_horizon"] = np.array([float(self.max_horizon)])
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
        model = cls(graph=graph, tail=tail, residuals=residuals, max_horizon=bounded_horizon(arrays))
        model.check_shapes()
        return model

    def check_shapes(self) -> int:
        """Runs the graph once on the tail; returns H, the steps that it forecasts at once.

        Raises ValueError where it does not take one window, or gives no forecast.
        """
        session = self._seat.session()
        inputs, outputs = session.get_inputs(), session.get_outputs()
        if len(inputs) != 1 or inputs[0].type not in _INPUT_TYPES:
            raise ValueError("the graph must have one input of floats: a window")
        lagged = self.tail[np.newaxis].astype(_INPUT_TYPES[inputs[0].type])
        try:
            (block,) = session.run([outputs[0].name], {inputs[0].name: lagged})
        except Exception as exc:  # The runtime's errors have no common class of their own.
            raise ValueError(f"the graph does not take a window of {self.tail.size} values") from exc
        if not isinstance(block, np.ndarray) or block.dtype.kind != "f" or not block.size:
            raise ValueError("the graph's first output must be floats: a forecast")
        if block.size != max(block.shape):
            raise ValueError(f"the graph's first output has the shape {block.shape}, not (1, H)")
        return block.size
