"""Runs the cases of clients/cases.json and prints a line for each: group, name, what was other than it should be.

clients/README.md says how the cases are to be read. The client asks for forecasts, as far as its values can say
what the case says; the stubs behind it ask for everything else.
"""

import argparse
import json
import sys
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import grpc
from google.protobuf import json_format
from google.protobuf.message import Message

from forecast_grpc_client import Client, Connection, Forecast, ForecastError, Request
from forecast_grpc_client._errors import error_of
from forecast_grpc_client.v1 import forecast_pb2, forecast_pb2_grpc, model_pb2, model_pb2_grpc

Case = Mapping[str, Any]
Result = Mapping[str, Any]
"""What came of a case, in the form in which the case says what is to come."""

TIMEOUT_S = 60.0

_WIRES = {
    "ForecastService": (forecast_pb2, forecast_pb2_grpc.ForecastServiceStub),
    "ModelService": (model_pb2, model_pb2_grpc.ModelServiceStub),
}


def main() -> int:
    """Runs the cases that the command line asks for. Returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path, help="cases.json")
    parser.add_argument("--address", default="127.0.0.1:9000", help="the service (default: %(default)s)")
    parser.add_argument("--service", default="standard", help="as the cases call it (default: %(default)s)")
    options = parser.parse_args()
    failed = 0
    # A retry would hide what the service says.
    with Client(Connection(options.address, options={"grpc.enable_retries": 0})) as client:
        for case in cases(options.file, options.service, "grpc"):
            problem = difference(case, run(client, case))
            failed += bool(problem)
            print(case["group"], case["name"], " ".join(problem.split()), sep="\t")
    return 1 if failed else 0


# --- the cases ---


def cases(file: Path, service: str, protocol: str) -> Iterator[Case]:
    """The cases that are for this service (`standard` or `troubled`) and protocol (`grpc` or `http`)."""
    document = json.loads(file.read_text("utf-8"))
    for case in document["cases"]:
        if case.get("service", "standard") == service and case.get("only", protocol) == protocol:
            yield expand(case, document["definitions"])


def expand(value: Any, definitions: Mapping[str, Any]) -> Any:  # noqa: ANN401 - any JSON
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


def difference(case: Case, result: Result) -> str:
    """What is other than the case says; empty where nothing is."""
    wanted = {key: case[key] for key in ("reply", "error") if key in case}
    got = {key: result[key] for key in ("reply", "error") if key in result}
    for key in case.get("ignore", ()):
        got.get("reply", {}).pop(key, None)
    if "message" not in wanted.get("error", {}):
        got.get("error", {}).pop("message", None)
    trailing = result["trailing"]
    found = [unlike(wanted, got)]
    found += [
        unlike(value, trailing.get(key), f"trailing.{key}") for key, value in case.get("trailing", {}).items()
    ]
    found += [
        f"there is no trailing {key}" for key in ("request_id", "forecast-replica") if not trailing.get(key)
    ]
    return "; ".join(filter(None, found))


def unlike(wanted: Any, got: Any, path: str = "") -> str:  # noqa: ANN401 - any JSON
    """Where two values first differ, doubles by their bits; empty where they are the same."""
    if isinstance(wanted, dict) and isinstance(got, dict):
        keys = [*wanted, *(set(got) - set(wanted))]
        pairs = [(f"{path}.{key}", wanted.get(key), got.get(key)) for key in keys]
    elif isinstance(wanted, list) and isinstance(got, list):
        if len(wanted) != len(got):
            return f"{path}: {len(got)} items instead of {len(wanted)}"
        pairs = [(f"{path}[{n}]", *both) for n, both in enumerate(zip(wanted, got, strict=True))]
    elif _is_number(wanted) and _is_number(got):
        wanted, got = float(wanted).hex(), float(got).hex()
        return "" if wanted == got else f"{path}: {got} instead of {wanted}"
    else:
        return "" if wanted == got else f"{path}: {got!r:.200} instead of {wanted!r:.200}"
    return next(filter(None, (unlike(a, b, where) for where, a, b in pairs)), "")


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


# --- the calls ---


def run(client: Client, case: Case) -> Result:
    """Makes the call of a case."""
    asked = request_of(case)
    try:
        if asked is None:
            return by_stub(client.channel, case)
        answer = client.forecast(
            asked, timeout_s=TIMEOUT_S, request_id=case.get("metadata", {}).get("request_id")
        )
    except ForecastError as error:
        return {"error": error_tree(error), "trailing": trailing_tree(error)}
    return {"reply": answer_tree(answer, asked), "trailing": trailing_tree(answer)}


def request_of(case: Case) -> Request | None:
    """The case as the client's own value; None where that cannot say it."""
    fields, customer = dict(case.get("request", {})), case.get("metadata", {}).get("multiplexed_model_id")
    written = fields.pop("covariates", [])
    covariates = {each.get("name", ""): _numbers(each.get("values", [])) for each in written}
    if case["rpc"] != "ForecastService/Forecast" or customer is None or len(covariates) < len(written):
        return None
    start, version = fields.get("start_time"), fields.get("model_version")
    return Request(
        customer,
        _numbers(fields.get("sequence_data", [])),
        horizon=fields.get("horizon"),
        quantile_levels=_numbers(fields.get("quantile_levels", [])),
        start_time=None if start is None else datetime.fromisoformat(start),
        covariates=covariates,
        model_version=None if version is None else int(version),
    )


