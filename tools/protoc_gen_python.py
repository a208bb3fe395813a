"""A protoc plugin for Python: messages and gRPC stubs, by the protoc inside grpcio-tools.

`buf generate` speaks to plugins alone: a CodeGeneratorRequest on standard input, a response on standard output
(google/protobuf/compiler/plugin.proto). grpcio-tools has its generators in its own protoc and ships no plugins.
So the request's descriptors go to that protoc, and its files come back.
"""

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from google.protobuf.compiler.plugin_pb2 import CodeGeneratorRequest, CodeGeneratorResponse
from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
    FileDescriptorSet,
)
from grpc_tools import protoc


def fields_of(message: DescriptorProto) -> Iterator[FieldDescriptorProto]:
    """Every field that a message declares, and those of the messages inside it."""
    yield from message.field
    for inner in message.nested_type:
        yield from fields_of(inner)


def with_json_names_as_written(file: FileDescriptorProto) -> FileDescriptorProto:
    """The descriptor as protoc itself compiles it.

    buf writes every field's JSON name into it, protoc those that the proto writes out. Python takes two
    descriptors of one file name for a conflict unless they are equal, so ours has to be the one that a caller's
    own protoc makes. Our protos write out every JSON name that differs from the field's name; the test of the
    callers' stubs shows one that is missing.
    """
    plain = FileDescriptorProto()
    plain.CopyFrom(file)
    for message in plain.message_type:
        for field in fields_of(message):
            if field.json_name == field.name:
                field.ClearField("json_name")
    return plain


def generate(request: CodeGeneratorRequest, folder: Path) -> CodeGeneratorResponse:
    """The modules of the request's files, made in the empty `folder`. Raises SystemExit where protoc fails."""
    descriptors = FileDescriptorSet(file=map(with_json_names_as_written, request.proto_file))
    (folder / "descriptors.binpb").write_bytes(descriptors.SerializeToString())
    out = folder / "out"
    out.mkdir()
    inputs = [f"--descriptor_set_in={folder / 'descriptors.binpb'}", *request.file_to_generate]
    status = protoc.main(["protoc", f"--python_out={out}", f"--grpc_python_out={out}", *inputs])
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
