"""What an operator sees: metrics and the canonical log line. The sinks that need Ray are in `ray_sink`."""

from forecast_grpc.telemetry.collect import Facts, MetricSink, TagValues, Telemetry
from forecast_grpc.telemetry.journal import Journal, loading_for

__all__ = ["Facts", "Journal", "MetricSink", "TagValues", "Telemetry", "loading_for"]
