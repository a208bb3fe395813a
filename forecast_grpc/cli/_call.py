"""Calls to a running service, and their failures in a sentence."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

import grpc
from google.protobuf.any_pb2 import Any as AnyMessage
from google.rpc import error_details_pb2, status_pb2

from forecast_grpc.cli._common import EXIT_CODES, CommandFailed, ExitCode
from forecast_grpc.errors import Code
from forecast_grpc.v1.forecast_pb2 import ForecastRequest, ForecastResponse
from forecast_grpc.v1.forecast_pb2_grpc import ForecastServiceStub

R = TypeVar("R")


class _PagedRequest(Protocol):
    """A request for a page of a list."""

    page_token: str


class _Page(Protocol):
    """An answer with a page of a list."""

    @property
    def next_page_token(self) -> str: ...


P = TypeVar("P", bound=_Page)

_DETAILS = "grpc-status-details-bin"
_PROVENANCE = ("request_id", "forecast-replica", "forecast-cache")


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """The service to call."""

    address: str
    """Host and port."""

    tls: bool = False
    """Whether the channel is encrypted."""

    token: str | None = None
    """What the service takes for a proof of identity, sent as `authorization: Bearer`."""

    application: str | None = None
    """The Serve application, where several run behind one address."""

    timeout_s: float
    """Seconds that the call may take."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply(Generic[R]):
    """An answer with its provenance."""

    response: R
    """The answer."""

    provenance: Mapping[str, str]
    """The trailing metadata: `request_id`, `forecast-replica`, `forecast-cache`, as far as they came."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """A channel to the service."""

    target: Target
    """Where it leads."""

    channel: grpc.Channel
    """For stubs."""

    def ask(self, method: Callable[..., R], request: object, customer_id: str | None = None) -> Reply[R]:
        """Calls a stub's method. Ends the command where the service refuses, fails or does not answer."""
        # A stub's method knows `with_call`, too; its type does not say so in the same way for each of them.
        with_call: Callable[..., Any] = method.with_call  # type: ignore[attr-defined]
        sent = metadata(self.target, customer_id)
        try:
            response, call = with_call(request, timeout=self.target.timeout_s, metadata=sent)
        except grpc.RpcError as exc:
            raise _failure(exc, self.target) from exc
        return Reply(response=response, provenance=_provenance(call))

    def pages(self, method: Callable[..., P], request: _PagedRequest) -> Iterator[P]:
        """Every page of a list, from the one that `request` names on. Ends the command as `ask` does."""
        while True:
            page = self.ask(method, request).response
            yield page
            if not page.next_page_token:
                return
            request.page_token = page.next_page_token


@contextmanager
def connected(target: Target) -> Iterator[Connection]:
    """A connection for several calls."""
    with _channel(target) as channel:
        yield Connection(target=target, channel=channel)


def forecast(target: Target, customer_id: str, request: ForecastRequest) -> Reply[ForecastResponse]:
    """Calls the service. Ends the command where it refuses, fails or does not answer."""
    with connected(target) as connection:
        return connection.ask(ForecastServiceStub(connection.channel).Forecast, request, customer_id)


def metadata(target: Target, customer_id: str | None) -> tuple[tuple[str, str], ...]:
    """What a call for that customer carries."""
    named = {
        "multiplexed_model_id": customer_id,
        "application": target.application,
        "authorization": f"Bearer {target.token}" if target.token else None,
    }
    return tuple((key, value) for key, value in named.items() if value is not None)


def channel_options(target: Target) -> list[tuple[str, int]]:
    """The options of a channel. Ends the command where there can be none to such an address."""
    if "://" in target.address:
        raise CommandFailed(f"An address is HOST:PORT, not {target.address}.", ExitCode.USAGE)
    # Environments often name an HTTP proxy that knows nothing of the service's address.
    return [("grpc.enable_http_proxy", 0)] if _is_local(target.address) else []


def _channel(target: Target) -> grpc.Channel:
    options = channel_options(target)
    if target.tls:
        return grpc.secure_channel(target.address, grpc.ssl_channel_credentials(), options)
    return grpc.insecure_channel(target.address, options)


def _is_local(address: str) -> bool:
    return address.rpartition(":")[0].strip("[]") in ("127.0.0.1", "localhost", "::1")


def _provenance(call: Any) -> dict[str, str]:  # noqa: ANN401 - a grpc.Call, which an RpcError may be too.
    trailing = dict(call.trailing_metadata() or ())
    return {key: trailing[key] for key in _PROVENANCE if key in trailing}


def _failure(error: Any, target: Target) -> CommandFailed:  # noqa: ANN401 - an RpcError that is a grpc.Call too.
    status = error.code()
    details = dict(error.trailing_metadata() or ()).get(_DETAILS)
    if details is None and status is grpc.StatusCode.UNAVAILABLE:
        return _no_answer(target)
    if details is None and status is grpc.StatusCode.DEADLINE_EXCEEDED:
        waited = f"{target.timeout_s:g} s"
        return CommandFailed(f"No answer from {target.address} within {waited}.", ExitCode.UNAVAILABLE)
    if details is None and "http2 header" in (error.details() or ""):
        text = f"What answers at {target.address} speaks HTTP, not gRPC: is that the service's HTTP port?"
        return CommandFailed(text, ExitCode.USAGE)
    sentence = error.details() or "The service gave no reason."
    facts = [status.name, *_facts(details or b"", sentence)]
    if request_id := _provenance(error).get("request_id"):
        facts.append(f"request_id {request_id}")
    return CommandFailed(f"{sentence} [{', '.join(facts)}]", _exit_code(status))


def _no_answer(target: Target) -> CommandFailed:
    how = " over TLS" if target.tls else ""
    return CommandFailed(
        f"No service answers gRPC at {target.address}{how}: start one with `forecast-grpc serve`, or name another "
        "with --address.",
        ExitCode.UNAVAILABLE,
    )


def _exit_code(status: grpc.StatusCode) -> ExitCode:
    number: int = status.value[0]
    known = number in {code.value for code in Code}
    return EXIT_CODES.get(Code(number), ExitCode.FAILED) if known else ExitCode.FAILED


def _facts(details: bytes, sentence: str) -> list[str]:
    """What the rich details add to the sentence."""
    facts: list[str] = []
    for detail in status_pb2.Status.FromString(details).details:
        facts.extend(_fact(detail, sentence))
    return facts


def _fact(detail: AnyMessage, sentence: str) -> list[str]:
    info, bad, retry = (
        error_details_pb2.ErrorInfo(),
        error_details_pb2.BadRequest(),
        error_details_pb2.RetryInfo(),
    )
    if detail.Unpack(info):
        return [info.reason]
    if detail.Unpack(retry):
        return [f"retry after {retry.retry_delay.ToTimedelta().total_seconds():g} s"]
    if detail.Unpack(bad):
        violations = [f"{violation.field}: {violation.description}" for violation in bad.field_violations]
        return [violation for violation in violations if violation not in sentence]
    return []
