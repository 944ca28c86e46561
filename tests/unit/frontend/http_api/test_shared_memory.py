"""Shared memory through both transports, in one process: calls, rows, and how long regions live."""

from __future__ import annotations

import json
import os

import pytest
from tensor_play import TensorPlay, message_of

from tsl.frontend import shared_memory
from tsl.frontend.grpc_api.protos import open_inference_pb2 as pb
from tsl.protocol.errors import Conflict, Forbidden, InvalidRequest, ResourceNotFound, Unsupported

FAR = {"http": b"/10.0.0.1:5000", "grpc": "ipv4:10.0.0.1:5000"}


@pytest.fixture
def object_(tmp_path, monkeypatch):
    """An object of 64 bytes, and its path."""
    monkeypatch.setattr(shared_memory, "FOLDER", str(tmp_path))
    (tmp_path / "object").write_bytes(bytes(range(64)))
    return tmp_path / "object"


@pytest.fixture
def play(object_):
    made = TensorPlay()
    yield made
    made.close()


def register(play, name="r", **change):
    body = {"key": "object", "offset": 0, "byte_size": 64} | change
    return play.ask(f"/v2/systemsharedmemory/region/{name}/register", json.dumps(body).encode())


def listed(play, path="status"):
    return play.ask(f"/v2/systemsharedmemory/{path}", method="GET")


# -- HTTP


def test_regions_are_registered_listed_and_forgotten(play):
    entry = {"name": "r", "key": "object", "offset": 8, "byte_size": 56}

    assert register(play, offset=8, byte_size=56) == (200, {})
    assert listed(play) == (200, [entry])
    assert listed(play, "region/r/status") == (200, [entry])
    assert listed(play, "region/s/status")[0] == 404
    assert register(play)[0] == 409
    assert play.ask("/v2/systemsharedmemory/region/r/unregister") == (200, {})
    assert play.ask("/v2/systemsharedmemory/region/r/unregister") == (200, {})
    assert register(play, "a")[0] == register(play, "b")[0] == 200
    assert play.ask("/v2/systemsharedmemory/unregister") == (200, {})
    assert listed(play) == (200, [])


@pytest.mark.parametrize(
    "change",
    [
        {"key": None},
        {"key": 1},
        {"key": "../etc/passwd"},
        {"offset": "0"},
        {"offset": -1},
        {"offset": None},
        {"byte_size": None},
        {"byte_size": 1.5},
        {"byte_size": True},
        {"byte_size": 65},
        {"byte_size": 2**70},
    ],
)
def test_a_registration_that_is_wrong_is_refused(play, change):
    status, answer = register(play, **change)

    assert status == 400
    assert answer["error"] == answer["message"]
    assert listed(play) == (200, [])


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"[" * 100_000])
def test_a_registration_without_a_document_is_refused(play, body):
    assert play.ask("/v2/systemsharedmemory/region/r/register", body)[0] == 400


def test_cuda_memory_is_answered_as_not_there(play):
    base = "/v2/cudasharedmemory"

    assert play.ask(f"{base}/status", method="GET") == (200, [])
    assert play.ask(f"{base}/region/r/status", method="GET") == (200, [])
    assert play.ask(f"{base}/unregister") == play.ask(f"{base}/region/r/unregister") == (200, {})
    status, answer = play.ask(f"{base}/region/r/register", b"{}")
    assert (status, "CUDA" in answer["error"]) == (400, True)


# -- gRPC


