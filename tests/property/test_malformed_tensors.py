"""What is wrong with a tensor is the client's error, and names the tensor; it costs little memory."""

from __future__ import annotations

import json
import math
import tracemalloc
import zlib

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tensor_play import TensorPlay, message_of

from tsl.protocol.errors import InvalidRequest, PayloadTooLarge, TslError
from tsl.protocol.tensors import DATATYPES, ITEM_SIZES, MAX_ELEMENTS, MAX_NAME, MAX_TENSORS

NAME = "the tensor"
BODY = 2**20
GRPC_TRAILER = 8192
"""Bytes of metadata that gRPC takes by default."""

huge = st.integers(MAX_ELEMENTS + 1, 2**200)
models = st.sampled_from(["arrays", "plain"])
datatypes = st.sampled_from(DATATYPES)
numeric = st.sampled_from([name for name in DATATYPES if name != "BYTES"])
no_number = st.text(max_size=5) | st.none() | st.dictionaries(st.text(max_size=3), st.integers())
few = settings(
    max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
)


@pytest.fixture(scope="module")
def play():
    made = TensorPlay(body_bytes=BODY)
    yield made
    made.close()


def refused(play, model, entry, tail=None, *, names=True):
    """An HTTP request with one input is answered with 400, by name."""
    document = {"inputs": [{"name": NAME, **entry}]}
    status, answer, _ = play.infer_http(model, document, tail)
    assert status == 400, answer
    assert answer["error"] == answer["message"]
    if names:
        assert repr(NAME) in answer["error"]
    assert len(answer["error"]) < 2000


def refused_grpc(play, message, *, name=NAME):
    """A call ends with INVALID_ARGUMENT, by name."""
    with pytest.raises(TslError) as caught:
        play.infer_grpc(message)
    error = caught.value
    assert error.grpc_name == "INVALID_ARGUMENT"
    assert repr(name) in str(error)
    assert len(str(error).encode()) * 3 < GRPC_TRAILER  # gRPC escapes it


# -- shapes and sizes


@st.composite
def bad_shapes(draw):
    """A shape that is none, or that is too large; sizes whose product passes every bound."""
    sizes = draw(st.lists(st.integers(0, 5), max_size=4))
    bad = draw(huge | st.integers(max_value=-2) | st.none() | st.text(max_size=3) | st.floats())
    sizes.insert(draw(st.integers(0, len(sizes))), bad)
    other = st.just([2**16, 2**16, 0]) | st.just([2**32, 2**32]) | st.just([1] * 65)
    return draw(st.just(sizes) | other | st.integers() | st.text() | st.just({}))


@few
@given(model=models, datatype=datatypes, shape=bad_shapes(), tail=st.binary(max_size=8))
def test_shapes_that_are_none_are_refused(play, model, datatype, shape, tail):
    parameters = {"binary_data_size": len(tail)}

    refused(play, model, {"datatype": datatype, "shape": shape, "parameters": parameters}, tail)
    if datatype != "BYTES":  # of which the envelope only takes the first
        refused(play, model, {"datatype": datatype, "shape": shape, "data": [0] * 7})


@few
@given(
    model=models,
    datatype=datatypes,
    shape=st.lists(st.integers(-3, 2**62), min_size=1, max_size=4).filter(
        lambda sizes: min(sizes) < 0 or math.prod(size or 1 for size in sizes) > MAX_ELEMENTS
    ),
    raw=st.binary(max_size=8),
)
def test_so_they_are_by_grpc(play, model, datatype, shape, raw):
    refused_grpc(play, message_of(model, NAME, datatype, shape, raw=raw))
    refused_grpc(play, message_of(model, NAME, datatype, shape, fp32_contents=[1.0]))


@few
@given(
    model=models,
    datatype=datatypes,
    shape=st.lists(st.integers(0, 4), max_size=3),
    raw=st.binary(max_size=40),
)
def test_bytes_that_are_too_many_or_too_few_are_refused(play, model, datatype, shape, raw):
    size = math.prod(shape)
    if datatype == "BYTES":
        raw = b"\xff" * max(len(raw), 1)  # a size that nothing follows
    elif len(raw) == size * ITEM_SIZES[datatype]:
        raw += b"\0"

    parameters = {"binary_data_size": len(raw)}
    refused(play, model, {"datatype": datatype, "shape": shape, "parameters": parameters}, raw)
    if raw:
        refused_grpc(play, message_of(model, NAME, datatype, shape, raw=raw))


