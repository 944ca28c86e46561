"""The Open Inference Protocol from end to end in one process: no sockets, no workers.

`TensorPlay` has two models, whose handlers return what they get: ``arrays`` takes tensors
(``inputFormat: tensors``), ``plain`` takes JSON by the envelope ``kservev2``. A request goes through the
real front end (HTTP bytes, or gRPC messages), the codec of frames, and the worker's real service;
only what would carry the bytes is missing.
"""

from __future__ import annotations

import asyncio
import inspect
import json
from types import SimpleNamespace

from fakes import RecordingStats
from http_client import HttpPlay, request

from tsl.backend.envelopes import load_envelope
from tsl.backend.service import Service
from tsl.backend.streaming import ReplyStream
from tsl.frontend.grpc_api.open_inference import OpenInferenceService
from tsl.frontend.grpc_api.protos import open_inference_pb2 as pb
from tsl.frontend.http_api.open_inference import OpenInferenceApi
from tsl.frontend.http_api.router import Route, Router
from tsl.frontend.http_api.routes import shared_memory_routes
from tsl.frontend.http_api.shared_memory import SharedMemoryApi
from tsl.frontend.open_inference import OpenInference
from tsl.frontend.open_inference_parameters import SequenceNames
from tsl.frontend.shared_memory import SharedMemory
from tsl.protocol.codec import FrameDecoder, encode
from tsl.protocol.errors import ModelNotFound, TslError
from tsl.protocol.frames import Failure, Predict

LIMIT = 2**24
NAMES = SequenceNames("id", "start", "end")


def return_arrays(data, context):
    """A handler of tensors."""
    del context
    return data


def return_values(data, context):
    """A handler of the envelope: the values of each input."""
    del context
    return [tensor["data"] for tensor in data]


class Pool:
    """Runs each job at once, in this process, unless it is held.

    Args:
        handler: of the model.
        envelope: what it is wrapped in.
    """

    ready_count = 1
    has_cancelled = False

    def __init__(self, handler, envelope):
        wrapped = load_envelope(envelope)(handler).handle
        self._service = Service("m", ".", None, wrapped, None, 1, max_response_bytes=LIMIT)
        self.is_held = False
        self.held = []

    def submit(self, job):
        job.sent_at = job.enqueued_at
        self.held.append(job)
        if not self.is_held:
            self.run()

    def run(self):
        """Answer what is held."""
        while self.held:
            job = self.held.pop()
            stream = ReplyStream(self, LIMIT)
            answer = self._service.predict(_sent(Predict(1, [job.row])), stream)
            answer = _sent(answer)
            if isinstance(answer, Failure):
                job.fail(TslError.from_wire(answer.code, answer.message, answer.status))
                continue
            (reply,) = answer.replies
            if reply.error:
                text = bytes(reply.body).decode()
                job.fail(TslError.from_wire(reply.error, text, reply.status))
            else:
                job.finish(reply)

    def poll(self):
        """The front end has nothing to say."""

    def is_cancelled(self, batch_id, row):
        """Everybody waits."""
        del batch_id, row
        return False


class Call:
    """A call of gRPC, as servicers see it.

    Args:
        peer: the client.
    """

    def __init__(self, peer):
        self._peer = peer
        self._answer = self._error = None
        self.withdraw = None

    def peer(self):
        return self._peer

    def time_remaining(self):
        return None

    def new_job_id(self):
        return "job"

    def respond_bytes(self, data):
        self._answer = pb.ModelInferResponse.FromString(data)

    def fail(self, error):
        self._error = error

    def answer(self):
        """What the call was answered with, later than at once."""
        if self._error is not None:
            raise self._error
        return self._answer


def _sent(frame):
    """A frame as the other side gets it."""
    (received,) = FrameDecoder().feed(b"".join(encode(frame)))
    return received


class Registry(dict):
    """Models by name; each has one version."""

    def get(self, name, version=""):
        del version
        if name not in self:
            raise ModelNotFound(f"Model not found: {name}")
        return self[name]

    def __contains__(self, key):
        return dict.__contains__(self, key[0] if isinstance(key, tuple) else key)


