import struct

import pytest

from tsl.backend.legacy_service import LegacyService
from tsl.backend.metrics import MetricsCache
from tsl.backend.otf_messages import create_predict_response
from tsl.backend.util import PredictionException

BATCH = [
    {
        "requestId": b"r0",
        "headers": [{"name": b"Accept", "value": b"*/*"}],
        "parameters": [{"name": "body", "contentType": "text/plain", "value": "a"}],
    }
]


def predict(entry_point, metrics=None):
    service = LegacyService("m", ".", {}, entry_point, None, 1, True, metrics)
    service.set_cl_socket("socket")
    return service.predict(BATCH), service.context


def test_a_batch_is_taken_apart():
    processors, rows, ids = LegacyService.retrieve_data_for_inference(BATCH)

    assert rows == [{"body": "a"}]
    assert ids == {0: "r0"}
    assert processors[0].get_request_properties() == {
        "body": {"content-type": "text/plain"},
        "Accept": "*/*",
    }


def test_no_batch_is_an_error():
    with pytest.raises(ValueError, match="no batch"):
        LegacyService.retrieve_data_for_inference(None)


def test_the_handler_is_called_and_answered_in_torchserve_s_bytes():
    records = []
    metrics = MetricsCache.from_config("", "m", records.append)

    answer, context = predict(lambda data, context: [data[0]["body"] * 2], metrics)

    assert answer == create_predict_response(["aa"], {0: "r0"}, "Prediction success", 200, context)
    assert context.cl_socket == "socket"
    assert [record.name for record in records] == ["PredictionTime"]


def raising(error):
    def handle(data, context):
        raise error

    return handle


@pytest.mark.parametrize(
    ("handle", "code", "message"),
    [
        (raising(MemoryError()), 507, "Out of resources"),
        (raising(ValueError("CUDA error")), 507, "Out of resources"),
        (raising(KeyError("x")), 503, "Prediction failed"),
        (raising(PredictionException("teapot", 418)), 418, "teapot"),
        (lambda data, context: "x", 503, "Invalid model predict output"),
        (lambda data, context: [], 503, "number of batch response mismatched"),
        (lambda data, context: [{1}], 503, "Unsupported model output data type."),
    ],
    ids=["memory", "cuda", "error", "own", "no list", "length", "no encoding"],
)
def test_failures_have_torchserve_s_codes(handle, code, message):
    answer, _ = predict(handle)

    text = message.encode()
    assert answer.startswith(struct.pack("!ii", code, len(text)) + text)
