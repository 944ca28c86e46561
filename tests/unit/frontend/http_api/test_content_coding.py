from __future__ import annotations

import gzip
import zlib

import pytest

from tsl.frontend.http_api.content_coding import coding_for, compress, decompress
from tsl.protocol.errors import InvalidRequest, PayloadTooLarge

CONTENT = b"content " * 100


@pytest.mark.parametrize("coding", ["gzip", "deflate", " GZIP "])
def test_a_coded_body_comes_back(coding):
    coded = compress(coding.strip().lower(), CONTENT)

    assert len(coded) < len(CONTENT)
    assert decompress(coding, coded, 1000) == CONTENT


def test_identity_is_no_coding():
    assert decompress("identity", CONTENT, 10) is CONTENT


@pytest.mark.parametrize(
    ("coding", "body"),
    [
        ("br", CONTENT),
        ("gzip, deflate", CONTENT),
        ("gzip", CONTENT),
        ("gzip", gzip.compress(CONTENT)[:-4]),
        ("deflate", zlib.compress(CONTENT) + b"x"),
        ("deflate", b""),
    ],
    ids=["unknown", "two", "none", "cut", "more", "empty"],
)
def test_what_is_not_coded_as_it_says_is_refused(coding, body):
    with pytest.raises(InvalidRequest):
        decompress(coding, body, 1000)


def test_the_content_is_bounded_exactly():
    coded = zlib.compress(CONTENT)

    assert decompress("deflate", coded, len(CONTENT)) == CONTENT
    with pytest.raises(PayloadTooLarge, match="799"):
        decompress("deflate", coded, len(CONTENT) - 1)


def test_a_bomb_costs_no_more_than_the_limit():
    with pytest.raises(PayloadTooLarge):
        decompress("gzip", gzip.compress(bytes(50_000_000)), 1000)


@pytest.mark.parametrize(
    ("accepted", "coding"),
    [
        ("", ""),
        ("identity", ""),
        ("gzip, deflate", "gzip"),
        ("br, Deflate;q=0.5", "deflate"),
        ("gzip;q=0, deflate", "deflate"),
        ("gzip; q=0", ""),
    ],
)
def test_the_first_coding_we_have_is_taken(accepted, coding):
    assert coding_for(accepted) == coding
