"""`python -m benchmarks.hosting benchmarks.tutorial_service 9100 proxy 9101`: module, ports, ingress."""

import sys

from benchmarks.hosting import host
from forecast_grpc.cli._endpoints import IngressMode

module, grpc_port, ingress, http_port = sys.argv[1:]
host(module, int(grpc_port), IngressMode(ingress), int(http_port))
