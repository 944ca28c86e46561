"""TorchServe's management service: the calls of the HTTP API, in messages.

Numbers that are zero or below and texts that are empty count as not given (gRPC API, section 3),
but for ``min_worker`` and ``max_worker``: a client that sends a zero of those means it.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable
from typing import Final

from google.protobuf.message import Message

from tsl.protocol.errors import InvalidParameter

from ..management_calls import Answer, ManagementCalls
from .call import Call
from .protos.management_pb2 import (
    DescribeModelRequest,
    ListModelsRequest,
    ManagementResponse,
    RegisterModelRequest,
    ScaleWorkerRequest,
    SetDefaultRequest,
    UnregisterModelRequest,
)

_SCALE_COUNTS: Final = ("min_worker", "max_worker")


class ManagementService:
    """``org.pytorch.serve.grpc.management.ManagementAPIsService``.

    Args:
        calls: the operations.
    """

    def __init__(self, calls: ManagementCalls) -> None:
        self._calls = calls

    async def describe_model(self, request: DescribeModelRequest, call: Call) -> ManagementResponse:
        """A document: a list of descriptions."""
        name, version = _name_of(request.model_name), request.model_version
        if request.customized and version != "all":
            return await _answered(
                self._calls.describe_customized(name, version, call.new_job_id(), [])
            )
        return _response(self._calls.describe(name, version))

    def list_models(self, request: ListModelsRequest, call: Call) -> ManagementResponse:
        """A document: a page of models."""
        del call
        return _response(self._calls.list_models(_values(request)))

    async def register_model(self, request: RegisterModelRequest, call: Call) -> ManagementResponse:
        """Serve another model version."""
        del call
        values = {"synchronous": "false", **_values(request)}
        return await _answered(self._calls.register(values))

    async def scale_worker(self, request: ScaleWorkerRequest, call: Call) -> ManagementResponse:
        """Change the number of workers."""
        del call
        values = _values(request)
        for field in _SCALE_COUNTS:
            if request.HasField(field) and getattr(request, field) == 0:
                values[field] = "0"
        name = _name_of(request.model_name)
        return await _answered(self._calls.scale(name, request.model_version, values))

    async def set_default(self, request: SetDefaultRequest, call: Call) -> ManagementResponse:
        """Answer requests without a version with this one."""
        del call
        if not request.model_version:
            raise InvalidParameter("Parameter model_version is required.")
        name = _name_of(request.model_name)
        return await _answered(self._calls.set_default(name, request.model_version))

    async def unregister_model(
        self, request: UnregisterModelRequest, call: Call
    ) -> ManagementResponse:
        """Stop serving a version."""
        del call
        name = _name_of(request.model_name)
        return await _answered(self._calls.unregister(name, request.model_version))


def _name_of(name: str) -> str:
    if not name:
        raise InvalidParameter("Parameter model_name is required.")
    return name


def _values(request: Message) -> dict[str, str]:
    """The fields that are given, as the HTTP API's parameters."""
    values = {}
    for field, value in request.ListFields():
        if isinstance(value, bool):
            values[field.name] = str(value).lower()
        elif isinstance(value, str) or value > 0:
            values[field.name] = str(value)
    return values


async def _answered(call: Awaitable[Answer]) -> ManagementResponse:
    return _response(await call)


def _response(answer: Answer) -> ManagementResponse:
    """The status text where there is one, else the document as TorchServe prints it."""
    document = answer.document
    if isinstance(document, dict) and set(document) == {"status"}:
        return ManagementResponse(msg=document["status"])
    return ManagementResponse(msg=json.dumps(document, indent=2, ensure_ascii=False))
