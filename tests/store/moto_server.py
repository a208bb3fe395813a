"""moto's S3 server in a process of its own: prints its port, and serves until its input ends.

moto checks the condition of a conditional write and writes in two steps, with other threads in between; S3 does
it in one. So the requests go through one at a time.
"""

import sys
import threading
from collections.abc import Iterable
from typing import TYPE_CHECKING

from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import WSGIRequestHandler, make_server

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment


class OneAtATime:
    """moto, with a lock in front."""

    def __init__(self) -> None:
        self._moto = DomainDispatcherApplication(create_backend_app)
        self._lock = threading.Lock()

    def __call__(self, environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        """Answers one request, the body at once."""
        with self._lock:
            answer: Iterable[bytes] = self._moto(environ, start_response)
            return list(answer)


class Quiet(WSGIRequestHandler):
    """Without a line on standard error for each request; connections are kept open, as S3 keeps them."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Says nothing."""


def main() -> None:
    """Serves on the port named, or on a free one."""
    port = int(sys.argv[1]) if len(sys.argv) > 1 else 0
    server = make_server("127.0.0.1", port, OneAtATime(), threaded=True, request_handler=Quiet)
    print(server.port, flush=True)  # noqa: T201 - the parent reads it
    threading.Thread(target=server.serve_forever, daemon=True).start()
    sys.stdin.read()


if __name__ == "__main__":
    main()
