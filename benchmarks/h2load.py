"""The load generator: h2load, of Debian's package nghttp2-client. It is quick, and knows nothing of gRPC."""

import re
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from google.protobuf.message import Message

from benchmarks.workload import METADATA, METHOD, REQUEST

_TIMEOUT_S = 300.0
_PREFIX_BYTES = 5
_FINISHED = re.compile(r"^finished in \S+, ([\d.]+) req/s", re.MULTILINE)
_SUCCEEDED = re.compile(
    r"^requests: .* (\d+) succeeded, (\d+) failed, (\d+) errored, (\d+) timeout", re.MULTILINE
)
_BODY_BYTES = re.compile(r"^traffic: .* headers .*\((\d+)\) data", re.MULTILINE)


class WrongAnswersError(Exception):
    """Some of the answers were not the right one, so that their rate means nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """How many requests are under way at once."""

    connections: int
    """TCP connections."""

    streams: int
    """Requests under way on each."""


_SEQUENTIAL = Load(connections=1, streams=1)


def framed(message: Message) -> bytes:
    """The message as gRPC frames it: not compressed, its length, its bytes."""
    data = message.SerializeToString()
    return b"\0" + len(data).to_bytes(_PREFIX_BYTES - 1, "big") + data


def requests_per_s(port: int, load: Load, requests: int, answer: Message) -> float:
    """The rate at which a server gives `answer` to this many requests. Raises WrongAnswersError."""
    return _run(port, load, requests, answer)


def sequential_p50_ms(port: int, requests: int, answer: Message) -> float:
    """The median time of this many requests, one after the other, in milliseconds. Raises WrongAnswersError."""
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log"
        _run(port, _SEQUENTIAL, requests, answer, f"--log-file={log}")
        # Start time, status and duration, both times in microseconds.
        return median(int(line.split("\t")[2]) for line in log.read_text().splitlines()) / 1e3


def version() -> str:
    """What h2load calls itself."""
    return subprocess.run(["h2load", "--version"], capture_output=True, text=True, check=True).stdout.strip()


def _run(port: int, load: Load, requests: int, answer: Message, *options: str) -> float:
    with tempfile.NamedTemporaryFile() as body:
        body.write(framed(REQUEST))
        body.flush()
        command = [
            "h2load",
            f"--requests={requests}",
            f"--clients={load.connections}",
            f"--max-concurrent-streams={load.streams}",
            f"--data={body.name}",
            *(f"--header={name}: {value}" for name, value in _headers()),
            *options,
            f"http://127.0.0.1:{port}{METHOD}",
        ]
        run = subprocess.run(command, capture_output=True, text=True, check=True, timeout=_TIMEOUT_S)
    _require_right(run.stdout, requests, len(framed(answer)))
    return float(_found(_FINISHED, run.stdout)[0])


def _headers() -> tuple[tuple[str, str], ...]:
    return (("content-type", "application/grpc"), ("te", "trailers"), *METADATA)


def _require_right(report: str, requests: int, answer_bytes: int) -> None:
    """Raises WrongAnswersError unless every request brought exactly as many bytes as the right answer has.

    h2load counts HTTP statuses, and an error of gRPC is an HTTP 200 whose trailers tell otherwise. But such an
    answer has no message, or an empty one. So the bytes of all bodies add up only where every answer was the
    right one; that is also why a run is bounded by requests and not by time: of a request cut short h2load
    counts the bytes and not the request.
    """
    outcome = tuple(map(int, _found(_SUCCEEDED, report)))
    if outcome != (requests, 0, 0, 0):
        raise WrongAnswersError(f"of {requests} requests succeeded, failed, errored, timed out: {outcome}")
    received = int(_found(_BODY_BYTES, report)[0])
    if received != requests * answer_bytes:
        raise WrongAnswersError(f"{received} bytes instead of {requests} answers of {answer_bytes}")


def _found(pattern: re.Pattern[str], report: str) -> tuple[str, ...]:
    match = pattern.search(report)
    if match is None:
        raise RuntimeError(f"h2load printed what this script does not understand:\n{report}")
    return match.groups()
