#!/bin/sh
# One forecast over HTTP with curl: curl.sh [CUSTOMER [REQUEST]]; the request is JSON, with the proto's field names.
set -eu
customer=${1:-customer_123}
request=${2:-'{"sequence_data": [100, 102, 98, 105, 110, 108, 112, 115, 118, 120]}'}
# An error's JSON is worth reading, so it is printed, and the exit code tells (22).
exec curl -sS --fail-with-body --max-time 5 -H "serve_multiplexed_model_id: $customer" \
    -H 'content-type: application/json' -d "$request" "${FORECAST_HTTP_URL:-http://127.0.0.1:8000}/v1/forecast"
