"""Models of other libraries, published while the service runs and asked over both protocols."""

import json
import shutil
from collections.abc import Iterator

import pytest

from forecast_grpc.store import FolderStore
from forecast_grpc.v1.forecast_pb2 import ForecastRequest
from tests.converted import CUSTOMERS, HORIZON, foreign, publish_foreign, sales
from tests.service import RunningService


@pytest.fixture(scope="module")
def converted(service: RunningService) -> Iterator[RunningService]:
    """The service with a converted model of each kind in its store."""
    publish_foreign(FolderStore(service.store))
    yield service
    for customer in CUSTOMERS:
        shutil.rmtree(service.store / customer)


@pytest.mark.parametrize("customer", CUSTOMERS)
def test_a_converted_model_forecasts_as_its_own_library(converted: RunningService, customer: str) -> None:
    """From the end of training both protocols answer what the library's `predict` does."""
    model = foreign()[customer]
    for outcome in (converted.grpc(None, customer), converted.http({}, customer)):
        assert outcome.code == "OK", outcome.message
        assert outcome.forecast == pytest.approx(model.forecast, rel=model.tolerance)


@pytest.mark.parametrize("customer", CUSTOMERS)
def test_a_converted_model_takes_a_window(converted: RunningService, customer: str) -> None:
    """Recent observations and quantile levels are taken as by any model, with the same bits on both wires."""
    window = sales()[-60:].tolist()
    over_grpc = converted.grpc(ForecastRequest(sequence_data=window, quantile_levels=[0.1, 0.9]), customer)
    over_http = converted.http({"sequence_data": window, "quantile_levels": [0.1, 0.9]}, customer)
    assert over_grpc.forecast == over_http.forecast
    assert len(over_grpc.forecast) == HORIZON
    low, high = (
        each["values"] for each in json.loads(over_http.everything.split("} {")[0] + "}")["quantiles"]
    )
    assert all(a < b for a, b in zip(low, high, strict=True))
