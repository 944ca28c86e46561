"""The shared memory extensions of the Open Inference Protocol over gRPC."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypeAlias

from grpc import aio

from tsl.protocol.errors import Unsupported
from tsl.protocol.shared_memory import REGION

from ..shared_memory import NO_CUDA, SharedMemory
from .protos import open_inference_pb2 as pb

_Rpc: TypeAlias = aio.ServicerContext[Any, Any]


class SharedMemoryCalls:
    """The calls that a service of the protocol inherits.

    Args:
        regions: the registered ones.
    """

    def __init__(self, regions: SharedMemory) -> None:
        self._regions = regions

    async def system_shared_memory_status(
        self, request: pb.SystemSharedMemoryStatusRequest, rpc: _Rpc
    ) -> pb.SystemSharedMemoryStatusResponse:
        """A region, or all of them."""
        self._check_if_on(rpc)
        response = pb.SystemSharedMemoryStatusResponse()
        for each in self._regions.status(request.name):
            status = response.RegionStatus(**each)
            response.regions[status.name].CopyFrom(status)
        return response

    async def system_shared_memory_register(
        self, request: pb.SystemSharedMemoryRegisterRequest, rpc: _Rpc
    ) -> pb.SystemSharedMemoryRegisterResponse:
        """Let requests name a piece of shared memory."""
        self._regions.check(rpc.peer())
        self._regions.register(request.name, request.key, request.offset, request.byte_size)
        return pb.SystemSharedMemoryRegisterResponse()

    async def system_shared_memory_unregister(
        self, request: pb.SystemSharedMemoryUnregisterRequest, rpc: _Rpc
    ) -> pb.SystemSharedMemoryUnregisterResponse:
        """Forget a region, or all of them; one that is not registered is no mistake."""
        self._check_if_on(rpc)
        self._regions.unregister(request.name)
        return pb.SystemSharedMemoryUnregisterResponse()

    async def cuda_shared_memory_status(
        self, request: pb.CudaSharedMemoryStatusRequest, rpc: _Rpc
    ) -> pb.CudaSharedMemoryStatusResponse:
        """There are none."""
        del request, rpc
        return pb.CudaSharedMemoryStatusResponse()

    async def cuda_shared_memory_register(
        self, request: pb.CudaSharedMemoryRegisterRequest, rpc: _Rpc
    ) -> pb.CudaSharedMemoryRegisterResponse:
        """Refused."""
        del request, rpc
        raise Unsupported(NO_CUDA)

    async def cuda_shared_memory_unregister(
        self, request: pb.CudaSharedMemoryUnregisterRequest, rpc: _Rpc
    ) -> pb.CudaSharedMemoryUnregisterResponse:
        """There is nothing to do."""
        del request, rpc
        return pb.CudaSharedMemoryUnregisterResponse()

    def _check_if_on(self, rpc: _Rpc) -> None:
        if self._regions.is_on:
            self._regions.check(rpc.peer())


def regions_of(request: pb.ModelInferRequest) -> Iterator[str]:
    """The regions that a request names; one that is no text names none."""
    for tensors in (request.inputs, request.outputs):
        for tensor in tensors:
            if REGION in tensor.parameters:
                yield tensor.parameters[REGION].string_param
