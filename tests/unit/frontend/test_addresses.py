"""Listen addresses: what is understood, and how it is written back."""

from __future__ import annotations

import pytest

from tsl.frontend.addresses import MAX_UNIX_PATH_BYTES, Address


def parse(text):
    return Address.parse(text, http_port=8081, https_port=8444)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param(
            "http://127.0.0.1:80", Address(scheme="http", host="127.0.0.1", port=80), id="http"
        ),
        pytest.param("http://h", Address(scheme="http", host="h", port=8081), id="http port"),
        pytest.param("https://h", Address(scheme="https", host="h", port=8444), id="https port"),
        pytest.param("https://h:1", Address(scheme="https", host="h", port=1), id="https"),
        pytest.param("http://h:0", Address(scheme="http", host="h", port=0), id="any port"),
        pytest.param("http://h:1/", Address(scheme="http", host="h", port=1), id="slash"),
        pytest.param("http://[::1]:9", Address(scheme="http", host="::1", port=9), id="ipv6"),
        pytest.param(
            "unix:/run/a b.sock", Address(scheme="unix", unix_path="/run/a b.sock"), id="unix"
        ),
    ],
)
def test_an_address_is_understood(text, expected):
    assert parse(text) == expected


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        pytest.param("127.0.0.1:8080", "expected http://", id="no scheme"),
        pytest.param("ftp://h", "expected http://", id="other scheme"),
        pytest.param("http://h:port", "expected http://", id="port is a word"),
        pytest.param("http://h:1/path", "expected http://", id="path"),
        pytest.param("http://", "expected http://", id="no host"),
        pytest.param("http://h:65536", "65536 is not between", id="port too large"),
        pytest.param("unix:run.sock", "absolute path", id="relative socket"),
        pytest.param("unix:/" + "x" * MAX_UNIX_PATH_BYTES, "at most", id="long socket path"),
    ],
)
def test_anything_else_is_refused_with_a_reason(text, complaint):
    with pytest.raises(ValueError, match=complaint):
        parse(text)


@pytest.mark.parametrize(
    "text", ["http://127.0.0.1:8080", "https://h:1", "http://[::1]:9", "unix:/run/a.sock"]
)
def test_the_url_is_the_text_it_was_read_from(text):
    assert parse(text).url == text


@pytest.mark.parametrize(
    ("text", "client_url"),
    [
        ("http://0.0.0.0:80", "http://127.0.0.1:80"),
        ("http://[::]:80", "http://[::1]:80"),
        ("http://10.0.0.1:80", "http://10.0.0.1:80"),
        ("unix:/a", "unix:/a"),
    ],
)
def test_a_client_reaches_a_wildcard_by_loopback(text, client_url):
    assert parse(text).client_url == client_url
