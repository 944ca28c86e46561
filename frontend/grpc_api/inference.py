"""TorchServe's inference service: calls to jobs.

What a handler finds in its row are the entries of ``input``, each with no content type; a client's
metadata is not passed on. Deadlines and cancelled calls withdraw their jobs; neither ever
restarts a worker. A call for a stream is answered by any handler: one that does not stream sends
one message.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from typing import Final

from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.empty_pb2 import Empty
from google.rpc.error_details_pb2 import ErrorInfo
from google.rpc.status_pb2 import Status

from tsl.protocol.errors import InvalidParameter, TslError
from tsl.protocol.frames import Buffer, Part, Row

from ..http_api.context import Stats
from ..http_api.health import health_of
from ..jobs import Job, ReplySink
from ..open_inference_parameters import SequenceNames, alone
from ..registry import ModelRegistry, ServedModel
from ..sequence_headers import new_sequence_id
from .call import Call
from .calls import Outbox, StreamAnswer, StreamPieces, UnaryAnswer
from .codes import status_of
from .protos.inference_pb2 import (
    PredictionResponse,
    PredictionsRequest,
    TorchServeHealthResponse,
)

MAX_CONCURRENT: Final = 128
"""Messages of one bidirectional stream being worked on; the client is read no further."""
_TRUE: Final = b"true"
_NO_HEADERS: Final[list[bytes]] = []
_NO_PROPERTIES: Final[list[str]] = []
"""The same for all calls: what rows share is sent to a worker once."""


class InferenceService:
    """``org.pytorch.serve.grpc.inference.InferenceAPIsService``.

    Args:
        registry: what is served.
        stats: counts jobs and answers.
        sequence_headers: names of the headers for a sequence's id, its start and its end
            (``ts_header_key_sequence_*``).
    """

    def __init__(
        self, registry: ModelRegistry, stats: Stats, sequence_headers: SequenceNames
    ) -> None:
        self._registry = registry
        self._stats = stats
        self._sequence_headers = sequence_headers

    def ping(self, request: Empty, call: Call) -> TorchServeHealthResponse:
        """Whether every model has its workers."""
        del request, call
        document = {"status": health_of(self._registry)}
        return TorchServeHealthResponse(health=json.dumps(document, indent=2))

    def predictions(self, request: PredictionsRequest, call: Call) -> None:
        """One answer."""
        sequence_id, headers = self._sequence_of_call(request)
        make = _maker(sequence_id)
        sink = UnaryAnswer(call, self._stats, lambda body: make(body).SerializeToString())
        call.withdraw = self._submit(request, call, sink, headers).cancel

    def stream_predictions(self, request: PredictionsRequest, call: Call) -> None:
        """One message for each piece."""
        sequence_id, headers = self._sequence_of_call(request)
        sink = StreamAnswer(call, self._stats, _maker(sequence_id))
        call.withdraw = self._submit(request, call, sink, headers).cancel

    async def stream_predictions2(
        self,
        requests: AsyncIterator[PredictionsRequest],
        call: Call,
    ) -> AsyncIterator[PredictionResponse]:
        """A job for each message; answers come as they are ready, errors as messages.

        When the client has nothing more to say, what it has asked is still answered.
        """
        answers: Outbox[PredictionResponse] = Outbox()
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
        requests: AsyncIterator[PredictionsRequest],
        call: Call,
        answers: Outbox[PredictionResponse],
    ) -> None:
        """Read messages until the last one, and wait for the answers of all."""
        room = asyncio.Semaphore(MAX_CONCURRENT)
        async with asyncio.TaskGroup() as group:
            async for request in requests:
                await room.acquire()
                task = group.create_task(self._answer(request, call, answers))
                task.add_done_callback(lambda _: room.release())

    async def _answer(
        self,
        request: PredictionsRequest,
        call: Call,
        answers: Outbox[PredictionResponse],
    ) -> None:
        sequence_id = request.sequence_id if request.HasField("sequence_id") else None
        sink = StreamPieces(self._stats)
        job: Job | None = None
        try:
            if not sequence_id:
                raise InvalidParameter("Parameter sequence_id is required.")
            headers = self._sequence(sequence_id, request)
            job = self._submit(request, call, sink, headers)
            async with aclosing(sink.pieces()) as pieces:
                async for piece in pieces:
                    await answers.put(PredictionResponse(prediction=piece, sequence_id=sequence_id))
        except TslError as error:
            await answers.put(_failed(error, sequence_id))
        finally:
            sink.release()
            if job is not None:
                job.cancel()

    def _sequence_of_call(self, request: PredictionsRequest) -> tuple[str | None, list[bytes]]:
        """The id that the answer of a call carries, and the headers of its job.

        A call of a stateful model that names no sequence is one of its own, over with its answer.
        Otherwise it would keep its place until ``sequenceMaxIdleMSec``, and nobody could use it:
        the client does not know its id. With the mark of a start it is told one.
        """
        served = self._registry.get(_name_of(request), request.model_version)
        if not served.version.config.sequence_batching:
            return None, _NO_HEADERS
        names = self._sequence_headers
        sequence_id = request.sequence_id
        if not sequence_id:
            if not _is_set(request, names.start):
                return None, alone(names)
            sequence_id = new_sequence_id()
        return sequence_id, self._sequence(sequence_id, request)

    def _sequence(self, sequence_id: str, request: PredictionsRequest) -> list[bytes]:
        """The headers that make a job part of a sequence.

        Whether it starts or ends one is said by entries of ``input`` under the same names.
        """
        id_name, *flags = self._sequence_headers
        headers = [id_name.encode(), sequence_id.encode()]
        for name in flags:
            if _is_set(request, name):
                headers += [name.encode(), _TRUE]
        return headers

    def _submit(
        self,
        request: PredictionsRequest,
        call: Call,
        sink: ReplySink,
        headers: list[bytes],
    ) -> Job:
        name, version = _name_of(request), request.model_version
        parts = [Part(name, "", value) for name, value in request.input.items()]
        return submit(
            self._registry.get(name, version),
            self._stats,
            sink,
            (name, version or "default"),
            Row(call.new_job_id(), headers, _NO_PROPERTIES, parts),
            call.time_remaining(),
        )


def submit(
    served: ServedModel,
    stats: Stats,
    sink: ReplySink,
    labels: tuple[str, str],
    row: Row,
    time_left_s: float | None,
) -> Job:
    """Make a job of a call, and queue it.

    Args:
        served: the model.
        stats: counts it.
        sink: where its answer goes.
        labels: model and version as asked for, for the counters.
        row: what the worker gets.
        time_left_s: how long the client still waits; None for as long as it takes.

    Raises:
        NoWorkers, QueueFull, ShuttingDown: it is not accepted.
    """
    now = time.monotonic()
    limits = [limit for limit in (served.client_timeout_s, time_left_s) if limit]
    job = Job(row, sink, now, now + min(limits) if limits else None)
    job.labels = labels
    stats.accepted(job)
    served.pool.submit(job)
    return job


def _name_of(request: PredictionsRequest) -> str:
    if not request.model_name:
        raise InvalidParameter("Parameter model_name is required.")
    return request.model_name


def _is_set(request: PredictionsRequest, name: str) -> bool:
    return request.input.get(name, b"").strip().lower() == _TRUE


def _prediction(body: Buffer) -> PredictionResponse:
    return PredictionResponse(prediction=bytes(body))


def _maker(sequence_id: str | None) -> Callable[[Buffer], PredictionResponse]:
    """What makes messages of answers, with the id of their sequence if they are of one."""
    if sequence_id is None:
        return _prediction
    return lambda body: PredictionResponse(prediction=bytes(body), sequence_id=sequence_id)


def _failed(error: TslError, sequence_id: str | None) -> PredictionResponse:
    details = AnyMessage()
    details.Pack(ErrorInfo(reason=error.type_name))
    status = Status(code=status_of(error), message=str(error), details=[details])
    return PredictionResponse(sequence_id=sequence_id, status=status)
