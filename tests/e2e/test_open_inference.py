"""The Open Inference Protocol as Triton's client library uses it, over HTTP and gRPC."""

import json
import queue
import zlib

import grpc
import numpy as np
import pytest
import requests
import tritonclient.grpc as triton_grpc
import tritonclient.http as triton_http
from google.protobuf.json_format import MessageToDict
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from serving import RunningServer, eventually, workers
from tritonclient.utils import InferenceServerException

from tsl.frontend.grpc_api.protos import open_inference_pb2 as pb

pytestmark = pytest.mark.e2e

DECLARED = {
    "inputs": [{"name": "declared", "datatype": "FP32", "shape": [-1, 2]}],
    "outputs": [{"name": "declared", "datatype": "FP32", "shape": [-1, 2]}],
}
ARRAYS = {
    "BOOL": np.array([[True, False, True]]),
    "INT8": np.array([-128, 127], np.int8),
    "INT16": np.array([[-(2**15)], [2**15 - 1]], np.int16),
    "INT32": np.array([-(2**31), 2**31 - 1], np.int32),
    "INT64": np.array([-(2**63), 2**63 - 1], np.int64),
    "UINT8": np.array([0, 255], np.uint8),
    "UINT16": np.array([0, 2**16 - 1], np.uint16),
    "UINT32": np.array([0, 2**32 - 1], np.uint32),
    "UINT64": np.array([0, 2**64 - 1], np.uint64),
    "FP16": np.array([0.5, -65504, np.inf], np.float16),
    "FP32": np.array([[1.5, -0.0], [np.nan, 3e38]], np.float32),
    "FP64": np.array([1e308, 5e-324]),
    "BYTES": np.array([[b"", b"a\xff\x00"], [b"bc", b"\x00"]], dtype=object),
}


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    running = RunningServer(tmp_path_factory.mktemp("oip"))
    running.properties |= {
        "enable_grpc": "true",
        "grpc_inference_port": "0",
        "grpc_management_port": "0",
        "ts_open_inference_protocol": "true",
        "service_envelope": "kservev2",
    }
    tensors = workers(1, maxBatchDelay=1, batchSize=4, inputFormat="tensors")
    running.add("arrays", "arrays", **tensors, **DECLARED)
    running.add("plain", "kserve_inputs", **workers(1, maxBatchDelay=1))
    running.add("later", "arrays", **tensors)
    try:
        running.start("arrays.mar plain.mar")
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


def tensor(library, name, array, datatype=None, **options):
    made = library.InferInput(name, list(array.shape), datatype or triton_type(array))
    made.set_data_from_numpy(array, **options)
    return made


def triton_type(array):
    return next(name for name, each in ARRAYS.items() if each.dtype == array.dtype)


def same(left, right):
    assert left.shape == right.shape
    assert left.dtype == right.dtype
    assert left.tobytes() == right.tobytes() if left.dtype != object else (left == right).all()


# -- tensors


@pytest.mark.parametrize("datatype", list(ARRAYS))
def test_a_tensor_of_any_type_comes_back_bit_for_bit(triton, datatype):
    library, client = triton
    array = ARRAYS[datatype]

    result = client.infer("arrays", [tensor(library, "in", array, datatype)], request_id="my-1")

    same(result.as_numpy("in"), array)
    response = result.get_response()
    answered_id = response["id"] if isinstance(response, dict) else response.id
    assert answered_id == "my-1"


def test_tensors_of_a_request_keep_their_names(triton):
    library, client = triton
    inputs = [tensor(library, name, array, name) for name, array in ARRAYS.items()]

    result = client.infer("arrays", inputs)

    for name, array in ARRAYS.items():
        same(result.as_numpy(name), array)


def test_only_the_outputs_asked_for_are_answered(triton):
    library, client = triton
    inputs = [tensor(library, name, ARRAYS["INT8"]) for name in ("a", "b")]

    result = client.infer("arrays", inputs, outputs=[library.InferRequestedOutput("b")])

    assert result.as_numpy("a") is None
    same(result.as_numpy("b"), ARRAYS["INT8"])
    with pytest.raises(InferenceServerException, match="'c'"):
        client.infer("arrays", inputs, outputs=[library.InferRequestedOutput("c")])


