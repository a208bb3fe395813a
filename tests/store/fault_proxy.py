"""A proxy in front of an object store that notes every request and can fail each in a way of its own."""

import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum, auto
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "content-length"}


class Fault(Enum):
    """What can happen to a request."""

    NONE = auto()
    """It is answered."""

    ERROR = auto()
    """500, without the store having seen it."""

    DENIED = auto()
    """403, as S3 says it."""

    RESET = auto()
    """The connection ends before there is an answer; the store has not seen the request."""

    HANG = auto()
    """No answer, until the client gives up."""

    TRUNCATED = auto()
    """The answer's body ends half-way, and so does the connection."""

    LOST = auto()
    """The store does what it is asked to, but the answer is lost: the client gets a 500."""

    CONFLICT = auto()
    """409, as S3 says it to one of two writers at once, though the write has not been done."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """One request that came to the proxy."""

    method: str
    """GET, PUT, ..."""

    path: str
    """With the query."""

    conditional: bool
    """Whether it had a condition on the etag."""

    signed: bool
    """Whether it had credentials."""


class FaultProxy(ThreadingHTTPServer):
    """Forwards to `upstream`. `fault` is for every request, `plan` for the next ones, first come first served."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, upstream: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        parts = urlsplit(upstream)
        self.host, self.port, self.path = parts.hostname or "", parts.port or 80, parts.path
        self.fault = Fault.NONE
        self.delay_s = 0.0
        """How long a request that is answered takes more, in seconds."""
        self.plan: deque[Fault] = deque()
        self.seen: list[Seen] = []
        self.stopping = threading.Event()

    @property
    def endpoint(self) -> str:
        """Where the proxy listens, with the path of what it stands for."""
        return f"http://127.0.0.1:{self.server_port}{self.path}"

    def next_fault(self) -> Fault:
        """What is to happen to the request that has just come."""
        try:
            return self.plan.popleft()
        except IndexError:
            return self.fault

    def requests(self) -> list[str]:
        """The methods of the requests since the last call."""
        seen, self.seen = self.seen, []
        return [each.method for each in seen]

    def handle_error(self, request: object, client_address: object) -> None:
        """Clients that give up on us are the point."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: FaultProxy

    def _serve(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        conditional = "If-Match" in self.headers or "If-None-Match" in self.headers
        signed = "Authorization" in self.headers
        self.server.seen.append(
            Seen(method=self.command, path=self.path, conditional=conditional, signed=signed)
        )
        fault = self.server.next_fault()
        if fault is Fault.RESET:
            self.close_connection = True
        elif fault is Fault.HANG:
            self.server.stopping.wait(60)
            self.close_connection = True
        elif fault is Fault.ERROR:
            self._answer(500, {}, b"")
        elif fault is Fault.DENIED:
            self._answer(403, {}, b"<Error><Code>AccessDenied</Code></Error>")
        elif fault is Fault.CONFLICT:
            self._answer(409, {}, b"<Error><Code>ConditionalRequestConflict</Code></Error>")
        else:
            self.server.stopping.wait(self.server.delay_s)
            self._forward(body, fault)

    do_GET = do_PUT = do_HEAD = do_DELETE = do_POST = _serve  # noqa: N815 - the names that the base class calls

    def _forward(self, body: bytes, fault: Fault) -> None:
        upstream = HTTPConnection(self.server.host, self.server.port, timeout=30)
        try:
            upstream.request(self.command, self.path, body, dict(self.headers.items()))
            answer = upstream.getresponse()
            data = answer.read()
        finally:
            upstream.close()
        headers = {name: value for name, value in answer.getheaders() if name.lower() not in HOP_BY_HOP}
        if fault is Fault.LOST:
            self._answer(500, {}, b"")
        elif self.command == "HEAD":
            self._answer(answer.status, headers, b"", length=int(answer.getheader("Content-Length") or 0))
        elif fault is Fault.TRUNCATED and data:
            self._answer(answer.status, headers, data[: len(data) // 2], length=len(data))
            self.close_connection = True
        else:
            self._answer(answer.status, headers, data)

    def _answer(self, status: int, headers: dict[str, str], body: bytes, length: int | None = None) -> None:
        self.send_response(status)
        for name, value in headers.items():
            if name.lower() not in {"date", "server"}:
                self.send_header(name, value)
        if status != 304:
            self.send_header("Content-Length", str(len(body) if length is None else length))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """Says nothing."""


@contextmanager
def faulty(upstream: str) -> Iterator[FaultProxy]:
    """The proxy, while it listens."""
    proxy = FaultProxy(upstream)
    thread = threading.Thread(target=proxy.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield proxy
    finally:
        proxy.stopping.set()
        proxy.shutdown()
        proxy.server_close()
