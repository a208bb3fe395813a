"""A real service in a process of its own, and what tests ask of it."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import httpx
import psutil
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2

from forecast_grpc.v1.forecast_pb2 import ForecastRequest, ForecastResponse
from forecast_grpc.v1.forecast_pb2_grpc import ForecastServiceStub

COMMAND = str(Path(sys.executable).with_name("forecast-grpc"))
STOP_TIMEOUT_S = 30.0
TUTORIAL_SEQUENCE = [100, 102, 98, 105, 110, 108, 112, 115, 118, 120]
TUTORIAL_FORECAST = [121.45, 122.9, 124.35, 125.8, 127.25, 128.7, 130.15]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a caller got, whichever the protocol."""

    code: str
    """The gRPC status code's name, `OK` for a success."""

    message: str
    """The error's message."""

    reason: str
    """`ErrorInfo.reason`."""

    fields: tuple[str, ...]
    """`BadRequest` fields."""

    retry_after_s: float | None
    """`RetryInfo.retry_delay`."""

    metadata: dict[str, str]
    """Trailing metadata, or the headers."""

    forecast: list[float]
    """The point forecast."""

    forecast_start_time: str
    """RFC 3339, or empty."""

    everything: str
    """All that came, as text: to look for what must not be in it."""

    http_status: int | None = None
    """The HTTP status, where it was HTTP."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningService:
    """A service that has said that it is ready."""

    ingress: str
    """`haproxy` or `proxy`."""

    process: subprocess.Popen[str]
    """`forecast-grpc serve`."""

    grpc_address: str
    """For a channel."""

    http_address: str
    """Base URL."""

    metrics_url: str
    """Of the Prometheus endpoint."""

    store: Path
    """The folder with the models."""

    logs: Path
    """The folder with the logs."""

    ray_environment: dict[str, str]
    """For a Python process that is to connect to the service's Ray cluster."""

    def grpc(
        self, request: ForecastRequest | None = None, customer: str | None = None, **extra: str
    ) -> Outcome:
        """One Forecast over gRPC."""
        metadata = (
            list(extra.items()) if customer is None else [("multiplexed_model_id", customer), *extra.items()]
        )
        with grpc.insecure_channel(self.grpc_address) as channel:
            stub = ForecastServiceStub(channel)
            try:
                call: Callable[..., Any] = stub.Forecast.with_call
                response, done = call(request or ForecastRequest(), metadata=metadata, timeout=20)
            except grpc.RpcError as error:
                return _grpc_error(error)
        return _grpc_success(response, done)

    def http(self, body: Any = None, customer: str | None = None, path: str = "/", **headers: str) -> Outcome:
        """One forecast over HTTP; `body` is sent as it is where it is bytes, else as JSON."""
        if customer is not None:
            headers["serve_multiplexed_model_id"] = customer
        sent = {"content": body} if isinstance(body, bytes) else {"json": body or {}}
        response = httpx.post(self.http_address + path, headers=headers, timeout=20, **sent)
        return _http_outcome(response)

    def metrics(self) -> dict[str, float]:
        """The samples of the Prometheus endpoint, summed over all labels that tests do not ask for."""
        samples: dict[str, float] = {}
        for line in httpx.get(self.metrics_url, timeout=20).text.splitlines():
            match = re.fullmatch(r"(\w+)\{(.*)\} (\S+)", line)
            if not match:
                continue
            kept = re.findall(r'(tier|reason|code|outcome|protocol)="([^"]*)"', match[2])
            name = match[1] + "".join(f",{key}={value}" for key, value in sorted(kept))
            samples[name] = samples.get(name, 0.0) + float(match[3])
        return samples

    def log_text(self) -> str:
        """All that the replicas have logged by now."""
        texts = (path.read_text("utf-8") for path in sorted(self.logs.glob("forecast_grpc_*.log*")))
        # What is being written is no line yet.
        return "".join(text[: text.rfind("\n") + 1] for text in texts)

    def log_lines(self, **fields: str) -> list[dict[str, Any]]:
        """The lines that the replicas have logged by now: those that have these fields."""
        lines: list[dict[str, Any]] = [json.loads(line) for line in self.log_text().splitlines()]
        return [line for line in lines if fields.items() <= line.items()]

    def replica_processes(self) -> list[psutil.Process]:
        """The processes of the replicas, by the names that Ray gives them."""
        children = psutil.Process(self.process.pid).children(recursive=True)
        return [child for child in children if _command(child).startswith("ray::ServeReplica")]


def _command(process: psutil.Process) -> str:
    with suppress(psutil.NoSuchProcess):  # it may have ended meanwhile, and wait to be buried
        return " ".join(process.cmdline())
    return ""


def eventually(condition: Callable[[], Any], timeout_s: float = 30.0) -> Any:
    """The first true value of the condition. Fails where there is none in time."""
    deadline = time.monotonic() + timeout_s
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {timeout_s} s: {condition}")
        time.sleep(0.1)