def test_handlers_see_arrays_and_parameters(triton):
    library, client = triton
    array = np.zeros((2, 0, 3), np.float32)

    result = client.infer(
        "arrays", [tensor(library, "empty", array)], parameters={"describe": True}
    )

    assert result.as_numpy("about").tolist() == [b"empty float32 (2, 0, 3)"]
    same(result.as_numpy("empty"), array)


def test_json_and_binary_data_may_be_mixed(over_http):
    inputs = [
        tensor(triton_http, "json", np.array([[1, 2]], np.int32), binary_data=False),
        tensor(triton_http, "binary", ARRAYS["FP64"]),
    ]
    outputs = [
        triton_http.InferRequestedOutput("json", binary_data=True),
        triton_http.InferRequestedOutput("binary", binary_data=False),
    ]

    result = over_http.infer("arrays", inputs, outputs=outputs)

    same(result.as_numpy("json"), np.array([[1, 2]], np.int32))
    same(result.as_numpy("binary"), ARRAYS["FP64"])
    assert "data" in result.get_output("binary")


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
def test_requests_and_answers_may_be_compressed(over_http, coding):
    array = np.arange(5000, dtype=np.int64)

    result = over_http.infer(
        "arrays",
        [tensor(triton_http, "x", array)],
        request_compression_algorithm=coding,
        response_compression_algorithm=coding,
    )

    same(result.as_numpy("x"), array)


def test_a_compressed_body_must_not_grow_beyond_the_limit(server):
    body = zlib.compress(bytes(10_000_000))

    answer = requests.post(
        f"{server.inference}/v2/models/arrays/infer",
        data=body,
        headers={"Content-Encoding": "deflate", "Inference-Header-Content-Length": "10"},
        timeout=20,
    )

    assert answer.status_code == 413
    assert "decompressed" in answer.json()["error"]


def test_an_envelope_of_json_takes_binary_tensors_too(triton):
    library, client = triton
    array = np.array([[1, 2], [3, 4]], np.int64)

    result = client.infer("plain", [tensor(library, "x", array)])

    assert result.as_numpy("x").tolist() == [1, 2, 3, 4]  # the envelope flattens


def test_an_envelope_of_json_ranks_classes_too(triton):
    library, client = triton
    asked = library.InferRequestedOutput("x", class_count=2)

    result = client.infer(
        "plain", [tensor(library, "x", np.array([5, 7, 6], np.int64))], outputs=[asked]
    )

    classes = result.as_numpy("x").tolist()  # in a JSON answer they are text
    assert [each.decode() if isinstance(each, bytes) else each for each in classes] == [
        "7:1",
        "6:2",
    ]


# -- typed contents


@pytest.mark.parametrize(
    "service", ["inference", "org.pytorch.serve.grpc.openinference"], ids=["kserve", "torchserve"]
)
@pytest.mark.parametrize(
    ("model", "datatype", "field", "values"),
    [
        ("arrays", "UINT32", "uint_contents", [0, 2**32 - 1]),
        ("arrays", "BYTES", "bytes_contents", [b"\xff", b"text"]),
        ("arrays", "FP32", "fp32_contents", [0.5, -1.0]),
        ("plain", "UINT32", "uint_contents", [0, 2**32 - 1]),
    ],
)
def test_typed_contents_come_back_as_such(addresses, service, model, datatype, field, values):
    request = pb.ModelInferRequest(model_name=model, id="7")
    made = request.inputs.add(name="x", datatype=datatype, shape=[2])
    getattr(made.contents, field).extend(values)

    with grpc.insecure_channel(addresses[0]) as channel:
        answer = infer_call(channel, service)(request, timeout=20)

    (output,) = answer.outputs
    assert not answer.raw_output_contents
    expected = "int64_contents" if model == "plain" else field
    assert list(getattr(output.contents, expected)) == values
    assert (answer.id, answer.model_name, answer.model_version) == ("7", model, "1.0")


def infer_call(channel, service="inference"):
    return channel.unary_unary(
        f"/{service}.GRPCInferenceService/ModelInfer",
        request_serializer=pb.ModelInferRequest.SerializeToString,
        response_deserializer=pb.ModelInferResponse.FromString,
    )


# -- streams


