"""The shared memory extensions of the Open Inference Protocol over gRPC."""

from __future__ import annotations

from collections.abc import Iterator

from tsl.protocol.errors import Unsupported
from tsl.protocol.shared_memory import REGION

from ..shared_memory import NO_CUDA, SharedMemory
from .call import Call
from .protos import open_inference_pb2 as pb


class SharedMemoryCalls:
    """The calls that a service of the protocol inherits.

    Args:
        regions: the registered ones.
    """

    def __init__(self, regions: SharedMemory) -> None:
        self._regions = regions

    def system_shared_memory_status(
        self, request: pb.SystemSharedMemoryStatusRequest, call: Call
    ) -> pb.SystemSharedMemoryStatusResponse:
        """A region, or all of them."""
        self._check_if_on(call)
        response = pb.SystemSharedMemoryStatusResponse()
        for each in self._regions.status(request.name):
            status = response.RegionStatus(**each)
            response.regions[status.name].CopyFrom(status)
        return response

    def system_shared_memory_register(
        self, request: pb.SystemSharedMemoryRegisterRequest, call: Call
    ) -> pb.SystemSharedMemoryRegisterResponse:
        """Let requests name a piece of shared memory."""
        self._regions.check(call.peer())
        self._regions.register(request.name, request.key, request.offset, request.byte_size)
        return pb.SystemSharedMemoryRegisterResponse()

    def system_shared_memory_unregister(
        self, request: pb.SystemSharedMemoryUnregisterRequest, call: Call
    ) -> pb.SystemSharedMemoryUnregisterResponse:
        """Forget a region, or all of them; one that is not registered is no mistake."""
        self._check_if_on(call)
        self._regions.unregister(request.name)
        return pb.SystemSharedMemoryUnregisterResponse()

    def cuda_shared_memory_status(
        self, request: pb.CudaSharedMemoryStatusRequest, call: Call
    ) -> pb.CudaSharedMemoryStatusResponse:
        """There are none."""
        del request, call
        return pb.CudaSharedMemoryStatusResponse()

    def cuda_shared_memory_register(
        self, request: pb.CudaSharedMemoryRegisterRequest, call: Call
    ) -> pb.CudaSharedMemoryRegisterResponse:
        """Refused."""
        del request, call
        raise Unsupported(NO_CUDA)

    def cuda_shared_memory_unregister(
        self, request: pb.CudaSharedMemoryUnregisterRequest, call: Call
    ) -> pb.CudaSharedMemoryUnregisterResponse:
        """There is nothing to do."""
        del request, call
        return pb.CudaSharedMemoryUnregisterResponse()

    def _check_if_on(self, call: Call) -> None:
        if self._regions.is_on:
            self._regions.check(call.peer())


def regions_of(request: pb.ModelInferRequest) -> Iterator[str]:
    """The regions that a request names; one that is no text names none."""
    for tensors in (request.inputs, request.outputs):
        for tensor in tensors:
            if REGION in tensor.parameters:
                yield tensor.parameters[REGION].string_param
