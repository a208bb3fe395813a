"""The deployment from Python, by a handle, as in Ray's tutorial."""

import json
import os
import subprocess
import sys
from pathlib import Path

from tests.service import TUTORIAL_FORECAST, TUTORIAL_SEQUENCE, RunningService

# A driver of its own: Ray connects a process to one cluster, and this one's tests use several.
DRIVER = """
import json, sys
import ray
from ray import serve
from forecast_grpc.errors import ForecastError
from forecast_grpc.v1.forecast_pb2 import BatchForecastRequest, ForecastItem, ForecastRequest
from forecast_grpc.v1.model_pb2 import GetModelRequest

ray.init(logging_level="ERROR", log_to_driver=False)
sequence = json.loads(sys.argv[1])
handle = serve.get_deployment_handle("ForecastingService", "default")
customer = handle.options(multiplexed_model_id="customer_123")
item = ForecastItem(request=ForecastRequest(sequence_data=sequence))
batch = BatchForecastRequest(items=[item, ForecastItem(customer_id="nobody")])
seen = {
    "mapping": customer.remote({"sequence_data": sequence}).result()["forecast"],
    "message": list(customer.remote(ForecastRequest(sequence_data=sequence)).result().forecast),
    "model": handle.GetModel.remote(GetModelRequest(customer_id="customer_123")).result().model.family,
    "metadata": customer.GetModel.remote(GetModelRequest()).result().model.customer_id,
    "method": list(customer.Forecast.remote(ForecastRequest(sequence_data=sequence)).result().forecast),
}
good, bad = customer.BatchForecast.remote(batch).result().results
seen |= {"batch": list(good.response.forecast), "item": bad.error.reason}
for name, call in {
    "unknown": lambda: handle.options(multiplexed_model_id="nobody").remote({}).result(),
    "invalid": lambda: customer.remote({"horizon": 0}).result(),
    "missing": lambda: handle.Forecast.remote(ForecastRequest()).result(),
    "no version": lambda: customer.GetModel.remote(GetModelRequest(version=99)).result(),
}.items():
    try:
        call()
    except ForecastError as error:
        seen[name] = error.reason
print("seen:" + json.dumps(seen))
"""


def test_handles_answer_as_in_the_tutorial(service: RunningService, tmp_path: Path) -> None:
    """A handle with the customer in its options answers a mapping and a message, and raises our errors.

    So do the calls of the model service.
    """
    script = tmp_path / "driver.py"
    script.write_text(DRIVER)
    environment = os.environ | service.ray_environment
    command = [sys.executable, str(script), json.dumps(TUTORIAL_SEQUENCE)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout.rpartition("seen:")[2])
    assert seen == {
        "mapping": TUTORIAL_FORECAST,
        "message": TUTORIAL_FORECAST,
        "method": TUTORIAL_FORECAST,
        "batch": TUTORIAL_FORECAST,
        "item": "MODEL_NOT_FOUND",
        "unknown": "MODEL_NOT_FOUND",
        "invalid": "REQUEST_INVALID",
        "missing": "CUSTOMER_ID_MISSING",
        "model": "trend",
        "metadata": "customer_123",
        "no version": "MODEL_VERSION_NOT_FOUND",
    }
