"""`python -m benchmarks.peers.asking PEER PORT FOLDER`: asks a peer of the V2 inference protocol by its own stub.

It prints the forecast as JSON, and writes the request and the answer, encoded, into FOLDER for the load generator.
"""

import json
import sys
from importlib import import_module
from pathlib import Path

import grpc
import numpy as np

CUSTOMER_ID = "customer_123"
SEQUENCE = np.array([100.0, 102.0, 98.0, 105.0, 110.0, 108.0, 112.0, 115.0, 118.0, 120.0])

STUBS = {
    "kserve": ("kserve.protocol.grpc.grpc_predict_v2_pb2", "kserve.protocol.grpc.grpc_predict_v2_pb2_grpc"),
    "mlserver": ("mlserver.grpc.dataplane_pb2", "mlserver.grpc.dataplane_pb2_grpc"),
    "triton": ("tritonclient.grpc.service_pb2", "tritonclient.grpc.service_pb2_grpc"),
}
"""The modules of each peer's messages and stubs."""

_TIMEOUT_S = 20.0


def main(peer: str, port: str, folder: str) -> None:
    """One request."""
    messages, stubs = map(import_module, STUBS[peer])
    inputs, contents = [("sequence", "FP64", SEQUENCE.shape)], [SEQUENCE.tobytes()]
    if peer == "triton":
        # One model for all: the customer is an input.
        inputs.append(("customer", "BYTES", (1,)))
        contents.append(len(CUSTOMER_ID).to_bytes(4, "little") + CUSTOMER_ID.encode())
    tensor = messages.ModelInferRequest.InferInputTensor
    request = messages.ModelInferRequest(
        model_name="forecast" if peer == "triton" else CUSTOMER_ID,
        id="1",
        inputs=[tensor(name=name, datatype=kind, shape=shape) for name, kind, shape in inputs],
        raw_input_contents=contents,
    )
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        ask = stubs.GRPCInferenceServiceStub(channel).ModelInfer
        answer = ask(request, timeout=_TIMEOUT_S, wait_for_ready=True)
    Path(folder, "request.bin").write_bytes(request.SerializeToString())
    Path(folder, "answer.bin").write_bytes(answer.SerializeToString())
    raw = answer.raw_output_contents
    forecast = np.frombuffer(raw[0]).tolist() if raw else list(answer.outputs[0].contents.fp64_contents)
    print(json.dumps(forecast))


if __name__ == "__main__":
    main(*sys.argv[1:])
