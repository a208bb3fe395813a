"""The conformance cases in clients/cases.json, run over gRPC with plain stubs and over HTTP.

clients/python/conformance.py reads them, and judges what comes.
"""

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import httpx
from google.protobuf import json_format
from google.protobuf.message import Message

import conformance
from conformance import Case, Result
from forecast_grpc.errors import HTTP_STATUS, Code
from forecast_grpc.v1 import forecast_pb2, forecast_pb2_grpc, model_pb2, model_pb2_grpc
from tests.service import RunningService, unpack

CASES = Path(__file__).resolve().parents[2] / "clients" / "cases.json"
TIMEOUT_S = 60.0

HTTP_ROUTES = {
    "Forecast": ("POST", "/v1/forecast"),
    "GetModel": ("GET", "/v1/models/{customer_id}"),
    "ListModels": ("GET", "/v1/models"),
    "ListModelVersions": ("GET", "/v1/models/{customer_id}/versions"),
    "WarmModels": ("POST", "/v1/models:warm"),
    "ActivateModelVersion": ("POST", "/v1/models/{customer_id}:activate"),
    "ExplainModel": ("GET", "/v1/models/{customer_id}:explain"),
    "GetAccessStatistics": ("GET", "/v1/models:accessStatistics"),
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
    """The cases that are for this service and protocol."""
    return conformance.cases(CASES, service, protocol)


def judged(case: Case, result: Result) -> Verdict:
    """The verdict on what came of a case."""
    return Verdict(group=case["group"], name=case["name"], problem=conformance.difference(case, result))


def message_type(name: str) -> Callable[[], Message]:
    """The class of a message of the wire."""
    (found,) = (getattr(module, name) for module in _MODULES if hasattr(module, name))
    made: Callable[[], Message] = found
    return made


# --- gRPC ---


def over_grpc(service: RunningService, case: Case) -> Result:
    """One case over gRPC, with the plain stubs."""
    service_name, _, method = case["rpc"].partition("/")
    kind = message_type(f"{method}Request")
    extra: dict[str, Any] = {"metadata": tuple(case.get("metadata", {}).items()), "timeout": TIMEOUT_S}
    with grpc.insecure_channel(service.grpc_address) as channel:
        call: Any = getattr(_STUBS[service_name](channel), method)
        try:
            if "requests" in case:
                ended = call(
                    iter([json_format.ParseDict(each, kind()) for each in case["requests"]]), **extra
                )
                reply = conformance.merged(map(conformance.tree_of, ended))
            else:
                message, ended = call.with_call(json_format.ParseDict(case["request"], kind()), **extra)
                reply = conformance.tree_of(message)
        except grpc.RpcError as error:
            return grpc_error(error)
    return {"reply": reply, "trailing": dict(ended.trailing_metadata())}


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
    return {"reply": conformance.tree_of(reply), "trailing": http_trailing(response)}


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
    return {"error": found, "trailing": http_trailing(response)}


def http_trailing(response: httpx.Response) -> dict[str, str]:
    """The headers that stand for trailing metadata."""
    trailing = dict(response.headers)
    if after := trailing.get("retry-after"):
        trailing["grpc-retry-pushback-ms"] = f"{after}000"
    return trailing
