"""What an operator sees: metrics and the canonical log line. The sinks that need Ray are in `ray_sink`."""

from forecast_grpc.telemetry.collect import Facts, MetricSink, TagValues, Telemetry

__all__ = ["Facts", "MetricSink", "TagValues", "Telemetry"]
