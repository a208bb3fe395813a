"""What an operator sees: metrics and the canonical log line. The sinks that need Ray are in `ray_sink`."""

from forecast_grpc.telemetry.collect import Telemetry
from forecast_grpc.telemetry.journal import Journal, loading_for
from forecast_grpc.telemetry.lines import Facts
from forecast_grpc.telemetry.sink import MetricSink, TagValues

__all__ = ["Facts", "Journal", "MetricSink", "TagValues", "Telemetry", "loading_for"]
