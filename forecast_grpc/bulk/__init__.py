"""Many forecasts at once: batches and streams, from items to blocks of results, whatever the protocol."""

from forecast_grpc.bulk.engine import BulkEngine

__all__ = ["BulkEngine"]
