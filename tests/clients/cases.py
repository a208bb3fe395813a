"""The conformance cases in clients/cases.json: read, and run over gRPC with plain stubs and over HTTP.

clients/README.md says how the cases are to be read. The runners of the other languages do the same.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import httpx
from google.protobuf import json_format
from google.protobuf.message import Message

from forecast_grpc.errors import HTTP_STATUS, Code
from forecast_grpc.v1 import forecast_pb2, forecast_pb2_grpc, model_pb2, model_pb2_grpc
from tests.service import RunningService, unpack

CASES = Path(__file__).resolve().parents[2] / "clients" / "cases.json"
TIMEOUT_S = 60.0

Case = Mapping[str, Any]
Result = Mapping[str, Any]
"""What came of a case, in the form in which the case says what is to come."""

HTTP_ROUTES = {
    "Forecast": ("POST", "/v1/forecast"),
    "GetModel": ("GET", "/v1/models/{customer_id}"),
    "ListModels": ("GET", "/v1/models"),
    "ListModelVersions": ("GET", "/v1/models/{customer_id}/versions"),
    "WarmModels": ("POST", "/v1/models:warm"),
    "ActivateModelVersion": ("POST", "/v1/models/{customer_id}:activate"),
    "ExplainModel": ("GET", "/v1/models/{customer_id}:explain"),
}
"""Where each RPC is over HTTP; a name in braces is a field of the request that stands in the path."""

HTTP_HEADERS = {"multiplexed_model_id": "serve_multiplexed_model_id", "request_id": "x-request-id"}
"""What stands over HTTP for the metadata of gRPC."""

_MODULES = (forecast_pb2, model_pb2)
_STUBS = {
    "ForecastService": forecast_pb2_grpc.ForecastServiceStub,
    "ModelService": model_pb2_grpc.ModelServiceStub,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What came of one case."""

    group: str
    """The case's group."""

    name: str
    """The case's name."""

    problem: str
    """What was other than it should be; empty where nothing was."""


def cases(service: str, protocol: str) -> Iterator[Case]:
    """The cases that are for this service (`standard` or `troubled`) and protocol (`grpc` or `http`)."""
    document = json.loads(CASES.read_text("utf-8"))
    for case in document["cases"]:
        if case.get("service", "standard") == service and case.get("only", protocol) == protocol:
            yield expand(case, document["definitions"])


def expand(value: Any, definitions: Mapping[str, Any]) -> Any:
    """The value with what its rules stand for in the place of `use`, `join` and `repeat`."""
    if isinstance(value, list):
        return [expand(item, definitions) for item in value]
    if not isinstance(value, dict):
        return value
    if set(value) == {"use"}:
        return definitions[value["use"]]
    inside = {key: expand(item, definitions) for key, item in value.items()}
    if set(value) == {"join"}:
        return "".join(inside["join"])
    return inside["repeat"] * inside["times"] if set(value) == {"repeat", "times"} else inside


def judged(case: Case, result: Result) -> Verdict:
    """The verdict on what came of a case."""
    wanted = {key: case[key] for key in ("reply", "error") if key in case}
    got = {key: result[key] for key in ("reply", "error") if key in result}
    for key in case.get("ignore", ()):
        got.get("reply", {}).pop(key, None)
    if "message" not in wanted.get("error", {}):
        got.get("error", {}).pop("message", None)
    problem = difference(wanted, got)
    for key, value in case.get("trailing", {}).items():
        problem = problem or difference(value, result["trailing"].get(key), f"trailing.{key}")
    if not {"request_id", "forecast-replica"} <= set(result["trailing"]):
        problem = problem or f"trailing metadata is missing: {sorted(result['trailing'])}"
    return Verdict(group=case["group"], name=case["name"], problem=problem)