def test_a_stream_answers_each_request_with_any_number_of_pieces(addresses):
    answers = queue.Queue()
    with triton_grpc.InferenceServerClient(addresses[0]) as client:
        client.start_stream(lambda result, error: answers.put((result, error)))
        repeat = tensor(triton_grpc, "repeat", np.array([3], np.int64))
        client.async_stream_infer("arrays", [repeat], request_id="many")
        many = [answers.get(timeout=20)[0] for _ in range(3)]
        client.async_stream_infer("nobody", [repeat], request_id="lost")
        _, error = answers.get(timeout=20)
        client.async_stream_infer(
            "arrays",
            [tensor(triton_grpc, "x", ARRAYS["BYTES"])],
            enable_empty_final_response=True,
        )
        (one, _), (final, _) = answers.get(timeout=20), answers.get(timeout=20)
        client.stop_stream()

    assert [each.as_numpy("number").item() for each in many] == [0, 1, 2]
    assert [each.as_numpy("text").item() for each in many] == [b"piece 0", b"piece 1", b"piece 2"]
    assert "nobody" in error.message()
    same(one.as_numpy("x"), ARRAYS["BYTES"])
    assert final.get_response().parameters["triton_final_response"].bool_param


def test_over_http_the_pieces_of_a_stream_are_lines_of_json(server):
    document = {"inputs": [{"name": "repeat", "datatype": "INT8", "shape": [1], "data": [2]}]}

    answer = requests.post(f"{server.inference}/v2/models/arrays/infer", json=document, timeout=20)

    lines = [json.loads(line) for line in answer.text.splitlines()]
    assert [line["outputs"][0]["data"] for line in lines] == [[0], [1]]


# -- health, metadata, statistics, repository


def test_health_and_metadata(triton):
    _, client = triton

    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("arrays")
    assert client.is_model_ready("arrays", "1.0")
    server, model, config = (
        plain(each)
        for each in (
            client.get_server_metadata(),
            client.get_model_metadata("arrays"),
            client.get_model_config("arrays"),
        )
    )
    assert server["name"] == "tsl"
    assert "binary_tensor_data" in server["extensions"]
    assert model["versions"] == ["1.0"]
    assert [(each["name"], each["datatype"]) for each in model["inputs"]] == [("declared", "FP32")]
    config = config.get("config", config)
    assert config["input"][0]["data_type"] == "TYPE_FP32"


def plain(document):
    if isinstance(document, dict):
        return document
    return MessageToDict(document, preserving_proto_field_name=True)


def test_unknown_models_are_not_found(triton):
    library, client = triton

    for call in (client.get_model_metadata, client.get_model_config):
        with pytest.raises(InferenceServerException, match="nobody"):
            call("nobody")
    with pytest.raises(InferenceServerException, match="9"):
        client.infer("arrays", [tensor(library, "x", ARRAYS["INT8"])], model_version="9")


def test_statistics_count_calls_by_this_protocol(triton):
    library, client = triton

    def count():
        (entry,) = plain(client.get_inference_statistics("arrays"))["model_stats"]
        return int(entry.get("inference_count", 0))

    before = count()
    client.infer("arrays", [tensor(library, "x", ARRAYS["INT8"])])

    assert count() == before + 1
    assert len(plain(client.get_inference_statistics())["model_stats"]) >= 2


def test_the_repository_is_managed_on_the_management_ports(server, addresses, over_grpc):
    with pytest.raises(InferenceServerException, match="grpc_management_port"):
        over_grpc.load_model("later")
    served = {each.name for each in over_grpc.get_model_repository_index().models}
    assert served == {"arrays", "plain"}
    address = server.management.removeprefix("http://")
    with (
        triton_http.InferenceServerClient(address) as http,
        triton_grpc.InferenceServerClient(addresses[1]) as other,
    ):
        states = {each["name"]: each["state"] for each in http.get_model_repository_index()}
        assert states == {"arrays": "READY", "plain": "READY", "later": "UNAVAILABLE"}
        http.load_model("later")
        assert {each.name for each in other.get_model_repository_index().models} == set(states)
        assert over_grpc.is_model_ready("later")
        other.unload_model("later")
        assert not over_grpc.get_model_metadata("plain").inputs
        with pytest.raises(InferenceServerException, match="later"):
            over_grpc.is_model_ready("later")
        with pytest.raises(InferenceServerException, match="nothing"):
            http.load_model("nothing")


# -- what is not valid


