"""The access log's line, character by character."""

from __future__ import annotations

import json
import re

import pytest

from tsl.frontend.http_api.messages import Request, RequestHead
from tsl.frontend.logs import access_log
from tsl.frontend.logs.access_log import AccessLog, JsonAccessLog

REFERENCE = re.compile(rb'[^ ]+ "[A-Z]+ [^ ]+ HTTP/1\.[01]" \d{3} \d+')


class Lines:
    def __init__(self):
        self.added = []

    def add(self, text):
        self.added.append(text)


@pytest.fixture
def lines():
    return Lines()


@pytest.fixture
def request_at():
    def make(started_at, *, target=b"/predictions/multi", is_http_1_1=True):
        return Request(
            RequestHead(b"POST", target, [], is_http_1_1=is_http_1_1), started_at=started_at
        )

    return make


@pytest.fixture(autouse=True)
def clock(monkeypatch):
    monkeypatch.setattr(access_log, "monotonic", lambda: 100.0)


def test_the_line_of_the_reference(lines, request_at):
    AccessLog(lines.add).add(b"/127.0.0.1:33820", request_at(99.9979), 503, "id")

    assert lines.added == [b'/127.0.0.1:33820 "POST /predictions/multi HTTP/1.1" 503 2']


def test_http_1_0_and_a_unix_socket(lines, request_at):
    AccessLog(lines.add).add(b"127.0.0.1", request_at(98.5, is_http_1_1=False), 200, "id")

    assert lines.added == [b'127.0.0.1 "POST /predictions/multi HTTP/1.0" 200 1500']


def test_the_target_is_as_the_client_sent_it(lines, request_at):
    target = b"/predictions/a%20b?x=%22y&z=\xff"
    AccessLog(lines.add).add(b"/1.2.3.4:5", request_at(100.0, target=target), 200, "id")

    assert lines.added == [b'/1.2.3.4:5 "POST ' + target + b' HTTP/1.1" 200 0']


def test_a_request_that_could_not_be_read_took_no_time(lines, request_at):
    AccessLog(lines.add).add(b"/1.2.3.4:5", request_at(0.0), 400, "id")

    assert lines.added[0].endswith(b'" 400 0')


@pytest.mark.parametrize("status", [200, 404, 499, 599])
def test_every_line_fits_the_pattern(lines, request_at, status):
    AccessLog(lines.add).add(b"/1.2.3.4:5", request_at(90.0), status, "id")

    assert REFERENCE.fullmatch(lines.added[0])


def test_the_id_of_the_request_comes_last_where_it_is_wanted(lines, request_at):
    AccessLog(lines.add, with_ids=True).add(b"/1.2.3.4:5", request_at(99.0), 200, "r-1")

    assert lines.added == [b'/1.2.3.4:5 "POST /predictions/multi HTTP/1.1" 200 1000 r-1']


def test_json_has_every_field_and_the_log_opens_the_object(lines, request_at):
    target = b'/predictions/"m"?x=\xff'
    JsonAccessLog(lines.add).add(b"/1.2.3.4:5", request_at(99.75, target=target), 503, "r-1")

    assert json.loads(b"{" + lines.added[0]) == {
        "request_id": "r-1",
        "remote": "/1.2.3.4:5",
        "method": "POST",
        "uri": '/predictions/"m"?x=\xff',
        "protocol": "HTTP/1.1",
        "status": 503,
        "ms": 250.0,
    }


def test_a_call_by_grpc_has_its_line(lines):
    call = (b"/127.0.0.1:5000", "a.b.Service/Run", 5, 0.0, "r-1")
    AccessLog(lines.add).add_call(*call)
    AccessLog(lines.add, with_ids=True).add_call(*call)
    JsonAccessLog(lines.add).add_call(b"/[::1]:5000", "a.b.Service/Run", 0, 0.0, "r-2")

    text, with_id, fields = lines.added
    assert with_id.endswith(b" r-1")
    assert re.fullmatch(rb'/127\.0\.0\.1:5000 "gRPC a\.b\.Service/Run HTTP/2\.0" 5 \d+', text)
    document = json.loads(b"{" + fields)
    assert (document["remote"], document["uri"]) == ("/[::1]:5000", "a.b.Service/Run")
    assert (document["protocol"], document["status"]) == ("HTTP/2.0", 0)
    assert document["request_id"] == "r-2"
