"""`python -m benchmarks.hosting benchmarks.tutorial_service 9100 proxy`: module, gRPC port, ingress."""

import sys

from benchmarks.hosting import host
from forecast_grpc.cli._endpoints import IngressMode

module, grpc_port, ingress = sys.argv[1:]
host(module, int(grpc_port), IngressMode(ingress))
