"""System shared memory as Triton's client library uses it, over HTTP and gRPC, sync and async."""

import asyncio
import os
import uuid
from pathlib import Path

import numpy as np
import pytest
import tritonclient.grpc as triton_grpc
import tritonclient.grpc.aio as triton_grpc_aio
import tritonclient.http as triton_http
import tritonclient.http.aio as triton_http_aio
import tritonclient.utils.shared_memory as shm
from serving import RunningServer, workers
from tritonclient.utils import InferenceServerException, serialize_byte_tensor

pytestmark = pytest.mark.e2e

SIZE = 4096
ARRAYS = {
    "BOOL": np.array([[True, False, True]]),
    **{
        f"{'U' * (kind == 'u')}INT{8 * size}": np.arange(-3, 3).astype(f"{kind}{size}")
        for kind in "iu"
        for size in (1, 2, 4, 8)
    },
    "FP16": np.array([0.5, -65504, np.inf], np.float16),
    "FP32": np.array([[1.5, -0.0], [np.nan, 1e-45]], np.float32),
    "FP64": np.array([1e308, 5e-324]),
    "BYTES": np.array([[b"", b"a\xff\x00"], [b"bc", b"\x00"]], dtype=object),
}


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    running = RunningServer(tmp_path_factory.mktemp("shm"))
    running.properties |= {
        "enable_grpc": "true",
        "grpc_inference_port": "0",
        "grpc_management_port": "0",
        "ts_open_inference_protocol": "true",
        "service_envelope": "kservev2",
        "shared_memory": "loopback",
        "max_shared_memory_size": str(64 * 1024),
    }
    running.add("arrays", "arrays", **workers(1, maxBatchDelay=1, inputFormat="tensors"))
    running.add("plain", "kserve_inputs", **workers(1, maxBatchDelay=1))
    try:
        running.start("arrays.mar plain.mar")
        yield running
        running.stop()
    finally:
        running.close()


@pytest.fixture(scope="module")
def addresses(server):
    line = next(line for line in server.output().splitlines() if line.startswith("  gRPC "))
    host, port = server.endpoint
    return {"http": f"{host}:{port}", "grpc": line.split(None, 1)[1].split(", ")[0]}


@pytest.fixture(params=["http", "grpc"])
def triton(request, addresses):
    library = triton_http if request.param == "http" else triton_grpc
    with library.InferenceServerClient(addresses[request.param]) as client:
        yield library, client
        client.unregister_system_shared_memory()


@pytest.fixture
def memory():
    """Makes objects of shared memory, and removes them in the end."""
    made = []

    def make(size=SIZE):
        key = f"tsl_test_{uuid.uuid4().hex}"
        made.append(shm.create_shared_memory_region(key, key, size))
        return key, made[-1]

    yield make
    for each in made:
        shm.destroy_shared_memory_region(each)


def put(handle, array, offset=0):
    """Write an array as the protocol has it; returns the number of bytes."""
    raw = serialize_byte_tensor(array) if array.dtype == object else array
    shm.set_shared_memory_region(handle, [raw], offset)
    return len(raw.item()) if array.dtype == object else raw.nbytes


def same(left, right):
    assert left.shape == right.shape
    assert left.dtype == right.dtype
    assert left.tobytes() == right.tobytes() if left.dtype != object else (left == right).all()


