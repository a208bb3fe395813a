"""As much of Google Cloud Storage's XML API as a store of models needs, in memory: objects, conditions, lists.

No emulator that installs from a package registry knows conditional writes in this API, which obstore speaks.
It follows Google's reference of it.
"""

import hashlib
import itertools
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

META = "x-goog-meta-"


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """An object."""

    data: bytes
    """Its bytes."""

    generation: int
    """Another one for every write, over all objects."""

    meta: Mapping[str, str]
    """Its custom metadata, as headers."""

    @property
    def etag(self) -> str:
        """Of these bytes."""
        return f'"{hashlib.md5(self.data, usedforsecurity=False).hexdigest()}"'


class FakeGoogle(ThreadingHTTPServer):
    """One bucket."""

    daemon_threads = True

    def __init__(self, bucket: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.bucket = bucket
        self.objects: dict[str, Stored] = {}
        self.generations = itertools.count(1)
        self.lock = threading.Lock()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: FakeGoogle

    def _serve(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        url = urlsplit(self.path)
        bucket, _, key = unquote(url.path).removeprefix("/").partition("/")
        with self.server.lock:
            if bucket != self.server.bucket:
                self._answer(404, b"<Error><Code>NoSuchBucket</Code></Error>")
            elif not key:
                self._list({name: values[0] for name, values in parse_qs(url.query).items()})
            elif self.command == "PUT":
                self._put(key, body)
            elif key not in self.server.objects:
                self._answer(404, b"<Error><Code>NoSuchKey</Code></Error>")
            elif self.command == "DELETE":
                del self.server.objects[key]
                self._answer(204)
            else:
                self._get(self.server.objects[key])

    do_GET = do_PUT = do_HEAD = do_DELETE = _serve  # noqa: N815 - the names that the base class calls

    def _put(self, key: str, body: bytes) -> None:
        wanted = self.headers.get("x-goog-if-generation-match")
        stored = self.server.objects.get(key)
        if wanted is not None and int(wanted) != (stored.generation if stored else 0):
            self._answer(412, b"<Error><Code>PreconditionFailed</Code></Error>")
            return
        meta = {name: value for name, value in self.headers.items() if name.lower().startswith(META)}
        new = Stored(data=body, generation=next(self.server.generations), meta=meta)
        self.server.objects[key] = new
        self._answer(200, headers={"ETag": new.etag, "x-goog-generation": str(new.generation)})

    def _get(self, stored: Stored) -> None:
        headers = {"ETag": stored.etag, "x-goog-generation": str(stored.generation), **stored.meta}
        if self.headers.get("If-None-Match") == stored.etag:
            self._answer(304, headers=headers)
        else:
            self._answer(200, stored.data, headers | {"Last-Modified": formatdate(0, usegmt=True)})

    def _list(self, query: Mapping[str, str]) -> None:
        prefix, start = query.get("prefix", ""), query.get("start-after", "")
        keys = [key for key in sorted(self.server.objects) if key.startswith(prefix) and key > start]
        if "delimiter" in query:
            folders = sorted({prefix + key[len(prefix) :].partition("/")[0] for key in keys})
            keys, folders = [k for k in keys if k in folders], [f for f in folders if f not in keys]
        else:
            folders = []
        contents = "".join(
            f"<Contents><Key>{escape(key)}</Key><Size>{len(self.server.objects[key].data)}</Size>"
            f"<LastModified>1970-01-01T00:00:00.000Z</LastModified>"
            f"<ETag>{escape(self.server.objects[key].etag)}</ETag></Contents>"
            for key in keys
        )
        common = "".join(f"<CommonPrefixes><Prefix>{escape(f)}/</Prefix></CommonPrefixes>" for f in folders)
        self._answer(200, f"<ListBucketResult>{contents}{common}</ListBucketResult>".encode())

    def _answer(self, status: int, body: bytes = b"", headers: Mapping[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        if status not in {204, 304}:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(b"" if self.command == "HEAD" else body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """Says nothing."""


@contextmanager
def fake_google(bucket: str) -> Iterator[str]:
    """Its endpoint, while it runs."""
    server = FakeGoogle(bucket)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
