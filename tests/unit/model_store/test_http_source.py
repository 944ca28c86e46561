"""Requests over a fake socket: the whole way through the standard library, without a network."""

import http.client
import io
import socket

import pytest

from tsl.model_store.http_source import open_file, request
from tsl.protocol.errors import DownloadFailed, UrlNotAllowed


class FakeSocket:
    """A connection that has its answer ready and keeps what was sent."""

    def __init__(self, answer, peer):
        self.answer = answer
        self.peer = peer
        self.sent = b""

    def getpeername(self):
        return (self.peer, 80)

    def setsockopt(self, *_):
        """Nagle's algorithm does not matter here."""

    def sendall(self, data):
        self.sent += data

    def makefile(self, _mode):
        return io.BytesIO(self.answer)

    def close(self):
        """Nothing is open."""


@pytest.fixture
def connect(monkeypatch):
    """Let the next connections end at a fake socket; the answer is what it will say."""
    monkeypatch.setenv("no_proxy", "*")

    def install(answer=b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc", peer="127.0.0.1"):
        fake = FakeSocket(answer, peer)
        monkeypatch.setattr(socket, "create_connection", lambda *_, **__: fake)
        return fake

    return install


def get(url="http://models.corp/x.mar", *, is_host_trusted=False):
    return request(url, timeout_s=1.0, ca_bundle=None, is_host_trusted=is_host_trusted)


def test_a_body_is_read_with_its_size(connect):
    connect()

    answer = get()

    assert (answer.status, answer.size_bytes, answer.redirects_to) == (200, 3, None)
    assert answer.read(10) == b"abc"
    assert answer.read(10) == b""
    answer.close()


def test_the_size_of_a_chunked_body_is_unknown(connect):
    connect(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n")

    answer = get()

    assert answer.size_bytes is None
    assert answer.read(10) == b"abc"
    answer.close()


def test_the_request_is_a_plain_get(connect):
    fake = connect()

    get("http://models.corp/a/x.mar?key=1").close()

    head = fake.sent.decode().split("\r\n")
    assert head[0] == "GET /a/x.mar?key=1 HTTP/1.1"
    assert "Host: models.corp" in head
    assert "Accept-Encoding: identity" in head


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_are_reported_not_followed(connect, status):
    connect(f"HTTP/1.1 {status} Moved\r\nLocation: /y.mar\r\nContent-Length: 0\r\n\r\n".encode())

    answer = get()

    assert (answer.status, answer.redirects_to) == (status, "/y.mar")
    answer.close()


@pytest.mark.parametrize("status", [204, 304, 404, 500])
def test_other_statuses_are_reported(connect, status):
    connect(f"HTTP/1.1 {status} No\r\nLocation: /y\r\nContent-Length: 0\r\n\r\n".encode())

    answer = get()

    assert (answer.status, answer.redirects_to) == (status, None)
    answer.close()


@pytest.mark.parametrize("peer", ["169.254.169.254", "fe80::1", "::ffff:169.254.1.1"])
def test_nothing_is_sent_to_a_link_local_address(connect, peer):
    """The host's name is harmless; its address is not."""
    fake = connect(peer=peer)

    with pytest.raises(UrlNotAllowed, match="link-local"):
        get()
    assert fake.sent == b""


def test_a_link_local_address_in_the_url_is_not_even_connected_to(monkeypatch):
    monkeypatch.setattr(socket, "create_connection", lambda *_, **__: pytest.fail("connected"))

    with pytest.raises(UrlNotAllowed, match=r"169\.254\.169\.254"):
        get("http://169.254.169.254/latest/meta-data/x.mar")


def test_a_host_that_the_operator_names_may_be_link_local(connect):
    connect(peer="169.254.169.254")

    answer = get("http://169.254.169.254/x.mar", is_host_trusted=True)

    assert answer.status == 200
    answer.close()


@pytest.mark.parametrize("url", ["ftp://models.corp/x.mar", "s3://bucket/x.mar", "data:,x"])
def test_other_schemes_are_refused(url):
    with pytest.raises(DownloadFailed, match="only http, https and file"):
        get(url)


def test_a_password_in_the_url_is_refused_and_not_repeated():
    with pytest.raises(DownloadFailed) as caught:
        get("http://user:geheim@models.corp/x.mar")
    assert "geheim" not in str(caught.value)


def test_a_refused_connection_is_an_os_error(monkeypatch):
    def refuse(*_, **__):
        raise ConnectionRefusedError(111, "Connection refused")

    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setattr(socket, "create_connection", refuse)

    with pytest.raises(ConnectionRefusedError):
        get()


def test_a_server_that_does_not_speak_http_is_an_error(connect):
    connect(b"SSH-2.0-OpenSSH\r\n")

    with pytest.raises(http.client.HTTPException):
        get()


def test_https_is_checked_against_the_given_certificates(tmp_path):
    with pytest.raises(OSError, match="No such file"):
        request(
            "https://models.corp/x.mar",
            timeout_s=1.0,
            ca_bundle=tmp_path / "absent.pem",
            is_host_trusted=False,
        )


def test_a_file_is_opened_with_its_size(tmp_path):
    (tmp_path / "x.mar").write_bytes(b"abc")

    source = open_file(tmp_path / "x.mar")

    assert (source.size_bytes, source.read(2), source.read(2)) == (3, b"ab", b"c")
    source.close()


@pytest.mark.parametrize("name", ["absent", "."])
def test_what_is_no_file_is_not_opened(tmp_path, name):
    with pytest.raises(DownloadFailed, match="no such file"):
        open_file(tmp_path / name)