def request_of(library, datatype, array, size, *, region="in", target="out", offset=0):
    tensor = library.InferInput("x", list(array.shape), datatype)
    tensor.set_shared_memory(region, size, offset=offset)
    output = library.InferRequestedOutput("x")
    output.set_shared_memory(target, SIZE // 2, offset=SIZE // 2)
    return [tensor], [output]


def plain(output):
    """Parameters of an output of an answer, by either library."""
    if isinstance(output, dict):
        return output["parameters"], output["datatype"], output["shape"]
    values = {
        name: getattr(each, each.WhichOneof("parameter_choice"))
        for name, each in output.parameters.items()
    }
    return values, output.datatype, list(output.shape)


@pytest.mark.parametrize("datatype", list(ARRAYS))
def test_a_tensor_goes_there_and_back_by_shared_memory(triton, memory, datatype):
    library, client = triton
    array = ARRAYS[datatype]
    (source, into), (target, out) = memory(), memory()
    client.register_system_shared_memory("in", source, SIZE - 8, offset=8)
    client.register_system_shared_memory("out", target, SIZE)
    size = put(into, array, offset=8 + 16)
    inputs, outputs = request_of(library, datatype, array, size, offset=16)

    result = client.infer("arrays", inputs, outputs=outputs)

    parameters, answered, shape = plain(result.get_output("x"))
    assert (answered, shape) == (datatype, list(array.shape))
    assert parameters == {
        "shared_memory_region": "out",
        "shared_memory_byte_size": size,
        "shared_memory_offset": SIZE // 2,
    }
    same(shm.get_contents_as_numpy(out, array.dtype, array.shape, offset=SIZE // 2), array)


@pytest.mark.parametrize("kind", ["http", "grpc"])
def test_the_asynchronous_clients_do_it_too(addresses, memory, kind):
    library = triton_http_aio if kind == "http" else triton_grpc_aio
    array = ARRAYS["FP32"]
    (source, into), (target, out) = memory(), memory()

    async def run():
        async with library.InferenceServerClient(addresses[kind]) as client:
            await client.register_system_shared_memory("in", source, SIZE)
            await client.register_system_shared_memory("out", target, SIZE)
            inputs, outputs = request_of(library, "FP32", array, put(into, array))
            await client.infer("arrays", inputs, outputs=outputs)
            await client.unregister_system_shared_memory("in")
            status = await client.get_system_shared_memory_status()
            names = [each["name"] for each in status] if kind == "http" else list(status.regions)
            await client.unregister_system_shared_memory()
            return names

    assert asyncio.run(run()) == ["out"]
    same(shm.get_contents_as_numpy(out, array.dtype, array.shape, offset=SIZE // 2), array)


def test_shared_and_sent_tensors_may_be_mixed(triton, memory):
    library, client = triton
    (source, into), (target, out) = memory(), memory()
    client.register_system_shared_memory("in", source, SIZE)
    client.register_system_shared_memory("out", target, SIZE)
    shared = library.InferInput("x", [2, 2], "FP32")
    shared.set_shared_memory("in", put(into, ARRAYS["FP32"]))
    sent = library.InferInput("y", [2], "FP64")
    sent.set_data_from_numpy(ARRAYS["FP64"])
    back = library.InferRequestedOutput("y")
    back.set_shared_memory("out", SIZE)

    result = client.infer(
        "arrays", [shared, sent], outputs=[back, library.InferRequestedOutput("x")]
    )

    same(result.as_numpy("x"), ARRAYS["FP32"])
    same(shm.get_contents_as_numpy(out, np.float64, [2]), ARRAYS["FP64"])


@pytest.mark.parametrize("datatype", ["INT64", "FP32", "BOOL"])
def test_a_model_of_json_takes_and_fills_regions_too(triton, memory, datatype):
    library, client = triton
    array = np.array([[1, 0], [0, 1]]).astype(ARRAYS[datatype].dtype)
    (source, into), (target, out) = memory(), memory()
    client.register_system_shared_memory("in", source, SIZE)
    client.register_system_shared_memory("out", target, SIZE)
    inputs, outputs = request_of(library, datatype, array, put(into, array))

    result = client.infer("plain", inputs, outputs=outputs)

    parameters, answered, shape = plain(result.get_output("x"))
    kind = {"INT64": np.int64, "FP64": np.float64, "BOOL": np.bool_}[answered]
    values = shm.get_contents_as_numpy(out, kind, shape, offset=SIZE // 2)
    assert values.tolist() == array.reshape(-1).tolist()  # the envelope flattens
    assert parameters["shared_memory_byte_size"] == values.nbytes


def test_regions_are_listed_and_forgotten(triton, memory):
    _, client = triton
    key, _ = memory()

    client.register_system_shared_memory("a", f"/{key}", 16, offset=8)
    client.register_system_shared_memory("b", key, SIZE)

    listed = listing(client.get_system_shared_memory_status("a"))
    assert listed == [("a", f"/{key}", 8, 16)]
    assert len(listing(client.get_system_shared_memory_status())) == 2
    with pytest.raises(InferenceServerException, match="'a' already"):
        client.register_system_shared_memory("a", key, 1)
    client.unregister_system_shared_memory("a")
    with pytest.raises(InferenceServerException, match="no shared memory region 'a'"):
        client.get_system_shared_memory_status("a")
    client.unregister_system_shared_memory()
    assert listing(client.get_system_shared_memory_status()) == []
    assert "system_shared_memory" in extensions(client)


def listing(status):
    entries = status
    if not isinstance(status, list):
        entries = [
            {"name": each.name, "key": each.key, "offset": each.offset, "byte_size": each.byte_size}
            for each in status.regions.values()
        ]
    return [tuple(each.values()) for each in entries]


def extensions(client):
    metadata = client.get_server_metadata()
    return metadata["extensions"] if isinstance(metadata, dict) else metadata.extensions


def test_there_is_no_cuda_memory(triton):
    library, client = triton

    with pytest.raises(InferenceServerException, match="CUDA") as caught:
        client.register_cuda_shared_memory("a", b"aGFuZGxl", 0, 16)

    assert ("400" if library is triton_http else "UNIMPLEMENTED") in caught.value.status()
    assert not listing(client.get_cuda_shared_memory_status())
    client.unregister_cuda_shared_memory()


def test_an_object_without_a_name_and_one_that_was_truncated(triton, memory):
    """A region outlives the name of its object, but what is cut off it is gone, for one request."""
    library, client = triton
    array = ARRAYS["FP64"]
    (source, into), (target, out) = memory(), memory()
    client.register_system_shared_memory("in", source, SIZE)
    client.register_system_shared_memory("out", target, SIZE)
    inputs, outputs = request_of(library, "FP64", array, put(into, array), offset=0)
    Path(f"/dev/shm/{source}").unlink()

    client.infer("arrays", inputs, outputs=outputs)
    same(shm.get_contents_as_numpy(out, np.float64, [2], offset=SIZE // 2), array)
    os.truncate(f"/dev/shm/{target}", SIZE // 2)
    with pytest.raises(InferenceServerException, match=r"Output 'x'.*too small"):
        client.infer("arrays", inputs, outputs=outputs)
    assert Path(f"/dev/shm/{target}").stat().st_size == SIZE // 2

    os.truncate(f"/dev/shm/{target}", SIZE)
    client.infer("arrays", inputs, outputs=outputs)
    Path(f"/dev/shm/{source}").touch()  # for who made it, and removes it


@pytest.mark.parametrize("model", ["arrays", "plain"])
@pytest.mark.parametrize(
    ("region", "size", "offset", "text"),
    [
        ("absent", 16, 0, "Input 'x'.*'absent', which is not registered"),
        ("in", 16, SIZE - 15, "Input 'x' ends at byte"),
        ("in", 16, 2**63 - 1, "Input 'x' ends at byte"),
        ("in", 2**62, 0, "Input 'x' ends at byte"),
        ("in", 15, 0, "Input 'x'.*15 bytes"),
    ],
)
def test_a_region_that_does_not_fit_is_refused(triton, memory, model, region, size, offset, text):
    library, client = triton
    key, _ = memory()
    client.register_system_shared_memory("in", key, SIZE)
    inputs, _ = request_of(library, "FP64", ARRAYS["FP64"], size, region=region, offset=offset)

    with pytest.raises(InferenceServerException, match=text) as caught:
        client.infer(model, inputs)

    assert ("400" if library is triton_http else "INVALID_ARGUMENT") in caught.value.status()


def test_an_output_that_is_larger_than_its_place_is_refused(triton, memory):
    library, client = triton
    key, handle = memory()
    client.register_system_shared_memory("in", key, SIZE)
    inputs, (output,) = request_of(library, "FP64", ARRAYS["FP64"], 16)
    output.set_shared_memory("in", 15)

    with pytest.raises(InferenceServerException, match=r"Output 'x' has 16 bytes.*15 bytes"):
        client.infer("arrays", inputs, outputs=[output])
    assert handle
