"""The Open Inference Protocol's service, with Triton's additions."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from functools import partial
from typing import Any, Final

from google.protobuf.json_format import ParseDict

from tsl.protocol.errors import Forbidden, InvalidParameter, TslError
from tsl.protocol.frames import Buffer, Reply, new_row
from tsl.protocol.tensors import FRAMED

from ..http_api.context import Stats
from ..http_api.health import is_ready
from ..jobs import Job, ReplySink
from ..model_repository import ModelRepository
from ..open_inference import ModelCounters, OpenInference
from ..open_inference_parameters import SequenceNames, alone, sequence_of, timeout_of
from ..registry import ModelRegistry, ServedModel
from ..shared_memory import Attached
from .call import Call
from .calls import Outbox, StreamPieces, UnaryAnswer
from .infer_messages import InferAnswers, InferRequest, InferRequests, KnownRequest, parts_like
from .inference import MAX_CONCURRENT, submit
from .protos import open_inference_pb2 as pb
from .setting_messages import log_response, log_values, trace_response
from .shared_memory import SharedMemoryCalls, regions_of
from .tensor_messages import parameter_values, parts_of, response_of, wants_raw
from .turns import Turn, Turns

_WANTS_FINAL: Final = "triton_enable_empty_final_response"
_IS_FINAL: Final = "triton_final_response"
_NO_HEADERS: Final[list[bytes]] = []
_PLAIN: Final[list[str]] = []
_FRAMED: Final = [FRAMED, "True"]
"""Properties of rows, the same lists for all calls: what rows share is sent to a worker once."""


class OpenInferenceService(SharedMemoryCalls):
    """``GRPCInferenceService``.

    Args:
        registry: what is served.
        protocol: the documents.
        stats: counts jobs and answers.
        repository: loads and unloads models.
        sequence_names: headers that make a job part of a sequence.
        manages: False on the inference listener, whose callers may change nothing.
    """

    def __init__(
        self,
        registry: ModelRegistry,
        protocol: OpenInference,
        stats: Stats,
        repository: ModelRepository,
        sequence_names: SequenceNames,
        *,
        manages: bool,
    ) -> None:
        super().__init__(protocol.shared_memory)
        self._manages = manages
        self._sequence_names = sequence_names
        self._registry = registry
        self._protocol = protocol
        self._stats = stats
        self._repository = repository
        self._requests = InferRequests()
        self._answers = InferAnswers()

    # -- health and metadata ---------------------------------------------------------------------

    def server_live(self, request: pb.ServerLiveRequest, call: Call) -> pb.ServerLiveResponse:
        """This server answers."""
        del request, call
        return pb.ServerLiveResponse(live=True)

    def server_ready(self, request: pb.ServerReadyRequest, call: Call) -> pb.ServerReadyResponse:
        """Every model has its workers."""
        del request, call
        return pb.ServerReadyResponse(ready=all(map(is_ready, self._registry.defaults())))

    def model_ready(self, request: pb.ModelReadyRequest, call: Call) -> pb.ModelReadyResponse:
        """A model can be used."""
        del call
        ready = self._protocol.is_model_ready(_name(request.name), request.version)
        return pb.ModelReadyResponse(ready=ready)

    def server_metadata(
        self, request: pb.ServerMetadataRequest, call: Call
    ) -> pb.ServerMetadataResponse:
        """Who this is."""
        del request, call
        return pb.ServerMetadataResponse(**self._protocol.server())

    def model_metadata(
        self, request: pb.ModelMetadataRequest, call: Call
    ) -> pb.ModelMetadataResponse:
        """What a model is, and its tensors."""
        del call
        document = self._protocol.model(_name(request.name), request.version)
        return pb.ModelMetadataResponse(**document)

    def model_config(self, request: pb.ModelConfigRequest, call: Call) -> pb.ModelConfigResponse:
        """A model's configuration."""
        del call
        document = self._protocol.config(_name(request.name), request.version)
        return ParseDict({"config": document}, pb.ModelConfigResponse())

    def model_statistics(
        self, request: pb.ModelStatisticsRequest, call: Call
    ) -> pb.ModelStatisticsResponse:
        """What was counted."""
        del call
        document = self._protocol.statistics(request.name, request.version)
        return ParseDict(document, pb.ModelStatisticsResponse())

    # -- models ------------------------------------------------------------------------------------

    def read_model_infer(self, data: bytes) -> InferRequest:
        """A message for `model_infer`."""
        return self._requests.read(data)

    def model_infer(self, request: InferRequest, call: Call) -> None:
        """One answer."""
        known = request.known
        if known is not None:
            served = self._registry.get(known.name, known.version)
            if _takes_tensors(served):
                self._infer_like(known, served, request, call)
                return
        message = request.message
        served = self._served(message)
        attached = self._attach(served, message, call)
        takes_tensors = _takes_tensors(served)
        if takes_tensors and request.tensors:
            make = self._maker(served, request.request_id, message.model_name)
        else:
            make = partial(_encoded, served, message)
        sink = _InferAnswer(call, self._stats, self._protocol.counters(served), make, attached)
        job = self._submit(served, message, sink, call, attached)
        call.withdraw = job.cancel
        if takes_tensors and attached is None:
            self._requests.remember(request, job.row.parts)

    def _infer_like(
        self, known: KnownRequest, served: ServedModel, request: InferRequest, call: Call
    ) -> None:
        """Answer a call that is like an earlier one but for its id and its tensors."""
        name, version, parameters, *_ = known
        headers, time_left_s = self._asked_for(served, parameters, call)
        make = self._maker(served, request.request_id, name)
        sink = _InferAnswer(call, self._stats, self._protocol.counters(served), make, None)
        parts = parts_like(known, request.tensors)
        row = new_row((call.new_job_id(), headers, _FRAMED, parts))
        labels = (name, version or "default")
        call.withdraw = submit(served, self._stats, sink, labels, row, time_left_s).cancel

    def _maker(self, served: ServedModel, request_id: str, name: str) -> Callable[[Buffer], bytes]:
        """Makes the answer for who has sent bytes to a model that takes tensors."""
        message_of, version = self._answers.message_of, served.version.version
        return lambda body: message_of(body, request_id, name, version)

    async def model_stream_infer(
        self, requests: AsyncIterator[pb.ModelInferRequest], call: Call
    ) -> AsyncIterator[pb.ModelStreamInferResponse]:
        """Answers to many requests, any number to each; errors among them. See `turns`."""
        answers: Outbox[pb.ModelStreamInferResponse] = Outbox()
        reading = asyncio.create_task(self._answer_all(requests, call, answers))
        reading.add_done_callback(lambda _: answers.close())
        try:
            async with aclosing(answers.items()) as items:
                async for answer in items:
                    yield answer
            await reading
        finally:
            reading.cancel()

    async def _answer_all(
        self,
        requests: AsyncIterator[pb.ModelInferRequest],
        call: Call,
        answers: Outbox[pb.ModelStreamInferResponse],
    ) -> None:
        room = asyncio.Semaphore(MAX_CONCURRENT)
        turns = Turns()
        async with asyncio.TaskGroup() as group:
            async for request in requests:
                await room.acquire()
                task = group.create_task(self._answer(request, call, answers, turns.take()))
                task.add_done_callback(lambda _: room.release())

    async def _answer(
        self,
        request: pb.ModelInferRequest,
        call: Call,
        answers: Outbox[pb.ModelStreamInferResponse],
        turn: Turn,
    ) -> None:
        sink = StreamPieces(self._stats)
        job: Job | None = None
        try:
            served = self._served(request)
            attached = self._attach(served, request, call)
            job = self._submit(served, request, sink, call, attached)
            async with aclosing(sink.pieces()) as pieces:
                async for piece in pieces:
                    if sink.is_stream:
                        turn.leave()
                    else:
                        await turn.come()
                    if piece:
                        response = _response(served, request, piece)
                        await answers.put(pb.ModelStreamInferResponse(infer_response=response))
            if request.parameters[_WANTS_FINAL].bool_param:
                await answers.put(_final(served, request))
            self._protocol.counters(served).note(job, succeeded=True)
        except TslError as error:
            if not sink.is_stream:
                await turn.come()
            response = pb.ModelInferResponse(model_name=request.model_name, id=request.id)
            answer = pb.ModelStreamInferResponse(error_message=str(error), infer_response=response)
            await answers.put(answer)
            if job is not None:
                self._protocol.counters(served).note(job, succeeded=False)
        finally:
            turn.leave()
            sink.release()
            if job is not None:
                job.cancel()

    def _served(self, request: pb.ModelInferRequest) -> ServedModel:
        return self._registry.get(_name(request.model_name), request.model_version)

    def _attach(
        self, served: ServedModel, request: pb.ModelInferRequest, call: Call
    ) -> Attached | None:
        names = [*regions_of(request)]
        if not names:
            return None
        return self._regions.attach(names, call.peer(), takes_tensors=_takes_tensors(served))

    def _submit(
        self,
        served: ServedModel,
        request: pb.ModelInferRequest,
        sink: ReplySink,
        call: Call,
        attached: Attached | None,
    ) -> Job:
        takes_tensors = _takes_tensors(served)
        parts = parts_of(request, takes_tensors=takes_tensors)
        properties = _FRAMED if takes_tensors else _PLAIN
        if attached is not None:
            properties = [*properties, *attached.properties]
        parameters = parameter_values(request.parameters)
        headers, time_left_s = self._asked_for(served, parameters, call)
        return submit(
            served,
            self._stats,
            sink,
            (request.model_name, request.model_version or "default"),
            new_row((call.new_job_id(), headers, properties, parts)),
            time_left_s,
        )

    def _asked_for(
        self, served: ServedModel, parameters: dict[str, Any], call: Call
    ) -> tuple[list[bytes], float | None]:
        """Headers of the row, and how long the client waits, in seconds; None for ever."""
        headers, time_left_s = _NO_HEADERS, call.time_remaining()
        is_stateful = served.version.config.sequence_batching
        if parameters or is_stateful:
            if is_stateful:
                names = self._sequence_names
                headers = sequence_of(parameters, names) or alone(names)
            limits = [each for each in (time_left_s, timeout_of(parameters)) if each]
            time_left_s = min(limits, default=None)
        return headers, time_left_s

    # -- the repository ----------------------------------------------------------------------------

    async def repository_index(
        self, request: pb.RepositoryIndexRequest, call: Call
    ) -> pb.RepositoryIndexResponse:
        """What there is, and whether it can be used."""
        del call
        served_only = not self._manages
        models = await self._repository.index(ready_only=request.ready, served_only=served_only)
        return pb.RepositoryIndexResponse(models=models)

    async def repository_model_load(
        self, request: pb.RepositoryModelLoadRequest, call: Call
    ) -> pb.RepositoryModelLoadResponse:
        """Serve a model of the store."""
        del call
        await self._managed().load(_name(request.model_name), request.parameters)
        return pb.RepositoryModelLoadResponse()

    async def repository_model_unload(
        self, request: pb.RepositoryModelUnloadRequest, call: Call
    ) -> pb.RepositoryModelUnloadResponse:
        """Stop serving a model."""
        del call
        await self._managed().unload(_name(request.model_name))
        return pb.RepositoryModelUnloadResponse()

    # -- settings of the server ----------------------------------------------------------------------

    def log_settings(self, request: pb.LogSettingsRequest, call: Call) -> pb.LogSettingsResponse:
        """The log's settings, and changes of them."""
        del call
        settings = self._protocol.log.settings()
        if request.settings:
            self._managed()
            settings = self._protocol.log.update(log_values(request))
        return log_response(settings)

    def trace_setting(self, request: pb.TraceSettingRequest, call: Call) -> pb.TraceSettingResponse:
        """The settings of traces, of which there are none."""
        del call
        settings = self._protocol.trace.settings(request.model_name)
        if request.settings:
            self._managed()
            wanted = {name: [*each.value] for name, each in request.settings.items()}
            settings = self._protocol.trace.update(wanted, request.model_name)
        return trace_response(settings)

    def _managed(self) -> ModelRepository:
        if not self._manages:
            raise Forbidden(
                "Models and settings are managed on another port.",
                hint="Call the address of grpc_management_port.",
            )
        return self._repository