@few
@given(
    model=models,
    size=st.integers(max_value=-1)
    | st.integers(9, 2**70)
    | st.booleans()
    | st.floats()
    | st.text(max_size=4)
    | st.lists(st.integers(), max_size=2),
)
def test_a_size_of_the_bytes_that_cannot_be_is_refused(play, model, size):
    parameters = {"binary_data_size": size}
    refused(play, model, {"datatype": "INT8", "shape": [8], "parameters": parameters}, bytes(8))


@few
@given(
    model=models,
    length=st.integers(BODY).map(str)
    | st.integers(max_value=-1).map(str)
    | st.text("0123456789abcxyz+-. ", max_size=30).filter(lambda text: not text.strip().isdigit()),
)
def test_a_length_of_the_document_that_cannot_be_is_refused(play, model, length):
    headers = [("Inference-Header-Content-Length", length)] if length.strip() else []
    stage = play.http(f"/v2/models/{model}/infer", b'{"inputs": []}', headers=headers)

    assert stage.response().status == 400


# -- values, types, names


@few
@given(model=models, datatype=numeric, bad=no_number, at=st.integers(0, 3))
def test_values_that_are_no_numbers_are_refused(play, model, datatype, bad, at):
    data = [1, 1, 1]
    data.insert(at, bad)

    refused(play, model, {"datatype": datatype, "shape": [4], "data": data})


@few
@given(
    datatype=st.sampled_from([name for name in DATATYPES if "INT" in name]),
    bad=st.integers(2**64) | st.integers(max_value=-(2**63) - 1) | st.floats() | st.booleans(),
)
def test_integers_have_a_range(play, datatype, bad):
    refused(play, "arrays", {"datatype": datatype, "shape": [1], "data": [bad]})


def test_a_number_beyond_all_floats_is_refused(play):
    refused(play, "arrays", {"datatype": "FP64", "shape": [1], "data": [10**400]})


@few
@given(
    model=models,
    datatype=st.text(max_size=300).filter(lambda name: name not in DATATYPES)
    | st.none()
    | st.integers()
    | st.lists(st.text(), max_size=3)
    | st.dictionaries(st.text(max_size=3), st.integers(), max_size=3),
)
def test_types_that_do_not_exist_are_refused(play, model, datatype):
    refused(play, model, {"datatype": datatype, "shape": [1], "data": [1]})
    if isinstance(datatype, str):
        text = datatype.encode("utf-8", "replace").decode()
        refused_grpc(play, message_of(model, NAME, text, [1], raw=b"\0"))


@few
@given(model=models, others=st.lists(st.sampled_from("abc"), unique=True), at=st.integers(0, 3))
def test_a_name_may_be_there_once(play, model, others, at):
    names = [*others, NAME]
    names.insert(at, NAME)
    inputs = [{"name": each, "datatype": "INT8", "shape": [1], "data": [1]} for each in names]
    message = message_of(model, NAME, "INT8", [1], raw=b"\0")
    for each in names:
        message.inputs.add(name=each, datatype="INT8", shape=[1])
        message.raw_input_contents.append(b"\0")

    status, answer, _ = play.infer_http(model, {"inputs": inputs}, None)

    assert status == 400
    assert f"two inputs {NAME!r}" in answer["error"]
    refused_grpc(play, message)


@few
@given(model=models, name=st.text(min_size=MAX_NAME + 1, max_size=2000))
def test_a_name_is_short_enough_to_be_repeated(play, model, name):
    entry = {"name": name, "datatype": "INT8", "shape": [1], "data": [1]}
    outputs = [{"name": name, "parameters": {"binary_data": True}}]

    for document in {"inputs": [entry]}, {"inputs": [entry | {"name": "x"}], "outputs": outputs}:
        status, answer, _ = play.infer_http(model, document, None)
        assert status == 400
        assert len(answer["error"]) < 1000
    text = name.encode("utf-8", "replace").decode()
    with pytest.raises(InvalidRequest, match="characters; the limit"):
        play.infer_grpc(message_of(model, text, "INT8", [1], raw=b"\0"))


# -- memory


