"""Protobuf and JSON to domain values and back. Nothing beyond this package and `service` knows a wire type."""

from forecast_grpc.wire.answers import AnswerBody, answer_to_json, answer_to_proto
from forecast_grpc.wire.failures import ErrorBody, error_to_json, error_to_status
from forecast_grpc.wire.requests import ForecastBody, query_from_json, query_from_mapping, query_from_proto

__all__ = [
    "AnswerBody",
    "ErrorBody",
    "ForecastBody",
    "answer_to_json",
    "answer_to_proto",
    "error_to_json",
    "error_to_status",
    "query_from_json",
    "query_from_mapping",
    "query_from_proto",
]