@contextmanager
def serving(store: Path, ingress: str, *options: str) -> Iterator[RunningService]:
    """A service on free ports, stopped as Ctrl-C stops it, and killed with all its children if that fails."""
    command = [COMMAND, "serve", "--store", str(store), "--ingress", ingress]
    ports = ["--grpc-port", "0", "--http-port", "0"]
    environment = os.environ | {"COLUMNS": "200"}
    with subprocess.Popen(
        [*command, *ports, *options],
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
        start_new_session=True,
    ) as process:
        try:
            yield _ready(process, store, ingress)
        finally:
            stop(process)


def stop(process: subprocess.Popen[str]) -> None:
    """Stops a service, whatever state it is in."""
    if process.poll() is None:
        children = psutil.Process(process.pid).children(recursive=True)
        os.killpg(process.pid, signal.SIGINT)
        try:
            process.wait(STOP_TIMEOUT_S)
        finally:
            for child in [psutil.Process(process.pid)] if process.poll() is None else []:
                child.kill()
            for child in children:
                if child.is_running():
                    child.kill()


def _ready(process: subprocess.Popen[str], store: Path, ingress: str) -> RunningService:
    """Reads what the service says until it is ready."""
    assert process.stdout is not None
    said: dict[str, str] = {}
    for line in process.stdout:
        key, _, value = line.strip().partition(": ")
        said[key] = value
        if line.startswith("Try:"):
            break
    assert "ready" in said, f"the service ended with exit code {process.wait()}"
    addresses = re.findall(r"(?:http://)?127\.0\.0\.1:\d+", said["ready"])
    return RunningService(
        ingress=ingress,
        process=process,
        grpc_address=addresses[0],
        http_address=addresses[1],
        metrics_url=said["metrics"],
        store=store,
        logs=Path(said["logs"]),
        ray_environment=dict(re.findall(r"(\w+)=(\S+)", said["ray"])),
    )


def grpc_forecast(address: str) -> list[float]:
    """The tutorial's forecast over gRPC, from any service that listens there."""
    with grpc.insecure_channel(address) as channel:
        response = ForecastServiceStub(channel).Forecast(
            ForecastRequest(sequence_data=TUTORIAL_SEQUENCE),
            metadata=(("multiplexed_model_id", "customer_123"),),
            timeout=20,
        )
    return list(response.forecast)


def _grpc_success(response: ForecastResponse, call: Any) -> Outcome:
    return Outcome(
        code="OK",
        message="",
        reason="",
        fields=(),
        retry_after_s=None,
        metadata=dict(call.trailing_metadata()),
        forecast=list(response.forecast),
        forecast_start_time=response.forecast_start_time.ToJsonString()
        if response.HasField("forecast_start_time")
        else "",
        everything=str(response),
    )


def _grpc_error(error: Any) -> Outcome:
    metadata = dict(error.trailing_metadata() or ())
    details = unpack(metadata.pop("grpc-status-details-bin", b""))
    info, bad, retry = details.get("ErrorInfo"), details.get("BadRequest"), details.get("RetryInfo")
    return Outcome(
        code=error.code().name,
        message=error.details(),
        reason=info.reason if info else "",
        fields=tuple(v.field for v in bad.field_violations) if bad else (),
        retry_after_s=retry.retry_delay.ToNanoseconds() / 1e9 if retry else None,
        metadata=metadata,
        forecast=[],
        forecast_start_time="",
        everything=f"{error.details()} {metadata} {details}",
    )


def unpack(status_bytes: bytes) -> dict[str, Any]:
    """The rich details of an error by the names of their types."""
    details: dict[str, Message] = {}
    for packed in status_pb2.Status.FromString(status_bytes).details:
        kind = getattr(error_details_pb2, packed.type_url.rpartition(".")[2])
        details[kind.__name__] = kind.FromString(packed.value)
    return details


def _http_outcome(response: httpx.Response) -> Outcome:
    if response.headers.get("content-type", "").startswith("application/json"):
        body = response.json()
    else:
        # Not ours: the ingress says so where it has no replica to ask.
        body = {"error": {"status": "UNKNOWN", "message": response.text}}
    error = body.get("error", {})
    details = {detail["@type"].rpartition(".")[2]: detail for detail in error.get("details", ())}
    retry = details.get("RetryInfo", {}).get("retryDelay")
    return Outcome(
        code=error.get("status", "OK"),
        message=error.get("message", ""),
        reason=details.get("ErrorInfo", {}).get("reason", ""),
        fields=tuple(v["field"] for v in details.get("BadRequest", {}).get("fieldViolations", ())),
        retry_after_s=float(retry[:-1]) if retry else None,
        metadata=dict(response.headers),
        forecast=body.get("forecast", []),
        forecast_start_time=body.get("forecast_start_time", ""),
        everything=f"{response.text} {dict(response.headers)}",
        http_status=response.status_code,
    )
