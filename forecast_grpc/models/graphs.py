"""ONNX graphs: what may be in one, and the sessions of ONNX Runtime that run them.

A graph is data, but it is run by a large library, so that what it may hold is bounded before that library sees it:
operators of the two standard domains only, no loops, nothing random, no file beside it. ONNX Runtime is imported
with the first graph, and only then.
"""

from collections import OrderedDict
from collections.abc import Iterator
from threading import RLock
from typing import Any

from numpy.typing import NDArray

MAX_GRAPH_BYTES = 64 * 2**20
"""The largest graph that is loaded."""

DOMAINS = frozenset({"", "ai.onnx", "ai.onnx.ml"})
"""The operators that a graph may use, by their domain: ONNX's own. Others are a runtime's own, or custom code."""

REFUSED = frozenset({"Bernoulli", "Loop", "Multinomial", "Scan"})
"""Operators that are refused: with loops a graph need not end, and with chance no forecast is repeatable."""

_REFUSED_PREFIX = "Random"
_FATAL = 4


class UnsupportedGraph(ValueError):
    """A graph that cannot be served here. The message is a sentence for its publisher."""


def check_graph(graph: bytes) -> None:
    """Raises UnsupportedGraph where the graph holds what is not allowed, ValueError where it is no graph."""
    if len(graph) > MAX_GRAPH_BYTES:
        raise UnsupportedGraph(f"The graph has {len(graph)} bytes; at most {MAX_GRAPH_BYTES} are loaded.")
    onnx, model = _onnx(), parse_graph(graph)
    for opset in model.opset_import:
        _require(opset.domain in DOMAINS, f"operators of the domain {opset.domain}")
    for message in _messages(model):
        if isinstance(message, onnx.NodeProto):
            _check_node(message)
        elif isinstance(message, onnx.TensorProto):
            outside = message.data_location == onnx.TensorProto.EXTERNAL or message.external_data
            _require(not outside, "weights in another file")


def parse_graph(graph: bytes) -> Any:  # noqa: ANN401 - an onnx.ModelProto
    """The parsed graph. Raises ValueError where it is none, UnsupportedGraph where onnx is not installed."""
    try:
        return _onnx().load_model_from_string(graph)
    except UnsupportedGraph:
        raise
    except Exception as exc:  # The parser's errors are of no public class.
        raise ValueError("the graph is damaged") from exc


def _check_node(node: Any) -> None:  # noqa: ANN401 - a message of onnx, which is not imported here
    _require(node.domain in DOMAINS, f"operators of the domain {node.domain}")
    refused = node.op_type in REFUSED or node.op_type.startswith(_REFUSED_PREFIX)
    _require(not refused, f"the operator {node.op_type}")


def _require(allowed: bool, what: str) -> None:
    if not allowed:
        raise UnsupportedGraph(f"The graph has {what}, which is not served: see docs/publishing.md.")


def _messages(message: Any) -> Iterator[Any]:  # noqa: ANN401
    """A protobuf message and every message in it."""
    yield message
    for field, value in message.ListFields():
        if field.message_type is not None:
            for each in [value] if hasattr(value, "ListFields") else value:
                yield from _messages(each)


def open_session(graph: bytes) -> Any:  # noqa: ANN401 - an onnxruntime.InferenceSession
    """A session of one thread for a checked graph.

    Raises ValueError where the runtime cannot load it, UnsupportedGraph where there is no runtime.
    """
    runtime = _runtime()
    options = runtime.SessionOptions()
    # The default is a pool of threads for each session, which spin: a hundred models would have thousands.
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.execution_mode = runtime.ExecutionMode.ORT_SEQUENTIAL
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.inter_op.allow_spinning", "0")
    # An arena keeps what a run once needed, for each session.
    options.enable_cpu_mem_arena = options.enable_mem_pattern = False
    options.log_severity_level = _FATAL
    try:
        return runtime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    except Exception as exc:  # The runtime's errors have no common class of their own.
        raise ValueError("the runtime cannot load the graph") from exc


def _onnx() -> Any:  # noqa: ANN401
    try:
        import onnx  # noqa: PLC0415
    except ImportError as exc:
        raise UnsupportedGraph(_MISSING) from exc
    return onnx


def _runtime() -> Any:  # noqa: ANN401
    try:
        import onnxruntime  # noqa: PLC0415
    except ImportError as exc:
        raise UnsupportedGraph(_MISSING) from exc
    onnxruntime.disable_telemetry_events()
    return onnxruntime


_MISSING = (
    "The model is an ONNX graph, and ONNX Runtime is not installed here: install forecast-grpc[onnx] where it is"
    " served."
)


class Sessions:
    """The open sessions of a process, the least recently used closed first where they take too many bytes."""

    def __init__(self) -> None:
        self.max_bytes: int | None = None
        """Resident bytes that sessions may take, as far as we can tell; None for no limit. One always may."""
        self.resident_bytes = 0
        """Resident bytes of the open sessions, estimated from their graphs' sizes."""
        self._open: OrderedDict[int, tuple[Any, int]] = OrderedDict()
        # Reentrant: the collector may end a seat while its thread is in here.
        self._lock = RLock()

    def __len__(self) -> int:
        return len(self._open)

    def get(self, seat: "Seat") -> Any:  # noqa: ANN401
        """The session of this seat, opened where it has none. Raises as `open_session`."""
        with self._lock:
            found = self._open.get(id(seat))
            if found is not None:
                self._open.move_to_end(id(seat))
                return found[0]
            session = open_session(seat.graph.tobytes())
            size = session_bytes(seat.graph.size)
            self._open[id(seat)] = session, size
            self.resident_bytes += size
            self._shrink()
            return session

    def close(self, seat: "Seat") -> None:
        """Closes the session of this seat, if it has one."""
        with self._lock:
            _, size = self._open.pop(id(seat), (None, 0))
            self.resident_bytes -= size

    def limit(self, max_bytes: int) -> None:
        """Sets the budget, and closes what is beyond it."""
        with self._lock:
            self.max_bytes = max_bytes
            self._shrink()

    def _shrink(self) -> None:
        while self.max_bytes is not None and self.resident_bytes > self.max_bytes and len(self._open) > 1:
            _, (_, size) = self._open.popitem(last=False)
            self.resident_bytes -= size


_SESSION_BYTES = 100_000  # Measured: 86 KB for the smallest graph,
_BYTES_PER_GRAPH_BYTE = 6  # and for each byte of a graph 1.7 of a network, 5 to 5.7 of trees.


def session_bytes(graph_bytes: int) -> int:
    """Resident bytes of a session, estimated from its graph's size."""
    return _SESSION_BYTES + _BYTES_PER_GRAPH_BYTE * graph_bytes


SESSIONS = Sessions()
"""All sessions of this process. The application sets the budget."""


class Seat:
    """A graph's place among the sessions: it has a session while there is room, and gets another when asked."""

    def __init__(self, graph: NDArray[Any]) -> None:
        self.graph = graph
        """The checked graph, uint8 of shape (n,)."""
        # Its own reference: when the process ends, this module's names may be gone before its objects are.
        self._sessions = SESSIONS

    def session(self) -> Any:  # noqa: ANN401 - an onnxruntime.InferenceSession
        """The session, opened where there is none. Raises as `open_session`."""
        return self._sessions.get(self)

    def close(self) -> None:
        """Gives the session back, if there is one; safe to call twice."""
        self._sessions.close(self)

    def __del__(self) -> None:
        self.close()