def test_the_same_by_grpc(play):
    play.call(
        "system_shared_memory_register",
        pb.SystemSharedMemoryRegisterRequest(name="r", key="/object", offset=8, byte_size=8),
    )

    answer = play.call("system_shared_memory_status", pb.SystemSharedMemoryStatusRequest())
    (region,) = answer.regions.values()
    assert (region.name, region.key, region.offset, region.byte_size) == ("r", "/object", 8, 8)
    with pytest.raises(ResourceNotFound):
        play.call("system_shared_memory_status", pb.SystemSharedMemoryStatusRequest(name="s"))
    for change, error in ({"name": "r"}, Conflict), ({"offset": 2**64 - 1}, InvalidRequest):
        with pytest.raises(error):
            play.call(
                "system_shared_memory_register",
                pb.SystemSharedMemoryRegisterRequest(
                    **{"name": "s", "key": "object", "byte_size": 8} | change
                ),
            )
    play.call("system_shared_memory_unregister", pb.SystemSharedMemoryUnregisterRequest(name="r"))
    assert listed(play) == (200, [])


def test_cuda_memory_by_grpc(play):
    assert not play.call("cuda_shared_memory_status", pb.CudaSharedMemoryStatusRequest()).regions
    play.call("cuda_shared_memory_unregister", pb.CudaSharedMemoryUnregisterRequest())
    with pytest.raises(Unsupported):
        play.call("cuda_shared_memory_register", pb.CudaSharedMemoryRegisterRequest(name="r"))


# -- who may


def test_clients_of_other_machines_are_refused(play):
    register(play)
    tensor = {"name": "x", "datatype": "UINT8", "shape": [1], "parameters": where(1)}

    for target, method in (
        ("/v2/systemsharedmemory/status", "GET"),
        ("/v2/systemsharedmemory/unregister", "POST"),
        ("/v2/systemsharedmemory/region/s/register", "POST"),
    ):
        assert play.ask(target, b"{}", method=method, peer=FAR["http"])[0] == 403
    assert play.infer_http("arrays", {"inputs": [tensor]}, None, peer=FAR["http"])[0] == 403
    for call, message in (
        ("system_shared_memory_status", pb.SystemSharedMemoryStatusRequest()),
        ("system_shared_memory_unregister", pb.SystemSharedMemoryUnregisterRequest()),
        ("system_shared_memory_register", pb.SystemSharedMemoryRegisterRequest(name="s")),
        ("model_infer", shared_message("arrays", 1)),
    ):
        with pytest.raises(Forbidden):
            play.call(call, message, peer=FAR["grpc"])
    assert len(listed(play)[1]) == 1


# -- requests


def where(size, offset=0, region="r"):
    return {
        "shared_memory_region": region,
        "shared_memory_byte_size": size,
        "shared_memory_offset": offset,
    }


def shared_message(model, size, offset=0, region="r", target=None):
    message = message_of(model, "x", "UINT8", [size])
    if target is not None:
        message.outputs.add(name="x")
    for tensor, at in zip([*message.inputs, *message.outputs], [offset, target], strict=False):
        tensor.parameters["shared_memory_region"].string_param = region
        tensor.parameters["shared_memory_byte_size"].int64_param = size
        tensor.parameters["shared_memory_offset"].int64_param = at
    return message


def document(size, offset, target):
    tensor = {"name": "x", "datatype": "UINT8", "shape": [size]}
    return {
        "inputs": [tensor | {"parameters": where(size, offset)}],
        "outputs": [{"name": "x", "parameters": where(40, target)}],
    }


def test_http_takes_values_from_regions_and_puts_them_there(play, object_):
    register(play)

    status, answer, tail = play.infer_http("arrays", document(2, 5, 20), None)

    assert (status, tail) == (200, b"")
    assert answer["outputs"][0]["parameters"] == where(2, 20)
    assert "data" not in answer["outputs"][0]
    assert object_.read_bytes()[20:23] == b"\x05\x06\x16"


@pytest.mark.parametrize("tail", [None, b""])
def test_so_does_a_model_of_json(play, object_, tail):
    register(play)

    status, answer, _ = play.infer_http("plain", document(2, 5, 20), tail)

    assert status == 200
    assert answer["outputs"][0]["datatype"] == "INT64"
    assert object_.read_bytes()[20:36] == bytes([5, *[0] * 7, 6, *[0] * 7])


