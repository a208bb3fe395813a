"""The descriptor pool of this package's messages.

A process has one default pool, which refuses a second file of the same name unless both are equal. Whoever uses
this client may have stubs of their own from the same protos, or the service's package, of another release. In a
pool of its own this package cannot conflict with them.
"""

from google.protobuf import duration_pb2, timestamp_pb2
from google.protobuf.descriptor_pool import DescriptorPool

POOL = DescriptorPool()
"""Knows what the protos import; the generated modules add the protos themselves."""

for _file in (duration_pb2, timestamp_pb2):
    POOL.AddSerializedFile(_file.DESCRIPTOR.serialized_pb)