def _model(name, handler, envelope, input_format):
    config = SimpleNamespace(
        input_format=input_format, yaml={}, device_type="cpu", sequence_batching=False
    )
    return SimpleNamespace(
        version=SimpleNamespace(name=name, version="1.0", config=config, is_function=False),
        pool=Pool(handler, envelope),
        client_timeout_s=None,
    )


class TensorPlay:
    """Both models over both transports.

    Args:
        max_bytes: of shared memory.
        body_bytes: of a request's body.
    """

    def __init__(self, *, max_bytes=2**20, body_bytes=LIMIT):
        self.models = Registry(
            arrays=_model("arrays", return_arrays, "tensor_rows", "tensors"),
            plain=_model("plain", return_values, "kservev2", None),
        )
        self.regions = SharedMemory(
            "loopback", max_bytes, max_inline_bytes=max_bytes, has_envelope=True
        )
        protocol = OpenInference(self.models, self.regions)
        api = OpenInferenceApi(self.models, protocol, NAMES)
        routes = [
            Route(path="/v2/models/{model_name}/infer", methods={"POST": api.infer}),
            *shared_memory_routes(SharedMemoryApi(self.regions)),
        ]
        self._router = Router(routes)
        self._body_bytes = body_bytes
        self._service = OpenInferenceService(
            self.models, protocol, RecordingStats(), None, NAMES, manages=False
        )
        self._loop = asyncio.new_event_loop()
        self.stage = None

    def close(self):
        """Let go of everything."""
        self.regions.unregister()
        self._loop.close()

    def http(self, target, body=b"", *, method="POST", headers=(), peer=b"/127.0.0.1:5000"):
        """Send a request on a connection of its own; returns the stage."""
        self.stage = HttpPlay(context={"router": self._router}, body_bytes=self._body_bytes)
        self.stage.connection.peer = peer
        return self.stage.feed(request(target, method, body=body, headers=list(headers)))

    def ask(self, target, body=b"", **options):
        """Status and JSON document of the answer to an HTTP request."""
        response = self.http(target, body, **options).response()
        return response.status, json.loads(response.body)

    def infer_http(self, model, document, tail=b"", **options):
        """Status, document and the bytes behind it of the answer to ``infer``."""
        header = document if isinstance(document, bytes) else json.dumps(document).encode()
        headers = list(options.pop("headers", ()))
        if tail is not None:
            headers.append(("Inference-Header-Content-Length", str(len(header))))
        response = self.http(
            f"/v2/models/{model}/infer", header + (tail or b""), headers=headers, **options
        ).response()
        length = int(response.header("inference-header-content-length") or len(response.body))
        return response.status, json.loads(response.body[:length]), response.body[length:]

    def call(self, method, message, peer="/127.0.0.1:5000"):
        """Call a method of the gRPC service, by its name in snake case.

        Raises:
            TslError: the call ends with that.
        """
        call = Call(peer)
        data = message.SerializeToString()  # as it comes from the wire
        read = getattr(self._service, f"read_{method}", type(message).FromString)
        received = read(data)
        answer = getattr(self._service, method)(received, call)
        if inspect.isawaitable(answer):
            answer = self._loop.run_until_complete(answer)
        return answer or call.answer()

    def infer_grpc(self, message, **options):
        """Call ``ModelInfer``."""
        return self.call("model_infer", message, **options)


def message_of(model, name, datatype, shape, *, raw=None, **contents):
    """A request with one tensor.

    Args:
        raw: its bytes; None for typed contents.
        contents: values by the field's name.
    """
    message = pb.ModelInferRequest(model_name=model)
    tensor = message.inputs.add(name=name, datatype=datatype, shape=shape)
    for field, values in contents.items():
        getattr(tensor.contents, field).extend(values)
    if raw is not None:
        message.raw_input_contents.append(raw)
    return message