def peak_of(ask):
    """Bytes that a request takes at its worst, in Python and numpy."""
    tracemalloc.start()
    try:
        ask()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


BOMBS = {
    "a huge shape": {"shape": [MAX_ELEMENTS], "data": [1]},
    "a shape beyond all": {"shape": [2**62, 2**62], "data": [1]},
    "huge and empty": {"shape": [2**31 - 1, 0], "data": [1]},
    "deep lists": {"shape": [1], "data": "[" * 100_000 + "]" * 100_000},
    "many empty lists": {"shape": [1], "data": [[]] * 250_000},
    "many dimensions": {"shape": [100_000] + [1] * 31, "data": [0] * 100_000 + [""]},
    "a long datatype": {"shape": [1], "datatype": "x" * 900_000, "data": [1]},
    "many numbers": {"shape": [400_000], "data": [0] * 300_000},
}


@pytest.mark.parametrize("bomb", BOMBS)
@pytest.mark.parametrize("model", ["arrays", "plain"])
def test_a_document_takes_memory_in_proportion_to_its_size(play, model, bomb):
    """A list in JSON has three bytes, in Python some seventy: hence the factor."""
    entry = {"name": NAME, "datatype": "INT64", **BOMBS[bomb]}
    body = json.dumps({"inputs": [entry]})
    if isinstance(entry["data"], str):
        body = body.replace(json.dumps(entry["data"]), entry["data"])

    status = []
    peak = peak_of(lambda: status.append(play.infer_http(model, body.encode(), None)[0]))

    assert status == [400]
    assert peak < 60 * max(len(body), 2**16)


@pytest.mark.parametrize("model", ["arrays", "plain"])
def test_a_claim_of_many_bytes_takes_none(play, model):
    sizes = {"parameters": {"binary_data_size": 2**40}}
    elements = {"parameters": {"binary_data_size": 4}}

    for entry, tail in (
        ({"datatype": "FP64", "shape": [MAX_ELEMENTS], **sizes}, b"1234"),
        ({"datatype": "BYTES", "shape": [MAX_ELEMENTS], **elements}, b"\0\0\0\0"),
        ({"datatype": "BYTES", "shape": [1], **elements}, b"\xff\xff\xff\xff"),
    ):
        assert peak_of(lambda entry=entry, tail=tail: refused(play, model, entry, tail)) < 2**21


@pytest.mark.parametrize("model", ["arrays", "plain"])
def test_so_by_grpc(play, model):
    for message in (
        message_of(model, NAME, "FP64", [MAX_ELEMENTS], raw=b"1234"),
        message_of(model, NAME, "BYTES", [MAX_ELEMENTS], raw=b"\0\0\0\0"),
        message_of(model, NAME, "BYTES", [1], raw=b"\xff\xff\xff\xff"),
        message_of(model, NAME, "INT8", [2**62] * 1000, raw=b""),
        message_of(model, NAME, "INT64", [MAX_ELEMENTS], int64_contents=[1]),
    ):
        assert peak_of(lambda message=message: refused_grpc(play, message)) < 2**21


@pytest.mark.parametrize("model", ["arrays", "plain"])
def test_inputs_are_bounded_in_number(play, model):
    count = MAX_TENSORS + 1
    inputs = [{"name": str(n), "datatype": "INT8", "shape": [1], "data": [1]} for n in range(count)]
    message = message_of(model, "x", "INT8", [1], raw=b"\0")
    for number in range(count):
        message.inputs.add(name=str(number), datatype="INT8", shape=[1])
        message.raw_input_contents.append(b"\0")

    status, answer, _ = play.infer_http(model, {"inputs": inputs}, None)

    assert (status, f"{count} inputs" in answer["error"]) == (400, True)
    with pytest.raises(InvalidRequest, match="inputs; the limit"):
        play.infer_grpc(message)


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
def test_a_body_does_not_grow_beyond_the_limit(play, coding):
    packer = zlib.compressobj(wbits=31 if coding == "gzip" else 15)
    body = packer.compress(bytes(64 * BODY)) + packer.flush()

    def ask():
        stage = play.http("/v2/models/arrays/infer", body, headers=[("Content-Encoding", coding)])
        assert stage.response().status == PayloadTooLarge.http_status

    assert peak_of(ask) < 4 * BODY
