"""Events that are one JSON document."""

from __future__ import annotations

import base64
import json
import re
from types import SimpleNamespace

import pytest
from fakes import FakeChannel
from http_client import HttpPlay, request

from tsl.frontend.http_api.inference import InferenceApi
from tsl.frontend.http_api.router import Route, Router
from tsl.frontend.http_api.structured_events import CONTENT_TYPE, MAX_BYTES
from tsl.frontend.jobs import SENT
from tsl.protocol.errors import HandlerFailed
from tsl.protocol.frames import Chunk, Reply

EVENT = {
    "specversion": "1.0",
    "id": "e-1",
    "source": "/sensor",
    "type": "reading",
    "subject": "room 5",
    "data": {"instances": [1.5, "é"]},
}
JSON = "application/json"


class Model:
    """A registry with one model, whose jobs are sent at once."""

    def __init__(self):
        self.jobs = []
        self.pool = SimpleNamespace(submit=self.submit)
        self.client_timeout_s = 0

    def get(self, name, version=""):
        return self

    def submit(self, job):
        job.state, job.channel, job.batch = SENT, FakeChannel(), object()
        self.jobs.append(job)


@pytest.fixture
def model():
    return Model()


@pytest.fixture
def stage(model):
    api = InferenceApi(model)
    routes = [
        Route(path="/v1/models/{model_name}:predict", methods={"*": api.v1_predict}),
        Route(path="/v1/models/{model_name}:explain", methods={"*": api.v1_explain}),
        Route(path="/predictions/{model_name}", methods={"*": api.predict}),
    ]
    return HttpPlay(context={"router": Router(routes)})


def ask(stage, document, *, content_type=CONTENT_TYPE, target="/v1/models/m:predict"):
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    stage.feed(request(target, "POST", body=body, headers=[("Content-Type", content_type)]))


def part(model):
    (found,) = model.jobs[0].row.parts
    return found.name, found.content_type, bytes(found.body)


@pytest.mark.parametrize("verb", ["predict", "explain"])
def test_the_model_gets_the_data_and_the_answer_is_an_event(stage, model, verb):
    ask(stage, EVENT, target=f"/v1/models/m:{verb}", content_type=f"{CONTENT_TYPE}; charset=utf-8")

    name, content_type, body = part(model)
    assert (name, content_type) == ("body", JSON)
    assert json.loads(body) == EVENT["data"]
    assert model.jobs[0].row.properties[:2] == ["explain", str(verb == "explain")]

    model.jobs[0].finish(Reply(0, "", ["x-own", "1"], "", b'{"predictions": [1]}'))
    response = stage.response()
    assert response.status == 200
    assert response.header("content-type") == CONTENT_TYPE
    assert response.header("x-own") == "1"
    answer = json.loads(response.body)
    assert re.fullmatch(r"20\d\d-\d\d-\d\dT[\d:]+\.\d{3}Z", answer.pop("time"))
    assert answer == {
        "specversion": "1.0",
        "id": "e-1",
        "source": "io.kserve.inference.m",
        "type": "io.kserve.inference.response",
        "subject": "room 5",
        "datacontenttype": JSON,
        "data": {"predictions": [1]},
    }


def test_a_json_document_of_kserve_s_shape_is_an_event_too(stage, model):
    ask(stage, {**EVENT, "time": "2020-01-01T00:00:00Z"}, content_type=JSON)

    assert json.loads(part(model)[2]) == EVENT["data"]
    model.jobs[0].finish(Reply(0, "", [], "", b"[]"))
    assert stage.response().header("content-type") == CONTENT_TYPE


