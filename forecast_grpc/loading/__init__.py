"""From a customer to a live model: one flight a customer, tiers of memory, freshness behind the request's back."""

from forecast_grpc.loading.accesses import AccessLog
from forecast_grpc.loading.cache import ModelCache
from forecast_grpc.loading.collector import look_seldom, put_aside
from forecast_grpc.loading.frequent import FrequentCustomers
from forecast_grpc.loading.handover import Handover
from forecast_grpc.loading.hot import Acquired, HotModel, HotSet
from forecast_grpc.loading.lending import Loan, lendable
from forecast_grpc.loading.limits import LoadLimits
from forecast_grpc.loading.loader import ModelLoader
from forecast_grpc.loading.rings import ModelSlot

__all__ = [
    "AccessLog",
    "Acquired",
    "FrequentCustomers",
    "Handover",
    "HotModel",
    "HotSet",
    "LoadLimits",
    "Loan",
    "ModelCache",
    "ModelLoader",
    "ModelSlot",
    "lendable",
    "look_seldom",
    "put_aside",
]
