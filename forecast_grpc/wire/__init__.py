"""Protobuf and JSON to domain values and back. Nothing beyond this package and `service` knows a wire type."""

from forecast_grpc.wire.answers import AnswerBody, answer_to_json, answer_to_proto
from forecast_grpc.wire.batch_bodies import (
    BatchAnswerBody,
    BatchBody,
    batch_to_json,
    order_from_json,
    results_to_json,
)
from forecast_grpc.wire.batches import (
    batch_response,
    items_from_proto,
    order_from_proto,
    results_to_proto,
    stream_response,
)
from forecast_grpc.wire.covariates import CovariateBody
from forecast_grpc.wire.failures import ErrorBody, error_to_json, error_to_status
from forecast_grpc.wire.model_answers import (
    activation_response,
    customers_response,
    explanation_response,
    message_to_json,
    model_response,
    versions_response,
    warming_response,
)
from forecast_grpc.wire.model_requests import (
    DEFAULT_PAGE_SIZE,
    DEFAULT_TOP_SIZE,
    MAX_PAGE_SIZE,
    MAX_PREFIX_LENGTH,
    activation,
    customers_query,
    explained_customer,
    message_of,
    message_of_json,
    model_query,
    top_size,
    versions_query,
    warmed_customers,
)
from forecast_grpc.wire.requests import (
    CUSTOMER_SCHEMA,
    VERSION_SCHEMA,
    ForecastBody,
    query_from_json,
    query_from_mapping,
    query_from_proto,
)
from forecast_grpc.wire.usage_answers import usage_response

__all__ = [
    "CUSTOMER_SCHEMA",
    "DEFAULT_PAGE_SIZE",
    "DEFAULT_TOP_SIZE",
    "MAX_PAGE_SIZE",
    "MAX_PREFIX_LENGTH",
    "VERSION_SCHEMA",
    "AnswerBody",
    "BatchAnswerBody",
    "BatchBody",
    "CovariateBody",
    "ErrorBody",
    "ForecastBody",
    "activation",
    "activation_response",
    "answer_to_json",
    "answer_to_proto",
    "batch_response",
    "batch_to_json",
    "customers_query",
    "customers_response",
    "error_to_json",
    "error_to_status",
    "explained_customer",
    "explanation_response",
    "items_from_proto",
    "message_of",
    "message_of_json",
    "message_to_json",
    "model_query",
    "model_response",
    "order_from_json",
    "order_from_proto",
    "query_from_json",
    "query_from_mapping",
    "query_from_proto",
    "results_to_json",
    "results_to_proto",
    "stream_response",
    "top_size",
    "usage_response",
    "versions_query",
    "versions_response",
    "warmed_customers",
    "warming_response",
]