@pytest.mark.parametrize(
    ("document", "content_type", "target"),
    [
        ({"instances": [1]}, JSON, "/v1/models/m:predict"),
        (EVENT, JSON, "/v1/models/m:predict"),
        ({"instances": ["specversion"]}, JSON, "/v1/models/m:predict"),
        (b'{"specversion" no json', JSON, "/v1/models/m:predict"),
        (b'["specversion"]', JSON, "/v1/models/m:predict"),
        (EVENT, "text/plain", "/v1/models/m:predict"),
        (EVENT, CONTENT_TYPE, "/predictions/m"),
        (b'{"specversion": "' + b"x" * MAX_BYTES + b'"}', JSON, "/v1/models/m:predict"),
    ],
    ids=["plain", "no time", "a word", "no JSON", "a list", "text", "not KServe", "large"],
)
def test_everything_else_is_served_as_it_was(stage, model, document, content_type, target):
    ask(stage, document, content_type=content_type, target=target)

    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    assert part(model)[2] == body
    model.jobs[0].finish(Reply(0, "", [], "", b"{}"))
    assert stage.response().header("content-type") is None


@pytest.mark.parametrize(
    ("document", "status", "word"),
    [
        (b"{", 400, "JSON object"),
        ([], 400, "JSON object"),
        ({"specversion": "1.0", "id": 7, "data": 1}, 400, "id, source, type"),
        ({**EVENT, "data_base64": "*"}, 400, "data_base64"),
        ({**EVENT, "data_base64": 1}, 400, "data_base64"),
        ({**EVENT, "datacontenttype": 1}, 400, "datacontenttype"),
        (b" " * (MAX_BYTES + 1), 413, "ce-*"),
    ],
    ids=["broken", "a list", "incomplete", "base64", "no text", "type", "large"],
)
def test_what_says_that_it_is_an_event_must_be_one(stage, model, document, status, word):
    ask(stage, document)

    response = stage.response()
    assert response.status == status
    assert word in response.body.decode()
    assert model.jobs == []


@pytest.mark.parametrize(
    ("data", "content_type", "body"),
    [
        ({"data": "text"}, JSON, b'"text"'),
        ({"data": "tèxt", "datacontenttype": "text/plain"}, "text/plain", "tèxt".encode()),
        ({"data_base64": base64.b64encode(b"\x00\xff").decode()}, JSON, b"\x00\xff"),
        (
            {"data_base64": "AP8=", "datacontenttype": "image/png"},
            "image/png",
            b"\x00\xff",
        ),
        ({}, JSON, b"null"),
    ],
    ids=["a JSON text", "text", "bytes", "a picture", "nothing"],
)
def test_data_comes_in_several_forms(stage, model, data, content_type, body):
    attributes = {name: value for name, value in EVENT.items() if name != "data"}
    ask(stage, {**attributes, **data})

    assert part(model) == ("body", content_type, body)


@pytest.mark.parametrize(
    ("reply", "headers", "expected"),
    [
        (b"caf\xc3\xa9", [], {"data": "café", "datacontenttype": "text/plain"}),
        (
            b"\xff\x00",
            ["Content-Type", "image/png"],
            {"data_base64": "/wA=", "datacontenttype": "image/png"},
        ),
        (b"\xff", [], {"data_base64": "/w==", "datacontenttype": "application/octet-stream"}),
        (b"7", [], {"data": 7, "datacontenttype": JSON}),
        (b"", [], {"data": "", "datacontenttype": "text/plain"}),
    ],
    ids=["text", "a picture", "bytes", "a number", "nothing"],
)
def test_an_answer_that_is_no_json_fits_as_well(stage, model, reply, headers, expected):
    ask(stage, EVENT)
    model.jobs[0].finish(Reply(0, "", headers, "", reply))

    answer = json.loads(stage.response().body)
    assert {name: answer[name] for name in answer if name.startswith("data")} == expected


def test_a_stream_is_not_wrapped(stage, model):
    ask(stage, EVENT)
    model.jobs[0].stream(Chunk(1, 0, 0, "", [], b"one"))
    model.jobs[0].finish(Reply(0, "", [], "", b"two"))
    assert stage.response().pieces == [b"one", b"two"]


def test_an_error_is_no_event(stage, model):
    ask(stage, EVENT)
    model.jobs[0].fail(HandlerFailed())

    response = stage.response()
    assert (response.status, response.header("content-type")) == (503, JSON)
