"""Inputs from shared memory and outputs to it, as a worker does it."""

from __future__ import annotations

import json
import os
from types import SimpleNamespace

import numpy as np
import pytest

from tsl.backend.context import Context
from tsl.backend.envelopes import load_envelope
from tsl.backend.rows import decode_row
from tsl.backend.shared_memory import NO_REGIONS, Regions
from tsl.protocol.errors import InternalError, InvalidInput, InvalidOutput
from tsl.protocol.frames import Part, Row
from tsl.protocol.shared_memory import REGIONS, RegionRef, RegionTable, pack, unpack
from tsl.protocol.tensors import INLINE_TYPE, TENSORS_PART, TENSORS_TYPE


class Memory:
    """An object of 64 bytes with one region, ``r``: all but the first 8."""

    def __init__(self, path):
        self.path = path
        path.write_bytes(bytes(range(64)))
        self.file = path.open("r+b")
        about = path.stat()
        self.ref = RegionRef(self.file.fileno(), about.st_dev, about.st_ino, 8, 56)

    def table(self, *, max_bytes=1000, takes_outputs=True, **change):
        ref = self.ref._replace(**change)
        return RegionTable(os.getpid(), max_bytes, takes_outputs, {"r": ref})

    def regions(self, **options):
        return Regions(self.table(**options))


@pytest.fixture
def memory(tmp_path):
    made = Memory(tmp_path / "object")
    yield made
    made.file.close()


def place(size=8, offset=0, region="r"):
    return {
        "shared_memory_region": region,
        "shared_memory_byte_size": size,
        "shared_memory_offset": offset,
    }


def test_a_table_is_a_text_on_its_way(memory):
    assert unpack(pack(memory.table())) == memory.table()


def test_values_are_read_from_where_they_are(memory):
    regions = memory.regions()

    assert regions.read("x", place(4, 2)) == bytes(range(10, 14))
    assert regions.read("x", {**place(56), "shared_memory_offset": 0}) == bytes(range(8, 64))
    assert regions.read("x", place(0, 56)) == b""


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"shared_memory_region": "s"}, "'s', which is not registered"),
        ({"shared_memory_region": 1}, "not the name of a region"),
        ({"shared_memory_region": ["r" * 9]}, "not the name of a region"),
        ({"shared_memory_region": "r" * 300}, "not the name of a region"),
        ({"shared_memory_byte_size": 57}, "ends at byte 57"),
        ({"shared_memory_offset": 50}, "ends at byte 58"),
        ({"shared_memory_offset": 2**64}, "ends at byte"),
        ({"shared_memory_byte_size": 2**64}, "ends at byte"),
        ({"shared_memory_byte_size": None}, "byte_size must be"),
        ({"shared_memory_byte_size": -1}, "byte_size must be"),
        ({"shared_memory_byte_size": True}, "byte_size must be"),
        ({"shared_memory_byte_size": 1.0}, "byte_size must be"),
        ({"shared_memory_offset": -1}, "offset must be"),
        ({"shared_memory_offset": "0"}, "offset must be"),
    ],
)
def test_a_place_that_is_none_is_refused(memory, change, text):
    parameters = place() | change

    with pytest.raises(InvalidInput, match=f"Input 'x'.*{text}"):
        memory.regions().read("x", parameters)
    with pytest.raises(InvalidInput, match=f"Output 'y'.*{text}"):
        memory.regions().pieces({"outputs": [{"name": "y", "parameters": parameters}]})


def test_what_a_request_reads_is_bounded(memory):
    regions = memory.regions(max_bytes=20)

    regions.read("x", place(12))
    with pytest.raises(InvalidInput, match="'y' the request reads more than 20"):
        regions.read("y", place(12))


def test_an_object_may_be_truncated_at_any_time(memory, monkeypatch):
    os.truncate(memory.path, 12)
    with pytest.raises(InvalidInput, match="too small"):
        memory.regions().read("x", place(8))
    assert memory.regions().read("x", place(4)) == bytes(range(8, 12))

    monkeypatch.setattr(
        os,
        "fstat",
        lambda fd: os.stat_result(
            (33188, memory.ref.inode, memory.ref.device, 1, 0, 0, 64, 0, 0, 0)
        ),
    )
    with pytest.raises(InvalidInput, match="too small"):  # between the look and the reading
        memory.regions().read("x", place(8))


@pytest.mark.parametrize("change", [{"fd": 2**20}, {"inode": 1}, {"device": 1}])
def test_a_descriptor_that_was_closed_or_used_again_is_noticed(memory, change):
    regions = memory.regions(**change)

    with pytest.raises(InvalidInput, match="'r' is not registered any more"):
        regions.read("x", place())
    (piece,) = regions.pieces({"outputs": [{"name": "y", "parameters": place()}]}).values()
    with pytest.raises(InvalidInput, match="'r' is not registered any more"):
        regions.write(piece, b"1")


def test_a_descriptor_that_is_no_file_is_noticed(memory):
    """Its number may be that of a pipe by now; looking at it must not block."""
    reader, writer = os.pipe()
    try:
        with pytest.raises(InvalidInput, match="not registered any more"):
            memory.regions(fd=reader).read("x", place())
    finally:
        os.close(reader)
        os.close(writer)


def test_a_worker_that_may_not_look_says_so(memory, monkeypatch):
    def refuse(path, flags):
        raise PermissionError

    monkeypatch.setattr(os, "open", refuse)

    with pytest.raises(InternalError):
        memory.regions().read("x", place())


