from __future__ import annotations

import time

import pytest

from tsl.frontend.http_api.body import MAX_PARTS, parts_of, urlencoded_parts
from tsl.protocol.errors import InvalidRequest

URLENCODED = "application/x-www-form-urlencoded"
MULTIPART = "multipart/form-data; boundary=b"


def multipart(*parts, boundary=b"b", end=b"--"):
    """A form of (header lines, content) pairs."""
    text = b"".join(
        b"--%s\r\n%s\r\n\r\n%s\r\n" % (boundary, head, content) for head, content in parts
    )
    return text + b"--" + boundary + end + b"\r\n"


def field(name, *more):
    return b"\r\n".join([b'Content-Disposition: form-data; name="%s"' % name, *more])


# -- bodies that are no forms --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content_type", "expected"),
    [
        ("", ""),
        ("application/json", "application/json"),
        ("application/json; charset=utf-8", "application/json"),
        ("Text/Plain;charset=x", "text/plain"),
        (" image/png ", "image/png"),
        ("multipart/form-data", "multipart/form-data"),
        ("multipart/form-data; boundary=", "multipart/form-data"),
        ('multipart/form-data; boundary=""', "multipart/form-data"),
        ("multipart/mixed; boundary=b", "multipart/mixed"),
        (";", ""),
        ("nonsense", "nonsense"),
        ("é/ü", "é/ü"),
    ],
)
def test_any_other_body_is_one_part_with_its_media_type(content_type, expected):
    assert parts_of(content_type, b"a=b&c") == [("body", expected, b"a=b&c")]


def test_an_empty_body_is_a_part_too():
    assert parts_of("", b"") == [("body", "", b"")]


def test_a_body_is_never_copied():
    body = b"x" * 1000

    assert parts_of("image/png", body)[0].body is body


# -- urlencoded ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param(b"", [], id="empty"),
        pytest.param(b"a=1", [("a", b"1")], id="one"),
        pytest.param(b"a=1&b=2", [("a", b"1"), ("b", b"2")], id="two"),
        pytest.param(b"a=1&a=2&b=3&a=4", [("a", b"1"), ("a", b"2"), ("b", b"3"), ("a", b"4")],
                     id="repeated names in order"),
        pytest.param(b"a=", [("a", b"")], id="empty value"),
        pytest.param(b"=1", [("", b"1")], id="empty name"),
        pytest.param(b"a", [], id="no equals sign"),
        pytest.param(b"a=1&&b=2&", [("a", b"1"), ("b", b"2")], id="empty fields"),
        pytest.param(b"a=b=c", [("a", b"b=c")], id="equals sign in a value"),
        pytest.param(b"a+b=c+d%2B", [("a b", b"c d+")], id="plus"),
        pytest.param(b"a%26=%3D%00%ff", [("a&", b"=\x00\xff")], id="escapes"),
        pytest.param(b"%C3%A4=%c3%a4", [("ä", "ä".encode())], id="UTF-8 name"),
        pytest.param(b"%E4=1", [("ä", b"1")], id="latin-1 name"),
        pytest.param("ä=1".encode(), [("ä", b"1")], id="raw UTF-8 name"),
        pytest.param(b"a=1;b=2", [("a", b"1;b=2")], id="semicolon"),
        pytest.param(b"a=\r\n", [("a", b"\r\n")], id="line break"),
    ],
)  # fmt: skip
def test_urlencoded_fields(text, expected):
    given = parts_of(f"{URLENCODED}; charset=utf-8", text)

    assert [(part.name, part.body) for part in given] == expected
    assert {part.content_type for part in given} <= {""}
    assert urlencoded_parts(text) == given


@pytest.mark.parametrize("text", [b"a=%", b"a=%4", b"a=%zz", b"%=1", b"a=1&b=%%41", b"100%"])
def test_a_broken_escape_is_refused(text):
    with pytest.raises(InvalidRequest, match="two hex digits"):
        parts_of(URLENCODED, text)


@pytest.mark.parametrize("filler", [b"a=1&", b"&", b"a&"])
def test_a_form_has_so_many_fields_at_most(filler):
    """Empty fields count, too: each costs memory while the form is split."""
    assert urlencoded_parts(filler * (MAX_PARTS - 1)) is not None

    with pytest.raises(InvalidRequest, match=str(MAX_PARTS)):
        urlencoded_parts(filler * (MAX_PARTS + 1))


# -- multipart -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        pytest.param(field(b"a"), ("a", ""), id="plain"),
        pytest.param(field(b"a", b"Content-Type: text/x"), ("a", ""), id="type without file name"),
        pytest.param(
            b'Content-Disposition: form-data; name="a"; filename="f.txt"',
            ("a", "application/octet-stream"),
            id="file name without type",
        ),
        pytest.param(
            b'Content-Disposition: form-data; name="a"; filename="f"\r\nContent-Type: Text/X; q=1',
            ("a", "text/x"),
            id="file name and type",
        ),
        pytest.param(
            b'Content-Disposition: form-data; name="a"; filename=""\r\nContent-Type: text/x',
            ("a", "text/x"),
            id="empty file name",
        ),
        pytest.param(
            b"content-disposition:form-data;name=a;filename=f\r\ncontent-type:text/x",
            ("a", "text/x"),
            id="no blanks, no quotes, lower case",
        ),
        pytest.param(
            b"Content-Disposition: form-data; name=\"a\"; filename*=UTF-8''%e2%82%ac.txt\r\n"
            b"Content-Type: text/x",
            ("a", "text/x"),
            id="extended file name",
        ),
        pytest.param(
            b'Content-Disposition: form-data; name="a"; filename="e"; filename*=UTF-8\'\'%e2',
            ("a", "application/octet-stream"),
            id="both file names",
        ),
        pytest.param(field("ä".encode()), ("ä", ""), id="UTF-8 name"),
        pytest.param(field(b"\xe4"), ("ä", ""), id="latin-1 name"),
        pytest.param(field(b"a%22b"), ('a"b', ""), id="quote as browsers write it"),
        pytest.param(field(b'a\\"b'), ('a"b', ""), id="quote as old clients write it"),
        pytest.param(field(b""), ("", ""), id="empty name"),
        pytest.param(b"Content-Disposition: form-data", ("", ""), id="no name"),
        pytest.param(field(b"a", b"X-Other: 1", b"Content-Length: 7"), ("a", ""), id="more fields"),
    ],
)
def test_a_part_of_a_form(head, expected):
    (part,) = parts_of(MULTIPART, multipart((head, b"content")))

    assert part == (*expected, b"content")