def _numbers(values: list[Any]) -> list[float]:
    return [float(value) for value in values]


def by_stub(channel: grpc.Channel, case: Case) -> Result:
    """The case by the stubs."""
    service, _, method = case["rpc"].partition("/")
    messages, stub = _WIRES[service]
    kind, metadata = getattr(messages, f"{method}Request"), tuple(case.get("metadata", {}).items())
    call: Any = getattr(stub(channel), method)
    try:
        if "requests" in case:
            sent = iter([json_format.ParseDict(each, kind()) for each in case["requests"]])
            ended = call(sent, metadata=metadata, timeout=TIMEOUT_S)
            reply = merged(map(tree_of, ended))
        else:
            request = json_format.ParseDict(case["request"], kind())
            message, ended = call.with_call(request, metadata=metadata, timeout=TIMEOUT_S)
            reply = tree_of(message)
    except grpc.RpcError as error:
        raise error_of(error) from error
    return {"reply": reply, "trailing": dict(map(tuple, ended.trailing_metadata()))}


def tree_of(message: Message) -> dict[str, Any]:
    """A message as the cases write it: ProtoJSON under the proto's names."""
    return json_format.MessageToDict(message, preserving_proto_field_name=True)


def merged(answers: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """The answers of a stream as one, its results in the order of their tags."""
    results = [result for answer in answers for result in answer["results"]]
    return {"results": sorted(results, key=lambda result: str(result.get("tag", "")))}


def answer_tree(answer: Forecast, asked: Request) -> dict[str, Any]:
    """An answer as the cases write it."""
    model = {
        "version": str(answer.model.version),
        "family": answer.model.family,
        "sha256": answer.model.sha256,
        "trained_time": _time(answer.model.trained_time),
    }
    quantiles = [{"level": level, "values": answer.quantiles[level]} for level in asked.quantile_levels]
    return {
        "customer_id": answer.customer_id,
        "forecast": answer.values,
        **({"quantiles": quantiles} if quantiles else {}),
        "model": {key: value for key, value in model.items() if value is not None},
        **({"forecast_start_time": _time(answer.start_time)} if answer.start_time else {}),
    }


def _time(value: datetime | None) -> str | None:
    return None if value is None else value.isoformat().replace("+00:00", "Z")


def error_tree(error: ForecastError) -> dict[str, Any]:
    """An error as the cases write it."""
    optional = {
        "metadata": dict(error.metadata),
        "fields": [violation.field for violation in error.violations],
        "retry_after_s": error.retry_after_s,
    }
    tree = {"code": error.code.name, "reason": error.reason, "message": error.message}
    return tree | {key: value for key, value in optional.items() if value}


def trailing_tree(come: Forecast | ForecastError) -> dict[str, str]:
    """The trailing metadata: what the client keeps of it, and of an error what gRPC has of it."""
    failed: Any = come.__cause__ if isinstance(come, ForecastError) else None
    ended = failed.trailing_metadata() if failed else ()
    kept = {"request_id": come.provenance.request_id, "forecast-replica": come.provenance.replica}
    return dict(map(tuple, ended)) | kept


if __name__ == "__main__":
    sys.exit(main())
