"""What gRPC reflection tells: the files of all services, once more, in a pool of its own.

The Open Inference Protocol is served under two names with one set of messages. Tools that ask for
the standard name want a file with it. That file cannot be in protobuf's common pool, where a
client's own module of that package may be.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from typing import Any, Final

from google.protobuf import text_format
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2 as pb

from .call import Call
from .codes import StatusCode
from .protos import inference_pb2, management_pb2, open_inference_pb2

SERVICE: Final = pb.DESCRIPTOR.services_by_name["ServerReflection"]
NEWER_NAME: Final = "grpc.reflection.v1.ServerReflection"
"""The same service once more; newer tools ask for this one first."""

STANDARD_PACKAGE: Final = "inference"
_FILES: Final[tuple[Any, ...]] = (
    inference_pb2.DESCRIPTOR,
    management_pb2.DESCRIPTOR,
    open_inference_pb2.DESCRIPTOR,
    health_pb2.DESCRIPTOR,
    pb.DESCRIPTOR,
)


class ReflectionService:
    """``grpc.reflection``: what can be called, and with what messages.

    Args:
        names: full names of the services of this listener.
    """

    def __init__(self, names: Iterable[str]) -> None:
        self._names = sorted(names)
        self._pool: DescriptorPool | None = None

    async def server_reflection_info(
        self, requests: AsyncIterator[pb.ServerReflectionRequest], call: Call
    ) -> AsyncIterator[pb.ServerReflectionResponse]:
        """An answer to each question."""
        del call
        async for request in requests:
            response = pb.ServerReflectionResponse(
                valid_host=request.host, original_request=request
            )
            kind = request.WhichOneof("message_request")
            try:
                self._answer(kind, request, response)
            except KeyError:
                response.error_response.error_code = StatusCode.NOT_FOUND
                response.error_response.error_message = f"There is no such {kind}."
            yield response

    def _answer(self, kind: str | None, request: pb.ServerReflectionRequest, response: Any) -> None:
        if self._pool is None:
            self._pool = described_pool()  # few servers are ever asked
        pool = self._pool
        if kind == "list_services":
            for name in self._names:
                response.list_services_response.service.add(name=name)
        elif kind == "file_by_filename":
            _add_files(response, pool.FindFileByName(request.file_by_filename))
        elif kind == "file_containing_symbol":
            _add_files(response, pool.FindFileContainingSymbol(request.file_containing_symbol))
        elif kind == "file_containing_extension":
            wanted = request.file_containing_extension
            message = pool.FindMessageTypeByName(wanted.containing_type)
            found: Any = pool.FindExtensionByNumber(message, wanted.extension_number)
            _add_files(response, found.file)
        elif kind == "all_extension_numbers_of_type":
            message = pool.FindMessageTypeByName(request.all_extension_numbers_of_type)
            answer = response.all_extension_numbers_response
            answer.base_type_name = message.full_name
            answer.extension_number.extend(
                sorted(each.number for each in pool.FindAllExtensions(message))
            )
        else:
            response.error_response.error_code = StatusCode.INVALID_ARGUMENT
            response.error_response.error_message = "The request asks for nothing."


def _add_files(response: Any, file: Any) -> None:
    """A file, and those that it needs, each once."""
    known: dict[str, bytes] = {}
    waiting = [file]
    while waiting:
        each = waiting.pop()
        if each.name not in known:
            known[each.name] = each.serialized_pb
            waiting.extend(each.dependencies)
    response.file_descriptor_response.file_descriptor_proto.extend(known.values())


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
