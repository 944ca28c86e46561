"""Tensors come back bit for bit by every way there is: JSON, binary, typed, raw, shared memory.

The way is the whole one but for sockets (`tensor_play`). Of JSON and typed contents the values are
compared, not the bits of what is not a number: neither can tell one NaN from another.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from tensor_play import TensorPlay, message_of

from tsl.frontend import shared_memory
from tsl.protocol.tensors import DATATYPES, ITEM_SIZES, join_bytes, split_bytes, values_of

SIZE = 4096
FIELDS = {
    "BOOL": "bool_contents",
    "INT8": "int_contents",
    "INT16": "int_contents",
    "INT32": "int_contents",
    "INT64": "int64_contents",
    "UINT8": "uint_contents",
    "UINT16": "uint_contents",
    "UINT32": "uint_contents",
    "UINT64": "uint64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    "BYTES": "bytes_contents",
}
FLOATS = {"FP16": "<f2", "FP32": "<f4", "FP64": "<f8"}
SUBNORMAL = ("FP32", [3], b"\1\0\0\0\0\0\0\x80\xff\xff\x7f\x80")
EXTREME = ("FP64", [2], b"\1\0\0\0\0\0\0\0\xff\xff\xff\xff\xff\xff\xef\x7f")
NOT_FINITE = ("FP16", [4], b"\0\x7c\0\xfc\0\x7e\1\0")

shapes = st.lists(st.integers(0, 4), max_size=4)
ways = settings(
    max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
)


@st.composite
def tensors(draw, *, text=False):
    """Datatype, shape and bytes of a valid tensor."""
    datatype, shape = draw(st.sampled_from(DATATYPES)), draw(shapes)
    size = math.prod(shape)
    if datatype == "BYTES":
        item = st.text(max_size=6).map(str.encode) if text else st.binary(max_size=6)
        return datatype, shape, join_bytes(draw(st.lists(item, min_size=size, max_size=size)))
    if datatype == "BOOL":
        return (
            datatype,
            shape,
            bytes(draw(st.lists(st.integers(0, 1), min_size=size, max_size=size))),
        )
    length = size * ITEM_SIZES[datatype]
    return datatype, shape, draw(st.binary(min_size=length, max_size=length))


@pytest.fixture(scope="module")
def play():
    made = TensorPlay()
    yield made
    made.close()


@pytest.fixture
def memory(play, tmp_path, monkeypatch):
    """An object with two regions, ``in`` and ``out``; and its path."""
    monkeypatch.setattr(shared_memory, "FOLDER", str(tmp_path))
    (tmp_path / "object").write_bytes(bytes(2 * SIZE))
    play.regions.register("in", "object", 0, SIZE)
    play.regions.register("out", "object", SIZE, SIZE)
    yield tmp_path / "object"
    play.regions.unregister()


def same(datatype, left, right):
    """Whether two tensors' bytes are equal; a signalling NaN may have become a quiet one.

    Only BF16 passes a float of another size, and only there a NaN may change.
    """
    if datatype != "BF16":
        return left == right
    mine, theirs = np.frombuffer(left, "<u2"), np.frombuffer(right, "<u2")
    is_nan = (mine & 0x7FFF) > 0x7F80
    return bool((np.where(is_nan, mine | 0x40, mine) == theirs).all())


def same_values(datatype, left, right):
    """Whether values are equal, the signs of zeros, too; all NaN are."""
    if datatype not in (*FLOATS, "BF16"):
        return left == right
    return len(left) == len(right) and all(
        (a != a and b != b) or (a == b and math.copysign(1, a) == math.copysign(1, b))
        for a, b in zip(left, right, strict=True)
    )


def declare(datatype):
    """BF16 must be declared, or the handler's float32 is answered as such."""
    return {"outputs": [{"name": "x", "datatype": datatype, "shape": [-1]}]}


@pytest.fixture(autouse=True)
def declared(play):
    """Lets a test say what the output is."""
    context = play.models["arrays"].pool._service.context
    context.model_yaml_config = {}
    yield lambda datatype: setattr(context, "model_yaml_config", declare(datatype))
    context.model_yaml_config = {}


def entry(datatype, shape, **more):
    return {"name": "x", "datatype": datatype, "shape": shape, **more}


@ways
@given(tensor=tensors())
@example(tensor=SUBNORMAL)
@example(tensor=EXTREME)
@example(tensor=NOT_FINITE)
def test_binary_data_by_http(play, declared, tensor):
    datatype, shape, raw = tensor
    declared(datatype)
    document = {
        "inputs": [entry(datatype, shape, parameters={"binary_data_size": len(raw)})],
        "parameters": {"binary_data_output": True},
    }

    status, answer, tail = play.infer_http("arrays", document, raw)

    (output,) = answer["outputs"]
    assert (status, output["datatype"], output["shape"]) == (200, datatype, shape)
    assert output["parameters"] == {"binary_data_size": len(raw)}
    assert same(datatype, raw, tail)