def test_an_output_is_written_to_its_place(memory):
    regions = memory.regions()
    (piece,) = regions.pieces({"outputs": [{"name": "y", "parameters": place(8, 2)}]}).values()

    regions.write(piece, b"abc")
    with pytest.raises(InvalidInput, match=r"'y' has 9 bytes.*8 bytes of region 'r'"):
        regions.write(piece, bytes(9))

    assert memory.path.read_bytes()[9:14] == b"\x09abc\x0d"
    assert piece.parameters(3) == place(3, 2)


def test_memory_that_is_full_is_an_error_of_the_output(memory, monkeypatch):
    def full(fd, view, at):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "pwrite", full)
    regions = memory.regions()
    (piece,) = regions.pieces({"outputs": [{"name": "y", "parameters": place()}]}).values()

    with pytest.raises(InvalidInput, match=r"'y'.*No space left"):
        regions.write(piece, b"1")


# -- rows


def row(memory, inputs, outputs=(), kind=TENSORS_TYPE, **options):
    document = json.dumps({"inputs": inputs, "outputs": list(outputs)}).encode()
    parts = [Part("body", "application/json", document), Part(TENSORS_PART, kind, b"")]
    return Row("id", [], [REGIONS, pack(memory.table(**options))], parts)


def shared(name, datatype, shape, *where):
    return {"name": name, "datatype": datatype, "shape": shape, "parameters": place(*where)}


def run(rows, handler, envelope="tensor_rows", line=None):
    context = Context("m", ".", None, 8, None, "0", model_yaml_config={})
    context.begin_batch(rows, line)
    return load_envelope(envelope)(handler).handle([decode_row(each) for each in rows], context)


def test_a_row_without_the_property_has_no_regions():
    plain = Row("id", [b"shared_memory_regions", b"[]"], ["x", REGIONS], [Part("a", "", b"")] * 2)

    assert decode_row(plain).regions is NO_REGIONS


def test_a_handler_gets_an_array_of_its_own(memory):
    def handler(data, context):
        (array,) = data[0].values()
        assert array.flags.writeable
        assert array.tolist() == [8, 9]
        array += 1
        return [{"y": array.astype(np.uint16)}]

    request = row(
        memory, [shared("x", "UINT8", [2], 2)], [{"name": "y", "parameters": place(4, 10)}]
    )
    (answer,) = run([request], handler)

    content = memory.path.read_bytes()
    assert content[8:10] == b"\x08\x09"
    assert content[18:22] == b"\x09\0\x0a\0"
    assert json.loads(answer)["outputs"] == [
        {"name": "y", "datatype": "UINT16", "shape": [2], "parameters": place(4, 10)}
    ]


def test_a_row_that_cannot_be_read_or_written_fails_alone(memory):
    good = shared("x", "UINT8", [1], 1)
    rows = [
        row(memory, [shared("x", "UINT8", [1], 1, 0, "gone")]),
        row(memory, [good], fd=2**20),
        row(memory, [good], [{"name": "x", "parameters": place(0)}]),
        row(memory, [good]),
    ]

    answers = run(rows, lambda data, context: data)

    assert [type(each) for each in answers[:3]] == [InvalidInput] * 3
    assert json.loads(answers[3])["outputs"][0]["data"] == [8]


@pytest.mark.parametrize("line", ["silent", "cancelled"])
def test_what_nobody_waits_for_is_not_written(memory, line):
    line = SimpleNamespace(is_silent=line == "silent", is_cancelled=lambda row: line != "silent")
    before = memory.path.read_bytes()
    request = row(
        memory, [shared("x", "UINT8", [1], 1)], [{"name": "x", "parameters": place(1, 9)}]
    )

    run([request], lambda data, context: data, line=line)

    assert memory.path.read_bytes() == before


def test_values_of_two_kinds_are_refused(memory):
    both = shared("x", "UINT8", [1], 1) | {"data": [1]}

    with pytest.raises(InvalidInput, match="'x'"):
        run([row(memory, [both])], lambda data, context: data)


@pytest.mark.parametrize(
    ("value", "raw"),
    [([1.5], b"\0\0\0\0\0\0\xf8\x3f"), ([True], b"\1"), (["é", "x"], b"\2\0\0\0\xc3\xa9\1\0\0\0x")],
)
def test_an_envelope_of_json_does_it_too(memory, value, raw):
    seen = []

    def handler(data, context):
        seen.extend(data)
        return [value]

    request = row(
        memory,
        [shared("x", "UINT8", [2], 2)],
        [{"name": "x", "parameters": place(20, 10)}],
        kind=INLINE_TYPE,
    )
    (answer,) = run([request], handler, "kservev2")

    assert seen[0]["data"] == [8, 9]
    (output,) = answer["outputs"]
    assert output["parameters"] == place(len(raw), 10)
    assert "data" not in output
    assert memory.path.read_bytes()[18 : 18 + len(raw)] == raw


@pytest.mark.parametrize(
    ("name", "result", "kind"),
    [("z", [1], InvalidInput), ("x", [object()], InvalidOutput), ("x", [1] * 9, InvalidInput)],
)
def test_an_output_that_an_envelope_cannot_place(memory, name, result, kind):
    request = row(
        memory,
        [shared("x", "UINT8", [1], 1)],
        [{"name": name, "parameters": place(20)}],
        kind=INLINE_TYPE,
    )

    (answer,) = run([request], lambda data, context: [result], "kservev2")

    assert isinstance(answer, kind)
    assert repr(name) in str(answer)


def test_a_handler_that_answers_itself_has_no_outputs_in_shared_memory(memory):
    request = row(
        memory,
        [shared("x", "UINT8", [1], 1)],
        [{"name": "y", "parameters": place()}],
        kind=INLINE_TYPE,
        takes_outputs=False,
    )

    with pytest.raises(InvalidInput, match=r"'y'.*handler answers itself"):
        decode_row(request)