def difference(wanted: Any, got: Any, path: str = "") -> str:
    """Where two values first differ, doubles by their bits; empty where they are the same."""
    if isinstance(wanted, dict) and isinstance(got, dict):
        pairs = [
            (f"{path}.{key}", wanted.get(key), got.get(key)) for key in [*wanted, *(set(got) - set(wanted))]
        ]
    elif isinstance(wanted, list) and isinstance(got, list):
        if len(wanted) != len(got):
            return f"{path}: {len(got)} items instead of {len(wanted)}"
        pairs = [(f"{path}[{n}]", *both) for n, both in enumerate(zip(wanted, got, strict=True))]
    elif _is_number(wanted) and _is_number(got):
        wanted, got = float(wanted).hex(), float(got).hex()
        return "" if wanted == got else f"{path}: {got} instead of {wanted}"
    else:
        return "" if wanted == got else f"{path}: {got!r:.200} instead of {wanted!r:.200}"
    return next(filter(None, (difference(a, b, where) for where, a, b in pairs)), "")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def message_type(name: str) -> Callable[[], Message]:
    """The class of a message of the wire."""
    (found,) = (getattr(module, name) for module in _MODULES if hasattr(module, name))
    made: Callable[[], Message] = found
    return made


def tree(message: Message) -> dict[str, Any]:
    """A message as the cases write it: ProtoJSON under the proto's names."""
    return json_format.MessageToDict(message, preserving_proto_field_name=True)


# --- gRPC ---


def over_grpc(service: RunningService, case: Case) -> Result:
    """One case over gRPC, with the plain stubs."""
    service_name, _, method = case["rpc"].partition("/")
    request = json_format.ParseDict(case["request"], message_type(f"{method}Request")())
    metadata = tuple(case.get("metadata", {}).items())
    with grpc.insecure_channel(service.grpc_address) as channel:
        call: Any = getattr(_STUBS[service_name](channel), method)
        try:
            reply, ended = call.with_call(request, metadata=metadata, timeout=TIMEOUT_S)
        except grpc.RpcError as error:
            return grpc_error(error)
    return {"reply": tree(reply), "trailing": dict(ended.trailing_metadata())}


def grpc_error(error: Any) -> Result:
    """A failed call as the cases write it."""
    trailing = dict(error.trailing_metadata() or ())
    details = unpack(trailing.get("grpc-status-details-bin", b""))
    found = {"code": error.code().name, "message": error.details()}
    if info := details.get("ErrorInfo"):
        assert info.domain == "forecast-grpc"
        found |= {"reason": info.reason} | ({"metadata": dict(info.metadata)} if info.metadata else {})
    if bad := details.get("BadRequest"):
        found["fields"] = [each.field for each in bad.field_violations]
    if retry := details.get("RetryInfo"):
        found["retry_after_s"] = retry.retry_delay.ToNanoseconds() / 1e9
    return {"error": found, "trailing": trailing}


# --- HTTP ---


def over_http(service: RunningService, case: Case) -> Result:
    """One case over HTTP; the answer is read back as the message that it stands for."""
    name = case["rpc"].partition("/")[2]
    method, path = HTTP_ROUTES[name]
    fields = {key: _number(key, value) for key, value in case.get("request", {}).items()}
    path = re.sub(r"\{(\w+)\}", lambda field: fields.pop(field[1]), path)
    headers = {HTTP_HEADERS[key]: value.encode() for key, value in case.get("metadata", {}).items()}
    sent: dict[str, Any] = {"params": fields}
    if method == "POST":
        sent = {"content": case["body"].encode() if "body" in case else json.dumps(fields).encode()}
    response = httpx.request(method, service.http_address + path, headers=headers, timeout=TIMEOUT_S, **sent)
    if response.is_error:
        return http_error(response)
    reply = json_format.ParseDict(response.json(), message_type(f"{name}Response")())
    return {"reply": tree(reply), "trailing": dict(response.headers)}


def _number(key: str, value: Any) -> Any:
    """ProtoJSON may write 64-bit integers as texts, JSON over HTTP has numbers."""
    return int(value) if key.endswith("version") else value


def http_error(response: httpx.Response) -> Result:
    """A refusal as the cases write it."""
    error = response.json()["error"]
    assert error["code"] == response.status_code == HTTP_STATUS[Code[error["status"]]]
    found = {"code": error["status"], "message": error["message"]}
    for detail in error["details"]:
        if "reason" in detail:
            assert detail["domain"] == "forecast-grpc"
            found |= {"reason": detail["reason"]} | (
                {"metadata": detail["metadata"]} if detail["metadata"] else {}
            )
        if "fieldViolations" in detail:
            found["fields"] = [each["field"] for each in detail["fieldViolations"]]
        if "retryDelay" in detail:
            found["retry_after_s"] = float(detail["retryDelay"].removesuffix("s"))
    return {"error": found, "trailing": dict(response.headers)}
