"""A bucket over HTTP that takes as long as it is told to: as much of S3 as a replica asks of it.

It serves a store's folder, counts what is asked, waits before each answer, and can fall silent. Where a benchmark
asks what a slow or dead store does to the service, the store must be exactly as slow as was said.
"""

import asyncio
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

BUCKET = "models"
"""What the bucket is called."""

_STAMP = "2026-01-01T00:00:00.000Z"


class ObjectServer:
    """Made and closed by `serving`; may be told from any thread."""

    def __init__(self, folder: Path, delay_s: float) -> None:
        self.gets: Counter[str] = Counter()
        """How often each object was asked for, by its key."""
        self.delay_s = delay_s
        """Before each answer, in seconds."""
        self.port = 0
        """Where it listens."""
        self._folder = folder
        self._connections: set[asyncio.StreamWriter] = set()
        self._loop = asyncio.new_event_loop()
        self._answering = asyncio.Event()
        self._answering.set()

    @property
    def url(self) -> str:
        """The store, as `--store` takes it."""
        endpoint = f"http://127.0.0.1:{self.port}"
        return f"s3://{BUCKET}/?endpoint={endpoint}&region=us-east-1&anonymous=true"

    def fall_silent(self, silent: bool) -> None:
        """From now on requests get no answer, or get one again; those that have waited lose their connection."""
        change = self._answering.clear if silent else self._answering.set
        self._loop.call_soon_threadsafe(change)

    def run(self, ready: threading.Event, done: threading.Event) -> None:
        """Listens until `done`."""
        self._loop.run_until_complete(self._run(ready, done))
        self._loop.close()

    async def _run(self, ready: threading.Event, done: threading.Event) -> None:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0, backlog=1_024)
        self.port = server.sockets[0].getsockname()[1]
        ready.set()
        await asyncio.to_thread(done.wait)
        server.close()
        self._answering.set()
        for each in tuple(self._connections):
            each.close()
        await asyncio.gather(*asyncio.all_tasks() - {asyncio.current_task()}, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._connections.add(writer)
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                request = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                path, headers = _parsed(request)
                if not self._answering.is_set():
                    await self._answering.wait()
                    break
                if self.delay_s:
                    await asyncio.sleep(self.delay_s)
                writer.write(self._answer(path, headers.get("if-none-match")))
                await writer.drain()
        self._connections.discard(writer)
        writer.close()

    def _answer(self, path: str, if_none_match: str | None) -> bytes:
        parts = urlsplit(path)
        key = parts.path.removeprefix(f"/{BUCKET}").strip("/")
        if not key:
            return _response("200 OK", self._listing(parse_qs(parts.query).get("prefix", [""])[0]))
        self.gets[key] += 1
        try:
            data = (self._folder / key).read_bytes()
            etag = f'"{(self._folder / key).stat().st_ino:x}"'
        except OSError:
            return _response("404 Not Found", b"<Error><Code>NoSuchKey</Code></Error>")
        if if_none_match == etag:
            return _response("304 Not Modified", b"", etag)
        return _response("200 OK", data, etag)

    def _listing(self, prefix: str) -> bytes:
        """The objects in a customer's folder; no others, however many there are."""
        folder = self._folder / prefix.strip("/")
        files = sorted(folder.glob("*.safetensors")) if prefix.strip("/") else []
        keys = "".join(
            f"<Contents><Key>{prefix}{each.name}</Key><LastModified>{_STAMP}</LastModified><Size>1</Size></Contents>"
            for each in files
        )
        return f"<ListBucketResult><IsTruncated>false</IsTruncated>{keys}</ListBucketResult>".encode()


def _parsed(request: str) -> tuple[str, dict[str, str]]:
    first, *lines = request.split("\r\n")
    headers = (line.partition(":") for line in lines if line)
    return first.split(" ")[1], {name.lower(): value.strip() for name, _, value in headers}


def _response(status: str, body: bytes, etag: str = "") -> bytes:
    named = f"ETag: {etag}\r\nLast-Modified: Thu, 01 Jan 2026 00:00:00 GMT\r\n" if etag else ""
    return f"HTTP/1.1 {status}\r\n{named}Content-Length: {len(body)}\r\n\r\n".encode() + body


@contextmanager
def serving(folder: Path, *, delay_s: float = 0.0) -> Iterator[ObjectServer]:
    """The folder as a bucket, while the body runs."""
    server, ready, done = ObjectServer(folder, delay_s), threading.Event(), threading.Event()
    thread = threading.Thread(target=server.run, args=(ready, done))
    thread.start()
    ready.wait()
    try:
        yield server
    finally:
        done.set()
        thread.join()
