"""The demo store: models of real series, fitted by `fit`, and the invented customers of Ray's tutorial."""

from forecast_grpc.demo.build import build, publish

__all__ = ["SIZE", "build", "publish"]

SIZE = 38
"""Customers in the demo store."""
