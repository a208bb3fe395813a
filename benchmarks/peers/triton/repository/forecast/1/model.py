"""The model as Triton's Python backend wants it: one for all customers, with a dict of theirs."""

from typing import Any

import triton_python_backend_utils as triton

from benchmarks.peers.toy import SLOPES, load


class TritonPythonModel:
    """The name that the backend looks for."""

    def initialize(self, _arguments: dict[str, str]) -> None:
        """Called at the start."""
        self._models = {customer_id.encode(): load(customer_id) for customer_id in SLOPES}

    def execute(self, requests: list[Any]) -> list[Any]:
        """One answer for each request that Triton passes on at once."""
        return [self._answer(request) for request in requests]

    def _answer(self, request: Any) -> Any:  # noqa: ANN401 - Triton ships no types.
        customer_id = triton.get_input_tensor_by_name(request, "customer").as_numpy()[0]
        sequence = triton.get_input_tensor_by_name(request, "sequence").as_numpy()
        forecast = self._models[customer_id].predict(sequence)
        return triton.InferenceResponse([triton.Tensor("forecast", forecast)])
