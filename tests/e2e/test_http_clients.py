"""Ordinary and odd HTTP clients against a real server."""

import json
import shutil
import socket
import subprocess

import pytest
import requests
from openapi_spec_validator import validate
from serving import eventually
from wire import connect, post, read_all, read_response

pytestmark = pytest.mark.e2e

needs_curl = pytest.mark.skipif(not shutil.which("curl"), reason="curl is not installed")
needs_ab = pytest.mark.skipif(not shutil.which("ab"), reason="ab is not installed")


def curl(*arguments):
    result = subprocess.run(
        ["curl", "--silent", "--show-error", "--max-time", "20", *arguments],
        capture_output=True,
        check=True,
        timeout=30,
    )
    return result.stdout


@needs_curl
def test_curl_uploads_three_megabytes_after_100_continue(shared, tmp_path):
    picture = tmp_path / "picture"
    picture.write_bytes(bytes(range(256)) * 12 * 1024)
    head = tmp_path / "head"

    body = curl(f"{shared.inference}/predictions/echo", "-T", picture, "-D", head)

    assert body == picture.read_bytes()
    assert head.read_text().startswith("HTTP/1.1 100 Continue")


@needs_curl
def test_curl_sends_several_files_under_one_name(shared, tmp_path):
    for name in ("one", "two"):
        (tmp_path / name).write_text(name)

    files = [f"-Fdata=@{tmp_path / name}" for name in ("one", "two")]
    answer = json.loads(curl(f"{shared.inference}/predictions/form", *files))

    assert answer["all"]["data"] == ["one", "two"]
    assert answer["last"]["data"] == "two"


def test_a_session_of_requests_keeps_its_connection(shared):
    with requests.Session() as session:
        ports = set()
        for number in range(20):
            with session.post(
                f"{shared.inference}/predictions/echo", data=str(number), stream=True, timeout=10
            ) as answer:
                ports.add(answer.raw.connection.sock.getsockname())
                assert answer.text == str(number)

    assert len(ports) == 1


@needs_ab
@pytest.mark.parametrize("options", [[], ["-k"]], ids=["close", "keep-alive"])
def test_ab_speaks_http_1_0(shared, tmp_path, options):
    body = tmp_path / "body"
    body.write_text("hello")

    command = ["ab", "-q", "-n", "200", "-c", "4", *options, "-p", body, "-T", "text/plain"]
    result = subprocess.run(
        [*command, f"{shared.inference}/predictions/echo"],
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )

    assert "Complete requests:      200" in result.stdout
    assert "Failed requests:        0" in result.stdout
    assert "Non-2xx" not in result.stdout


def test_pipelined_requests_are_answered_in_order(shared):
    with connect(shared.endpoint) as sock, sock.makefile("rb") as stream:
        sock.sendall(
            b"".join(post("/predictions/echo", b"number %d" % number) for number in range(100))
        )

        bodies = [read_response(stream)[2] for _ in range(100)]

    assert bodies == [b"number %d" % number for number in range(100)]


def test_pipelined_requests_to_models_of_different_speed_keep_their_order(shared):
    with connect(shared.endpoint) as sock, sock.makefile("rb") as stream:
        sock.sendall(
            post("/predictions/sleepy", b'{"sleep": 0.3}', "Content-Type: application/json")
            + post("/predictions/echo", b"second")
            + b"GET /ping HTTP/1.1\r\nHost: test\r\n\r\n"
        )

        answers = [read_response(stream)[2] for _ in range(3)]

    assert json.loads(answers[0])["pid"]
    assert answers[1] == b"second"
    assert json.loads(answers[2])["status"] == "Healthy"


def test_a_client_may_send_one_byte_per_write(shared):
    with connect(shared.endpoint) as sock, sock.makefile("rb") as stream:
        for byte in post("/predictions/echo", b"slowly but surely", "X-Header: value"):
            sock.send(bytes([byte]))

        status, _, body = read_response(stream)

    assert (status, body) == (200, b"slowly but surely")


def test_a_chunked_upload_arrives_whole(shared):
    pieces = [b"a" * 10, b"b" * 100_000, b"c"]

    answer = requests.post(f"{shared.inference}/predictions/echo", data=iter(pieces), timeout=10)

    assert answer.content == b"".join(pieces)


def test_a_client_may_close_its_writing_side_after_the_request(shared):
    with connect(shared.endpoint) as sock:
        sock.sendall(post("/predictions/echo", b"half closed", "Connection: close"))
        sock.shutdown(socket.SHUT_WR)

        answer = read_all(sock)

    assert answer.startswith(b"HTTP/1.1 200 ")
    assert answer.endswith(b"half closed")


def test_head_answers_without_a_body(shared):
    with connect(shared.endpoint) as sock:
        sock.sendall(b"HEAD /ping HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n")

        head, _, body = read_all(sock).partition(b"\r\n\r\n")

    assert head.startswith(b"HTTP/1.1 200 ")
    assert b"content-length: " in head.lower()
    assert body == b""


@pytest.mark.parametrize("api", ["inference", "management"])
def test_options_answers_with_a_valid_openapi_document(shared, api):
    answer = requests.options(f"{getattr(shared, api)}/", timeout=10)

    assert answer.status_code == 200
    validate(answer.json())


def test_options_of_a_model_is_a_valid_openapi_document(shared):
    answer = requests.options(f"{shared.inference}/predictions/echo", timeout=10)

    assert answer.status_code == 200
    validate(answer.json())


def test_a_body_beyond_the_limit_is_refused_before_it_is_sent(shared):
    with connect(shared.endpoint) as sock, sock.makefile("rb") as stream:
        sock.sendall(
            b"POST /predictions/echo HTTP/1.1\r\nHost: t\r\nContent-Length: 99999999\r\n\r\n"
        )

        status, _, body = read_response(stream)

    assert status == 413
    assert b"max_request_size" in body


def test_every_request_is_in_the_access_log(shared):
    shared.predict("echo", b"x", headers={"User-Agent": "test"}, params={"mark": "find-me"})

    eventually(
        lambda: (
            '"POST /predictions/echo?mark=find-me HTTP/1.1" 200' in shared.log("access_log.log")
        ),
        "the request is in the access log",
    )
