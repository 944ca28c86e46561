"""Triton's extensions of the Open Inference Protocol, as its client library uses them."""

import gzip
import json
import queue

import grpc
import numpy as np
import pytest
import requests
import tritonclient.grpc as triton_grpc
import tritonclient.http as triton_http
from serving import RunningServer, eventually, workers
from tritonclient.utils import InferenceServerException

from tsl.frontend.grpc_api.protos import inference_pb2

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    running = RunningServer(tmp_path_factory.mktemp("triton"))
    running.properties |= {
        "enable_grpc": "true",
        "grpc_inference_port": "0",
        "grpc_management_port": "0",
        "ts_open_inference_protocol": "true",
    }
    stateful = {"sequenceBatching": True, "sequenceMaxIdleMSec": 60_000, "maxNumSequence": 1}
    running.add("totals", "totals", **workers(1, **stateful), inputFormat="tensors")
    running.add("sums", "totals", **workers(1, **stateful))
    names = json.dumps({str(index): f"label {index}" for index in range(4)})
    files = {"index_to_name.json": names.encode()}
    running.add("scores", "arrays", files=files, **workers(1), inputFormat="tensors")
    running.add("plain", "chatty", **workers(1))
    running.add("talking", "talking", **workers(1, maxBatchDelay=1), inputFormat="tensors")
    try:
        running.start()
        yield running
        running.stop()
    finally:
        running.close()


@pytest.fixture(scope="module")
def addresses(server):
    line = next(line for line in server.output().splitlines() if line.startswith("  gRPC "))
    return line.split(None, 1)[1].split(", ")


@pytest.fixture(scope="module")
def over_http(server):
    host, port = server.endpoint
    with triton_http.InferenceServerClient(f"{host}:{port}") as client:
        yield client


@pytest.fixture(scope="module")
def over_grpc(addresses):
    with triton_grpc.InferenceServerClient(addresses[0]) as client:
        yield client


@pytest.fixture(params=["http", "grpc"])
def triton(request):
    """Client library and client of one transport."""
    client = request.getfixturevalue(f"over_{request.param}")
    return (triton_http if request.param == "http" else triton_grpc), client


def tensor(library, name, values, datatype="INT64"):
    array = np.array(values, object if datatype == "BYTES" else np.int64)
    made = library.InferInput(name, list(array.shape), datatype)
    made.set_data_from_numpy(array)
    return made


# -- sequences


@pytest.mark.parametrize("name", [17, "my sequence"])
def test_a_sequence_has_its_state_until_it_ends(triton, name):
    library, client = triton

    def add(number, **marks):
        result = client.infer("totals", [tensor(library, "x", [number])], sequence_id=name, **marks)
        assert result.as_numpy("id").tolist() == [str(name).encode()]
        return result.as_numpy("total").item()

    assert add(1, sequence_start=True) == 1
    assert add(2) == 3
    assert add(3, sequence_end=True) == 6
    assert add(4, sequence_start=True, sequence_end=True) == 4  # a place for one sequence only


def test_a_stateful_model_says_so_in_its_configuration(over_http, over_grpc):
    plain = over_http.get_model_config("totals")
    message = over_grpc.get_model_config("totals").config

    assert plain["sequence_batching"] == {"max_sequence_idle_microseconds": 60_000_000}
    assert message.sequence_batching.max_sequence_idle_microseconds == 60_000_000
    assert "sequence_batching" not in over_http.get_model_config("scores")
    assert not over_grpc.get_model_config("scores").config.HasField("sequence_batching")


def test_a_request_over_grpc_that_names_no_sequence_is_one_of_its_own(over_grpc):
    inputs = [tensor(triton_grpc, "x", [1])]

    ids = {over_grpc.infer("totals", inputs).as_numpy("id").item() for _ in range(3)}

    assert len(ids) == 3


def test_so_is_a_call_of_torchserve_s_service(addresses):
    def request(**fields):
        return inference_pb2.PredictionsRequest(model_name="sums", **fields)

    body = b"1"
    with grpc.insecure_channel(addresses[0]) as channel:
        unary, stream = (
            make(
                f"/org.pytorch.serve.grpc.inference.InferenceAPIsService/{method}",
                request_serializer=inference_pb2.PredictionsRequest.SerializeToString,
                response_deserializer=inference_pb2.PredictionResponse.FromString,
            )
            for make, method in (
                (channel.unary_unary, "Predictions"),
                (channel.unary_stream, "StreamPredictions"),
            )
        )
        alone = [unary(request(input={"body": body}), timeout=20) for _ in range(2)]
        alone += stream(request(input={"body": body}), timeout=20)
        start = {"body": body, "ts_request_sequence_start": b"true"}
        first = unary(request(input=start), timeout=20)
        second = unary(
            request(
                input={"body": body, "ts_request_sequence_end": b"true"},
                sequence_id=first.sequence_id,
            ),
            timeout=20,
        )

    assert [int(each.prediction) for each in alone] == [1, 1, 1]
    assert [int(each.prediction) for each in (first, second)] == [1, 2]
    assert second.sequence_id == first.sequence_id != ""
    assert not any(each.HasField("sequence_id") for each in alone)


