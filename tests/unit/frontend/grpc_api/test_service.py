from __future__ import annotations

import pytest

from tsl.frontend.grpc_api.codes import StatusCode, status_of
from tsl.frontend.grpc_api.protos.inference_pb2 import DESCRIPTOR, PredictionsRequest
from tsl.frontend.grpc_api.service import methods_of
from tsl.protocol import errors
from tsl.protocol.errors import TslError

SERVICE = DESCRIPTOR.services_by_name["InferenceAPIsService"]


class Servicer:
    """A function of each kind."""

    def ping(self, request, call):
        pass

    async def predictions(self, request, call):
        pass

    async def stream_predictions(self, request, call):
        yield

    stream_predictions2 = stream_predictions


@pytest.mark.parametrize(
    "cls",
    [
        value
        for value in vars(errors).values()
        if isinstance(value, type) and issubclass(value, TslError)
    ],
    ids=lambda cls: cls.__name__,
)
def test_every_error_has_a_status_that_grpc_knows(cls):
    assert status_of(cls()) in StatusCode


def test_status_codes_are_those_of_grpc():
    grpc = pytest.importorskip("grpc")

    assert {code.name: code.value for code in StatusCode} == {
        code.name: code.value[0] for code in grpc.StatusCode
    }


def test_a_servicer_that_lacks_a_method_is_noticed_at_once():
    with pytest.raises(AttributeError, match="ping"):
        methods_of(SERVICE, object())


def test_methods_are_known_by_their_paths_and_are_run_as_what_they_are():
    methods = methods_of(SERVICE, Servicer(), "other.Name")
    kinds = {
        path: (method.is_plain, method.takes_stream, method.gives_stream)
        for path, method in methods.items()
    }

    assert kinds == {
        b"/other.Name/Ping": (True, False, False),
        b"/other.Name/Predictions": (False, False, False),
        b"/other.Name/StreamPredictions": (False, False, True),
        b"/other.Name/StreamPredictions2": (False, True, True),
    }
    method = methods[b"/other.Name/Predictions"]
    message = PredictionsRequest(model_name="m")
    assert method.parse(message.SerializeToString()) == message
    assert method.name == "other.Name/Predictions"
