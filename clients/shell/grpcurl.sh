#!/bin/sh
# One forecast with grpcurl: grpcurl.sh [CUSTOMER [REQUEST]]; the request is JSON, with the proto's field names.
set -eu
customer=${1:-customer_123}
request=${2:-'{"sequence_data": [100, 102, 98, 105, 110, 108, 112, 115, 118, 120]}'}
# -v shows the trailing metadata too: request_id, forecast-replica, forecast-cache.
exec grpcurl -plaintext -v -max-time 5 -H "multiplexed_model_id: $customer" -d "$request" \
    "${FORECAST_GRPC_ADDRESS:-127.0.0.1:9000}" forecast.v1.ForecastService/Forecast