def test_a_timeout_of_the_request_ends_it(triton):
    library, client = triton
    inputs = [tensor(library, "sleep_ms", [2000])]

    with pytest.raises(InferenceServerException) as caught:
        client.infer("talking", inputs, timeout=100_000)

    assert caught.value.status() in ("408", "StatusCode.DEADLINE_EXCEEDED")


# -- classification


def test_classes_in_place_of_scores(triton):
    library, client = triton
    scores = np.array([[0.25, 0.5, 0, 0.125], [3, 0, 1, 2]], np.float32)
    made = library.InferInput("y", [2, 4], "FP32")
    made.set_data_from_numpy(scores)
    asked = library.InferRequestedOutput("y", class_count=2)

    result = client.infer("scores", [made], outputs=[asked])

    assert result.as_numpy("y").tolist() == [
        [b"0.500000:1:label 1", b"0.250000:0:label 0"],
        [b"3.000000:0:label 0", b"2.000000:3:label 3"],
    ]
    assert b"classification" in b",".join(each.encode() for each in extensions(client))
    with pytest.raises(InferenceServerException, match="'y' is BYTES"):
        client.infer("scores", [tensor(library, "y", [b"a"], "BYTES")], outputs=[asked])


def extensions(client):
    answer = client.get_server_metadata()
    return answer["extensions"] if isinstance(answer, dict) else answer.extensions


# -- streams


def test_answers_of_a_stream_have_the_order_of_the_requests(addresses):
    """The model of the second request is quicker; that of the last but one streams."""
    answers = queue.Queue()
    talk = tensor(triton_grpc, "text_input", [b"one two"], "BYTES")
    with triton_grpc.InferenceServerClient(addresses[0]) as client:
        client.start_stream(lambda result, error: answers.put((result, error)))
        for number, (model, made) in enumerate(
            (
                ("talking", tensor(triton_grpc, "sleep_ms", [300])),
                ("scores", tensor(triton_grpc, "x", [1])),
                ("nobody", tensor(triton_grpc, "x", [1])),
                ("talking", talk),
                ("scores", tensor(triton_grpc, "x", [1])),
            )
        ):
            client.async_stream_infer(model, [made], request_id=str(number))
        got = [answers.get(timeout=20) for _ in range(6)]
        client.stop_stream()

    ids = [(error and "error") or result.get_response().id for result, error in got]
    # The pieces of a stream wait for nobody.
    assert [each for each in ids if each != "3"] == ["0", "1", "error", "4"]
    words = [result.as_numpy("text_output") for result, _ in got if result is not None]
    assert [each.item() for each in words if each is not None] == [b"one ", b"two "]


def test_an_error_behind_intermediate_answers_is_a_message(over_grpc):
    answers = queue.Queue()
    made = tensor(triton_grpc, "text_input", [b"one two"], "BYTES")
    over_grpc.start_stream(lambda result, error: answers.put((result, error)))
    try:
        over_grpc.async_stream_infer("talking", [made], parameters={"fail_after": 1})
        (word, _), (_, error) = answers.get(timeout=20), answers.get(timeout=20)
        over_grpc.async_stream_infer("scores", [tensor(triton_grpc, "x", [7])])
        after, _ = answers.get(timeout=20)
    finally:
        over_grpc.stop_stream()

    assert word.as_numpy("text_output").item() == b"one "
    assert error.message()
    assert after.as_numpy("x").tolist() == [7]


# -- generate


def post(server, path, document, **options):
    url = f"{server.inference}/v2/models/{path}"
    return requests.post(url, json=document, timeout=20, **options)


def events(answer):
    """Type and data of each event of a stream."""
    found = []
    for block in answer.content.decode().split("\n\n")[:-1]:
        fields = dict(line.split(": ", 1) for line in block.splitlines())
        found.append((fields.get("event", ""), json.loads(fields["data"])))
    return found


def test_text_is_generated_as_one_answer(server):
    text = {"text_input": "one two", "id": "7"}

    whole = post(server, "talking/versions/1.0/generate", {**text, "whole": True})
    joined = post(server, "talking/generate", text)

    head = {"model_name": "talking", "model_version": "1.0", "id": "7"}
    assert whole.json() == {**head, "text_output": "one two!", "length": 7}
    assert whole.headers["content-type"] == "application/json"
    assert joined.json() == {**head, "text_output": "one two ", "number": 1}


@pytest.mark.parametrize("accept", ["*/*", "text/event-stream"])
def test_text_is_generated_as_a_stream_of_events(server, accept):
    answer = post(
        server, "talking/generate_stream", {"text_input": "é two"}, headers={"Accept": accept}
    )

    assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
    head = {"model_name": "talking", "model_version": "1.0"}
    assert events(answer) == [
        ("", {**head, "text_output": "é ", "number": 0}),
        ("", {**head, "text_output": "two ", "number": 1}),
    ]


def test_a_handler_that_does_not_stream_answers_with_one_event(server):
    answer = post(
        server, "talking/generate_stream", {"text_input": "a", "parameters": {"whole": True}}
    )

    assert [data["text_output"] for _, data in events(answer)] == ["a!"]