def ask(server, body, **headers):
    answer = requests.post(
        f"{server.inference}/v2/models/arrays/infer", data=body, headers=headers, timeout=20
    )
    return answer.status_code, answer.json()


@pytest.mark.parametrize(
    ("entry", "text"),
    [
        ({"datatype": "FP7", "shape": [1], "data": [1]}, "FP7"),
        ({"datatype": "INT8", "shape": [-1], "data": [1]}, "shape"),
        ({"datatype": "INT8", "shape": [2**62, 4, 0], "data": []}, "shape"),
        ({"datatype": "INT8", "shape": [2**40], "data": [1]}, "shape"),
        ({"datatype": "INT8", "shape": [1], "data": [300]}, "range"),
        ({"datatype": "INT8", "shape": [1], "data": ["1"]}, "INT8"),
        ({"datatype": "INT8", "shape": [2], "data": [1]}, "1 values"),
        ({"datatype": "INT8", "shape": [1]}, "neither"),
    ],
)
def test_a_tensor_that_is_not_valid_is_named(server, entry, text):
    document = {"inputs": [{"name": "my tensor", **entry}]}

    status, answer = ask(server, json.dumps(document), **{"Content-Type": "application/json"})

    assert status == 400
    assert "'my tensor'" in answer["error"]
    assert text in answer["error"]


@pytest.mark.parametrize(("size", "tail"), [(8, b"1234"), (4, b"12345"), (5, b"12345"), (-1, b"")])
def test_bytes_that_do_not_fit_are_refused(server, size, tail):
    entry = {
        "name": "my tensor",
        "datatype": "INT32",
        "shape": [1],
        "parameters": {"binary_data_size": size},
    }
    header = json.dumps({"inputs": [entry]}).encode()

    status, answer = ask(
        server, header + tail, **{"Inference-Header-Content-Length": str(len(header))}
    )

    assert status == 400
    assert "tensor" in answer["error"] or "more bytes" in answer["error"]


@pytest.mark.parametrize("length", ["x", "-1", "999", "0"])
def test_a_length_of_the_header_that_cannot_be_is_refused(server, length):
    status, answer = ask(server, b"{}", **{"Inference-Header-Content-Length": length})

    assert status == 400
    assert answer["error"] == answer["message"]


@pytest.mark.parametrize(
    ("datatype", "shape", "contents", "raw"),
    [
        ("FP32", [2], {"fp32_contents": [1.0]}, []),
        ("FP16", [1], {"fp32_contents": [1.0]}, []),
        ("INT8", [1], {"int_contents": [200]}, []),
        ("FP32", [-1], {}, [b"1234"]),
        ("FP32", [1], {}, [b"123"]),
        ("FP32", [2**62, 2**62], {}, [b"1234"]),
        ("BYTES", [1], {}, [b"\xff\xff\xff\xff"]),
        ("FP32", [1], {"fp32_contents": [1.0]}, [b"1234"]),
    ],
)
@pytest.mark.parametrize("model", ["arrays", "plain"])
def test_over_grpc_too(addresses, model, datatype, shape, contents, raw):
    request = pb.ModelInferRequest(model_name=model, raw_input_contents=raw)
    made = request.inputs.add(name="my tensor", datatype=datatype, shape=shape)
    for field, values in contents.items():
        getattr(made.contents, field).extend(values)

    with grpc.insecure_channel(addresses[0]) as channel, pytest.raises(grpc.RpcError) as caught:
        infer_call(channel)(request, timeout=20)

    assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert "'my tensor'" in caught.value.details()


def test_a_handler_s_failure_is_the_client_s_error(triton):
    library, client = triton

    with pytest.raises(InferenceServerException, match="Prediction failed"):
        client.infer("arrays", [tensor(library, "raise", ARRAYS["INT8"])])
    eventually(lambda: client.is_model_ready("arrays"), "it goes on")


def test_reflection_describes_the_service_under_its_standard_name(addresses):
    with grpc.insecure_channel(addresses[0]) as channel:
        stub = reflection_pb2_grpc.ServerReflectionStub(channel)
        request = reflection_pb2.ServerReflectionRequest(
            file_containing_symbol="inference.GRPCInferenceService"
        )
        answer = next(iter(stub.ServerReflectionInfo(iter([request]), timeout=10)))

    assert b"ModelInfer" in answer.file_descriptor_response.file_descriptor_proto[0]
