"""A budget in bytes means little where models take other bytes than they say."""

import gc
import tracemalloc
from collections.abc import Callable

import numpy as np
import pytest

from forecast_grpc import artefact
from forecast_grpc.domain import Forecaster
from forecast_grpc.loading import ModelCache, ModelSlot
from forecast_grpc.models.linear import Linear
from forecast_grpc.models.seasonal_naive import SeasonalNaive
from tests.stores import HORIZON, encode, residuals, trend

COUNT = 500
FORECASTERS: dict[str, Callable[[], Forecaster]] = {
    "trend": lambda: trend(1.0),
    "seasonal naive": lambda: SeasonalNaive(end=np.arange(7.0), residuals=residuals()),
    "linear": lambda: Linear(
        weights=np.ones((HORIZON, 200), np.float32),
        intercept=np.zeros(HORIZON),
        end=np.arange(200.0),
        residuals=residuals(),
    ),
}


def resident(data: bytes) -> tuple[float, float]:
    """What a model in the cache says that it takes, and what it takes, in bytes."""
    cache = ModelCache(2**40)

    def keep(number: int) -> None:
        name = f"customer-{number:08}"
        # Its own copy each, as it comes from a store.
        model = artefact.decode(bytes(bytearray(data)), name)
        cache.put(ModelSlot(key=(name, None), model=model, etag=f"{number:x}-{number:032x}", checked_at=0.0))

    keep(COUNT)
    gc.collect()
    tracemalloc.start()
    before, said = tracemalloc.get_traced_memory()[0], cache.warm_bytes
    for number in range(COUNT):
        keep(number)
    gc.collect()
    taken = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    return (cache.warm_bytes - said) / COUNT, taken / COUNT


@pytest.mark.parametrize("family", FORECASTERS)
def test_a_model_takes_what_it_says(family: str) -> None:
    """The bytes that count against the budget are within a tenth of those that Python has allocated."""
    said, taken = resident(encode(FORECASTERS[family](), 1, frequency="P1D"))
    assert said == pytest.approx(taken, rel=0.1)


def test_a_small_model_takes_less_than_2_kilobytes() -> None:
    """A `trend` model with its place, its key and its errors: the artefact's text is not kept."""
    said, taken = resident(encode(trend(1.0), 1, frequency="P1D"))
    assert max(said, taken) < 2_000