@pytest.mark.parametrize("model", ["arrays", "plain"])
def test_so_does_grpc(play, object_, model):
    register(play)
    message = shared_message(model, 2, 5, target=20)
    message.outputs[0].parameters["shared_memory_byte_size"].int64_param = 40

    answer = play.infer_grpc(message)

    (output,) = answer.outputs
    assert output.parameters["shared_memory_region"].string_param == "r"
    assert output.parameters["shared_memory_offset"].int64_param == 20
    assert list(answer.raw_output_contents) == [b""]
    assert not output.HasField("contents")
    assert object_.read_bytes()[20] == 5


def test_grpc_counts_raw_contents_without_shared_inputs(play):
    register(play)
    message = shared_message("arrays", 2, 5)
    message.inputs.add(name="y", datatype="INT8", shape=[1])
    message.raw_input_contents.append(b"\7")

    assert list(play.infer_grpc(message).raw_output_contents) == [b"\5\6", b"\7"]


def test_grpc_answers_typed_contents_to_typed_contents(play, object_):
    register(play)
    message = shared_message("arrays", 2, 5, target=20)
    message.inputs.add(name="y", datatype="INT8", shape=[1]).contents.int_contents.append(7)
    message.outputs.add(name="y")

    first, second = play.infer_grpc(message).outputs

    assert not first.HasField("contents")
    assert list(second.contents.int_contents) == [7]
    assert object_.read_bytes()[20:22] == b"\5\6"


@pytest.mark.parametrize("model", ["arrays", "plain"])
def test_a_region_that_is_not_there_is_named_with_its_tensor(play, model):
    for call in (
        lambda: play.infer_http(model, document(2, 5, 20), None)[1]["error"],
        lambda: refusal(play, shared_message(model, 2)),
    ):
        text = call()
        assert "Input 'x'" in text
        assert "'r', which is not registered" in text


def refusal(play, message):
    with pytest.raises(InvalidRequest) as caught:
        play.infer_grpc(message)
    return str(caught.value)


def test_contents_beside_a_region_are_refused(play):
    register(play)
    message = shared_message("arrays", 1)
    message.inputs[0].contents.int_contents.append(1)

    assert "Input 'x' has both contents and shared memory" in refusal(play, message)


def test_text_about_a_region_does_not_make_a_request_use_one(play):
    text = '{"shared_memory_region": "r"}'
    tensor = {"name": "x", "datatype": "BYTES", "shape": [1], "data": [text]}

    assert play.infer_http("plain", {"inputs": [tensor]}, None)[1]["outputs"][0]["data"] == [text]


@pytest.mark.parametrize("way", ["http", "gone", "grpc"])
def test_a_region_is_kept_for_requests_on_their_way(play, object_, way):
    """The client unregisters while its request waits; the region goes with the answer."""
    register(play)
    fd = play.regions.attach(["r"], "unix", takes_tensors=True).regions[0].ref.fd
    pool = play.models["arrays"].pool
    pool.is_held = True
    body = json.dumps(document(2, 5, 20)).encode()
    if way == "grpc":
        play.infer_grpc(shared_message("arrays", 2, 5, target=20))
    else:
        stage = play.http("/v2/models/arrays/infer", body)

    play.regions.unregister()
    os.fstat(fd)
    if way == "gone":
        assert pool.held[0].cancel()
    else:
        pool.run()
        assert way == "grpc" or stage.response().status == 200
        assert object_.read_bytes()[20:22] == b"\5\6"

    with pytest.raises(OSError, match="Bad file"):
        os.fstat(fd)


def test_a_row_that_comes_after_its_region_is_refused(play):
    """What a worker gets may be late: nobody waits for it, and the descriptor may be another's."""
    register(play)
    pool = play.models["arrays"].pool
    pool.is_held = True
    stage = play.http("/v2/models/arrays/infer", json.dumps(document(2, 5, 20)).encode())
    job = pool.held[0]
    job.sink.regions = ()

    play.regions.unregister()
    pool.run()

    assert "not registered any more" in json.loads(stage.response().body)["error"]