def test_an_error_behind_the_first_event_is_an_event(server):
    fails = {"text_input": "one two three", "fail_after": 2}

    answer = post(server, "talking/generate_stream", fails)
    first = post(server, "talking/generate_stream", {**fails, "fail_after": 0})
    whole = post(server, "talking/generate", fails)

    *words, (kind, error) = events(answer)
    assert [data["text_output"] for _, data in words] == ["one ", "two "]
    assert (kind, list(error)) == ("error", ["error"])
    for refused in (first, whole):
        assert refused.status_code == 503
        assert refused.json()["error"]


def test_a_streaming_handler_of_torchserve_gets_the_document(server):
    answer = post(server, "plain/generate_stream", {"text_input": "hello", "parameters": {"n": 2}})

    (_, first), (_, second), (_, last) = events(answer)
    assert [first["text_output"], second["text_output"]] == ["hello 0", "hello 1"]
    assert last["text_output"] == "done"
    assert last["row"] == {
        "text_input": "hello",
        "prompt": "hello",
        "n": 2,
        "parameters": {"n": 2},
    }
    assert (
        post(server, "plain/generate", {"text_input": "x", "n": 1}).json()["text_output"]
        == "x 0done"
    )


@pytest.mark.parametrize("method", ["generate", "generate_stream"])
@pytest.mark.parametrize(
    ("document", "status", "text"),
    [
        ([1], 400, "JSON object"),
        ({"parameters": 3}, 400, "parameters"),
        ({"text_input": "a", "other": [1]}, 400, "'other'"),
        ({"text_input": 5}, 400, "'text_input'"),
        ({}, 400, "inputs"),
    ],
)
def test_requests_that_are_not_valid_are_refused(server, method, document, status, text):
    answer = post(server, f"talking/{method}", document)

    assert answer.status_code == status
    assert text in answer.json()["error"]


def test_a_request_may_be_compressed(server):
    url = f"{server.inference}/v2/models/talking/generate"
    body = gzip.compress(b'{"text_input": "a", "whole": true}')

    answer = requests.post(url, data=body, headers={"Content-Encoding": "gzip"}, timeout=20)

    assert answer.json()["text_output"] == "a!"


def test_unknown_models_generate_nothing(server):
    assert post(server, "nobody/generate", {"text_input": "a"}).status_code == 404
    assert post(server, "talking/versions/9/generate_stream", {}).status_code == 404


# -- log and trace settings


@pytest.fixture(params=["http", "grpc"])
def manager(request, server, addresses):
    """A client of one transport at the management port."""
    if request.param == "http":
        made = triton_http.InferenceServerClient(server.management.removeprefix("http://"))
    else:
        made = triton_grpc.InferenceServerClient(addresses[1])
    with made as client:
        yield client


def as_dict(answer):
    """Settings of either transport, by name."""
    if isinstance(answer, dict):
        return answer
    values = {}
    for name, each in answer.settings.items():
        choice = hasattr(each, "value") or each.WhichOneof("parameter_choice")
        values[name] = list(each.value) if choice is True else getattr(each, choice)
    return values


def test_the_log_is_changed_while_the_server_runs(server, manager, triton):
    _, client = triton
    assert as_dict(client.get_log_settings()) == {
        "log_file": "",
        "log_info": True,
        "log_warning": True,
        "log_error": True,
        "log_verbose_level": 0,
        "log_format": "default",
    }
    seen = server.log("ts_log.log").count("log settings are now")

    changed = as_dict(manager.update_log_settings({"log_warning": False}))
    silent = as_dict(client.get_log_settings())
    manager.update_log_settings({"log_warning": True})  # tells of itself; the one before cannot

    assert changed["log_warning"] is silent["log_warning"] is False
    eventually(
        lambda: server.log("ts_log.log").count("log settings are now") > seen, "it is logged"
    )
    assert "'log_warning': False" not in server.log("ts_log.log")


def test_settings_that_are_fixed_say_so(manager, triton):
    _, client = triton

    with pytest.raises(InferenceServerException, match="log_file"):
        manager.update_log_settings({"log_file": "/tmp/other"})
    with pytest.raises(InferenceServerException, match="no traces"):
        manager.update_trace_settings(settings={"trace_level": ["TIMESTAMPS"]})
    with pytest.raises(InferenceServerException, match="another port"):
        client.update_log_settings({"log_info": False})
    with pytest.raises(InferenceServerException, match="another port"):
        client.update_trace_settings(settings={"trace_rate": "1000"})


def test_traces_are_off(manager, triton):
    _, client = triton

    for settings in (
        client.get_trace_settings(),
        client.get_trace_settings("scores"),
        manager.update_trace_settings("scores", {"trace_level": ["OFF"], "trace_rate": None}),
    ):
        values = as_dict(settings)
        assert values["trace_level"] == ["OFF"]
        assert values["trace_rate"] in ("1000", ["1000"])
    with pytest.raises(InferenceServerException, match="nobody"):
        client.get_trace_settings("nobody")