class _InferAnswer(UnaryAnswer):
    """Counts the answer in the protocol's own statistics, too."""

    __slots__ = ("_attached", "_counters")

    def __init__(
        self,
        call: Call,
        stats: Stats,
        counters: ModelCounters,
        make: Callable[[Buffer], bytes],
        attached: Attached | None,
    ) -> None:
        super().__init__(call, stats, make)
        self._attached = attached  # kept until the call has its answer
        self._counters = counters

    def finish(self, job: Job, reply: Reply) -> None:
        self._attached = None
        succeeded = self._answer(job, reply)
        self._counters.note(job, succeeded=succeeded)

    def fail(self, job: Job, error: TslError) -> None:
        self._attached = None
        self._counters.note(job, succeeded=False)
        super().fail(job, error)


def _name(name: str) -> str:
    if not name:
        raise InvalidParameter("Parameter name is required.")
    return name


def _takes_tensors(served: ServedModel) -> bool:
    return served.version.config.input_format == "tensors"


def _encoded(served: ServedModel, request: pb.ModelInferRequest, body: Buffer) -> bytes:
    return _response(served, request, body).SerializeToString()


def _response(
    served: ServedModel, request: pb.ModelInferRequest, body: Buffer
) -> pb.ModelInferResponse:
    return response_of(
        body,
        is_framed=_takes_tensors(served),
        wants_raw=wants_raw(request),
        request_id=request.id,
        name=request.model_name,
        version=served.version.version,
    )


def _final(served: ServedModel, request: pb.ModelInferRequest) -> pb.ModelStreamInferResponse:
    """Says that a request has had all its answers, to clients that want to know."""
    response = pb.ModelInferResponse(
        model_name=request.model_name, model_version=served.version.version, id=request.id
    )
    response.parameters[_IS_FINAL].bool_param = True
    return pb.ModelStreamInferResponse(infer_response=response)