@ways
@given(tensor=tensors(text=True))
@example(tensor=SUBNORMAL)
@example(tensor=EXTREME)
@example(tensor=NOT_FINITE)
def test_json_by_http(play, declared, tensor):
    datatype, shape, raw = tensor
    declared(datatype)
    values = values_of("x", datatype, math.prod(shape), raw)
    data = [value.decode() for value in values] if datatype == "BYTES" else values

    status, answer, _ = play.infer_http(
        "arrays", {"inputs": [entry(datatype, shape, data=data)]}, None
    )

    (output,) = answer["outputs"]
    assert (status, output["datatype"], output["shape"]) == (200, datatype, shape)
    assert same_values(datatype, data, output["data"])


@ways
@given(tensor=tensors())
@example(tensor=SUBNORMAL)
@example(tensor=EXTREME)
@example(tensor=NOT_FINITE)
def test_raw_contents_by_grpc(play, declared, tensor):
    datatype, shape, raw = tensor
    declared(datatype)

    answer = play.infer_grpc(message_of("arrays", "x", datatype, shape, raw=raw))

    (output,) = answer.outputs
    assert (output.datatype, list(output.shape)) == (datatype, shape)
    assert same(datatype, raw, answer.raw_output_contents[0])


@ways
@given(tensor=tensors().filter(lambda tensor: tensor[0] in FIELDS))
@example(tensor=SUBNORMAL)
@example(tensor=EXTREME)
def test_typed_contents_by_grpc(play, tensor):
    datatype, shape, raw = tensor
    values, field = values_of("x", datatype, math.prod(shape), raw), FIELDS[datatype]

    answer = play.infer_grpc(message_of("arrays", "x", datatype, shape, **{field: values}))

    (output,) = answer.outputs
    assert (output.datatype, list(output.shape)) == (datatype, shape)
    assert not answer.raw_output_contents
    assert same_values(datatype, values, list(getattr(output.contents, field)))


@ways
@given(tensor=tensors(), transport=st.sampled_from(["http", "grpc"]), offset=st.integers(0, 64))
@example(tensor=SUBNORMAL, transport="grpc", offset=1)
@example(tensor=NOT_FINITE, transport="http", offset=3)
def test_shared_memory(play, memory, declared, tensor, transport, offset):
    datatype, shape, raw = tensor
    declared(datatype)
    with memory.open("r+b") as file:
        file.seek(offset)
        file.write(raw)
    places = {
        name: {
            "shared_memory_region": name,
            "shared_memory_byte_size": len(raw),
            "shared_memory_offset": offset,
        }
        for name in ("in", "out")
    }

    if transport == "http":
        document = {
            "inputs": [entry(datatype, shape, parameters=places["in"])],
            "outputs": [{"name": "x", "parameters": places["out"]}],
        }
        status, answer, _ = play.infer_http("arrays", document, None)
        assert status == 200
        assert answer["outputs"][0]["shape"] == shape
    else:
        message = message_of("arrays", "x", datatype, shape)
        message.outputs.add(name="x")
        for each, where in (message.inputs[0], "in"), (message.outputs[0], "out"):
            each.parameters["shared_memory_region"].string_param = where
            each.parameters["shared_memory_byte_size"].int64_param = len(raw)
            each.parameters["shared_memory_offset"].int64_param = offset
        (output,) = play.infer_grpc(message).outputs
        assert (output.datatype, list(output.shape)) == (datatype, shape)

    content = memory.read_bytes()[SIZE + offset :]
    assert same(datatype, raw, content[: len(raw)])


@ways
@given(tensor=tensors(text=True).filter(lambda tensor: tensor[0] != "BYTES"))
@example(tensor=SUBNORMAL)
def test_a_model_of_json_sees_the_values(play, tensor):
    """Its envelope flattens, and answers the widest type of its kind."""
    datatype, shape, raw = tensor
    values = values_of("x", datatype, math.prod(shape), raw)
    document = {"inputs": [entry(datatype, shape, parameters={"binary_data_size": len(raw)})]}

    status, answer, _ = play.infer_http("plain", document, raw)

    assert status == 200
    assert same_values(datatype, values, answer["outputs"][0]["data"])


def test_the_ways_cover_all_types():
    assert {*FIELDS, "FP16", "BF16"} == set(DATATYPES)
    assert split_bytes("x", 1, join_bytes([b"a"])) == [b"a"]
