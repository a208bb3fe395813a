"""From a customer to a live model: one flight a customer, tiers of memory, freshness behind the request's back."""

from forecast_grpc.loading.cache import ModelCache, ModelSlot
from forecast_grpc.loading.hot import HotModel, HotSet
from forecast_grpc.loading.loader import LoadLimits, ModelLoader

__all__ = ["HotModel", "HotSet", "LoadLimits", "ModelCache", "ModelLoader", "ModelSlot"]
