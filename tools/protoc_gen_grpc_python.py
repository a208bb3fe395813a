"""A protoc plugin for the Python gRPC stubs, which grpcio-tools builds into its protoc but ships no plugin for.

`buf generate` speaks to plugins alone: a CodeGeneratorRequest on standard input, a response on standard output
(google/protobuf/compiler/plugin.proto). The request's descriptors go to that protoc, and its files come back.
"""

import sys
import tempfile
from pathlib import Path

from google.protobuf.compiler.plugin_pb2 import CodeGeneratorRequest, CodeGeneratorResponse
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from grpc_tools import protoc


def generate(request: CodeGeneratorRequest, folder: Path) -> CodeGeneratorResponse:
    """The stubs of the request's files, made in the empty `folder`. Raises SystemExit where protoc fails."""
    descriptors = folder / "descriptors.binpb"
    descriptors.write_bytes(FileDescriptorSet(file=request.proto_file).SerializeToString())
    out = folder / "out"
    out.mkdir()
    status = protoc.main(
        [
            "protoc",
            f"--descriptor_set_in={descriptors}",
            f"--grpc_python_out={out}",
            *request.file_to_generate,
        ]
    )
    if status:
        raise SystemExit(status)
    response = CodeGeneratorResponse(supported_features=CodeGeneratorResponse.FEATURE_PROTO3_OPTIONAL)
    for path in sorted(out.rglob("*.py")):
        response.file.add(name=path.relative_to(out).as_posix(), content=path.read_text(encoding="utf-8"))
    return response


def main() -> None:
    """One request in, one response out."""
    request = CodeGeneratorRequest.FromString(sys.stdin.buffer.read())
    with tempfile.TemporaryDirectory() as folder:
        response = generate(request, Path(folder))
    sys.stdout.buffer.write(response.SerializeToString())


if __name__ == "__main__":
    main()
