"""What a handler prints gets marks, in whatever pieces it is written."""

import io
import os

import pytest

from tsl.backend.marked_output import MarkingFile
from tsl.protocol.output_marks import split_mark


@pytest.fixture
def printed():
    """Prints through a marking file; answers what the front end makes of it."""
    reader, writer = os.pipe()
    running = {"ids": ""}
    stream = io.TextIOWrapper(
        io.BufferedWriter(MarkingFile(writer, lambda: running["ids"])),
        encoding="utf-8",
        line_buffering=True,
    )

    def run(*pieces):
        """Each piece is a text and the ids of the requests that run meanwhile."""
        for text, ids in pieces:
            running["ids"] = ids
            stream.write(text)
            stream.flush()
        os.close(writer)
        with os.fdopen(reader, "rb") as pipe:
            return [split_mark(line) for line in pipe.read().split(b"\n")]

    return run


def test_lines_of_a_call_carry_its_ids(printed):
    lines = printed(("before\n", ""), ("one\ntwo\n", "a,b"), ("after\n", ""))

    assert lines == [
        ("", b"before"),
        ("a,b", b"one"),
        ("a,b", b"two"),
        ("", b"after"),
        ("", b""),
    ]


def test_a_line_in_pieces_has_one_mark(printed):
    lines = printed(("o", "a"), ("n", "a"), ("e\nt", "a"), ("wo\n", "a"))

    assert lines == [("a", b"one"), ("a", b"two"), ("", b"")]


def test_an_empty_line_has_a_mark_too(printed):
    assert printed(("\n\n", "a")) == [("a", b""), ("a", b""), ("", b"")]


def test_a_text_cannot_pretend_to_belong_to_a_request(printed):
    forged = "\x1evictim\x1fforged\n"

    lines = printed((forged, ""), ("first\n" + forged, ""), (forged, "a"))

    assert [ids for ids, _ in lines] == ["", "", "", "a", ""]


def test_the_descriptor_is_still_to_be_had(printed):
    """A handler passes ``sys.stderr`` to programs that it starts, and faulthandler asks, too."""
    file = MarkingFile(2, str)

    assert file.fileno() == 2
    assert file.writable()
    assert file.isatty() == os.isatty(2)