@pytest.mark.parametrize(
    "content", [b"", b"\r\n", b"--b", b"\r\n--", b"\r\n-- b", b"--b--", b"\x00\xff", b"x" * 10**5],
    ids=["empty", "line break", "boundary", "half a boundary", "nearly", "end", "binary", "large"],
)  # fmt: skip
def test_the_content_of_a_part_is_any_bytes(content):
    (part,) = parts_of(MULTIPART, multipart((field(b"a"), content)))

    assert part.body == content


def test_repeated_names_are_kept_in_order():
    form = multipart((field(b"a"), b"1"), (field(b"b"), b"2"), (field(b"a"), b"3"))

    assert [(p.name, p.body) for p in parts_of(MULTIPART, form)] == [
        ("a", b"1"),
        ("b", b"2"),
        ("a", b"3"),
    ]


@pytest.mark.parametrize(
    ("content_type", "boundary"),
    [
        ('multipart/form-data; boundary="a b:c?"', b"a b:c?"),
        ("multipart/form-data;boundary=abc", b"abc"),
        ("Multipart/Form-Data; charset=utf-8; Boundary=ABC", b"ABC"),
        ("multipart/form-data; boundary=----WebKitFormBoundaryABC", b"----WebKitFormBoundaryABC"),
        ("multipart/form-data; boundary=" + "x" * 70, b"x" * 70),
        ("multipart/form-data; boundary=b; more", b"b"),
    ],
)
def test_boundaries(content_type, boundary):
    form = multipart((field(b"a"), b"1"), boundary=boundary)

    assert parts_of(content_type, form) == [("a", "", b"1")]


@pytest.mark.parametrize(
    ("form", "count"),
    [
        pytest.param(b"", 0, id="empty"),
        pytest.param(b"--b--\r\n", 0, id="no parts"),
        pytest.param(multipart((field(b"a"), b"1"), boundary=b"other"), 0, id="other boundary"),
        pytest.param(b"preamble\r\n" + multipart((field(b"a"), b"1")), 1, id="preamble"),
        pytest.param(multipart((field(b"a"), b"1")) + b"epilogue", 1, id="epilogue"),
        pytest.param(multipart((field(b"a"), b"1"), end=b""), 1, id="no end"),
        pytest.param(multipart((field(b"a"), b"1"))[:-8], 0, id="cut in the content"),
        pytest.param(b"--b\r\nContent-Dispo", 0, id="cut in the head"),
    ],
)
def test_a_form_that_does_not_fit_its_boundary_has_fewer_parts(form, count):
    assert len(parts_of(MULTIPART, form)) == count


@pytest.mark.parametrize(
    "form",
    [
        pytest.param(multipart((b"X-A: 1", b"1")), id="no disposition"),
        pytest.param(multipart((b"Content-Disposition: attachment; name=a", b"1")), id="no form"),
        pytest.param(multipart((b"no colon", b"1")), id="no colon"),
        pytest.param(multipart((b"\xff: 1", b"1")), id="name that is none"),
        pytest.param(multipart((field(b"a", b"Content-Length: x"), b"1")), id="length"),
        pytest.param(multipart((field(b"a", *[b"X-A: 1"] * 20), b"1")), id="many fields"),
        pytest.param(multipart((field(b"a" * 20_000), b"1")), id="large field"),
        pytest.param(b"--b\n" + field(b"a") + b"\n\n1\n--b--\n", id="bare LF"),
        pytest.param(multipart(*[(field(b"a"), b"1")] * (MAX_PARTS + 1)), id="many parts"),
    ],
)
def test_a_broken_form_is_refused(form):
    with pytest.raises(InvalidRequest, match=r"^The multipart form is not valid: [^()]*\.$"):
        parts_of(MULTIPART, form)


def test_a_boundary_that_is_none_is_refused():
    with pytest.raises(InvalidRequest, match="boundary"):
        parts_of('multipart/form-data; boundary="a\nb"', b"--a\nb--")


def test_a_form_may_have_as_many_parts_as_the_limit():
    form = multipart(*[(field(b"a"), b"1")] * MAX_PARTS)

    assert len(parts_of(MULTIPART, form)) == MAX_PARTS


@pytest.mark.parametrize(
    "content_type",
    [
        "multipart/form-data" + ';a="' * 2000,
        "multipart/form-data" + ';a="\\' * 1600,
        "multipart/form-data;" + " " * 8000,
        "multipart/form-data" + "; a" * 2600,
        "multipart/form-data;" + "a" * 8000,
    ],
    ids=["quotes", "backslashes", "blanks", "names", "one name"],
)
def test_no_content_type_takes_long(content_type):
    started = time.process_time()

    parts_of(content_type, b"")

    assert time.process_time() - started < 0.5
