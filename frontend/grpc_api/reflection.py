"""What gRPC reflection tells: the files of all services, once more, in a pool of its own.

The Open Inference Protocol is served under two names with one set of messages. Tools that ask for
the standard name want a file with it. That file cannot be in protobuf's common pool, where a
client's own module of that package may be.
"""

from __future__ import annotations

from typing import Any, Final

from google.protobuf import text_format
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2

from .protos import inference_pb2, management_pb2, open_inference_pb2

STANDARD_PACKAGE: Final = "inference"
_FILES: Final[tuple[Any, ...]] = (
    inference_pb2.DESCRIPTOR,
    management_pb2.DESCRIPTOR,
    open_inference_pb2.DESCRIPTOR,
    health_pb2.DESCRIPTOR,
    reflection_pb2.DESCRIPTOR,
)


def described_pool() -> DescriptorPool:
    """A pool that knows every service of this server under each of its names."""
    pool = DescriptorPool()
    known: set[str] = set()
    for file in _FILES:
        _add(pool, file, known)
    pool.AddSerializedFile(_standard().SerializeToString())
    return pool


def _add(pool: DescriptorPool, file: Any, known: set[str]) -> None:
    if file.name in known:
        return
    known.add(file.name)
    for each in file.dependencies:
        _add(pool, each, known)
    pool.AddSerializedFile(file.serialized_pb)


def _standard() -> FileDescriptorProto:
    """The file of the Open Inference Protocol in the standard package."""
    proto = FileDescriptorProto()
    open_inference_pb2.DESCRIPTOR.CopyToProto(proto)
    text = text_format.MessageToString(proto).replace(proto.package, STANDARD_PACKAGE)
    renamed = text_format.Parse(text, FileDescriptorProto())
    renamed.name = f"{STANDARD_PACKAGE}/{proto.name.rpartition('/')[2]}"
    return renamed
