"""Events are answered with events."""

from __future__ import annotations

import re
from types import SimpleNamespace

import pytest
from fakes import FakeChannel
from http_client import HttpPlay, request

from tsl.frontend.http_api.cloud_events import answer_attributes
from tsl.frontend.http_api.inference import InferenceApi
from tsl.frontend.http_api.router import Route, Router
from tsl.frontend.jobs import SENT
from tsl.protocol.errors import HandlerFailed
from tsl.protocol.frames import Chunk, Reply

EVENT = [
    ("ce-specversion", "1.0"),
    ("Ce-Id", "e-1"),
    ("CE-Source", "https://sensor"),
    ("ce-type", "reading"),
    ("ce-time", "2020-01-01T00:00:00Z"),
    ("ce-dataschema", "https://schema"),
    ("ce-subject", "room 5"),
    ("ce-traceparent", "00-1-2-3"),
]


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


def ask(stage, target, headers=EVENT):
    stage.feed(request(target, "POST", body=b"{}", headers=headers))


@pytest.mark.parametrize("verb", ["predict", "explain"])
def test_the_answer_to_an_event_is_an_event(stage, model, verb):
    ask(stage, f"/v1/models/m:{verb}")
    model.jobs[0].finish(Reply(0, "", [], "", b"{}"))

    response = stage.response()
    found = {
        name.decode(): value.decode()
        for name, value in response.headers
        if name.startswith((b"ce-", b"content-type"))
    }
    assert re.fullmatch(r"20\d\d-\d\d-\d\dT[\d:]+\.\d{3}Z", found.pop("ce-time"))
    assert found == {
        "content-type": "application/json",
        "ce-specversion": "1.0",
        "ce-id": "e-1",
        "ce-source": "io.kserve.inference.m",
        "ce-type": "io.kserve.inference.response",
        "ce-subject": "room 5",
        "ce-traceparent": "00-1-2-3",
    }
    assert (response.status, response.body) == (200, b"{}")


def test_the_handler_sees_the_event_s_headers(stage, model):
    ask(stage, "/v1/models/m:predict")

    headers = model.jobs[0].row.headers
    assert headers[headers.index(b"Ce-Id") + 1] == b"e-1"


def test_what_the_handler_sets_counts_more(stage, model):
    ask(stage, "/v1/models/m:predict")
    model.jobs[0].finish(
        Reply(201, "", ["ce-type", "mine", "Content-Type", "text/plain"], "", b"x")
    )

    response = stage.response()
    assert (response.status, response.header("ce-type")) == (201, "mine")
    assert response.header("content-type") == "text/plain"


def test_a_stream_begins_with_the_attributes(stage, model):
    ask(stage, "/v1/models/m:predict")
    model.jobs[0].stream(Chunk(1, 0, 0, "", [], b"one"))
    model.jobs[0].finish(Reply(0, "", [], "", b"two"))

    response = stage.response()
    assert response.header("ce-id") == "e-1"
    assert response.pieces == [b"one", b"two"]


def test_an_error_is_no_event(stage, model):
    ask(stage, "/v1/models/m:predict")
    model.jobs[0].fail(HandlerFailed())

    response = stage.response()
    assert (response.status, response.header("ce-id")) == (503, None)


@pytest.mark.parametrize(
    ("target", "headers"),
    [
        ("/v1/models/m:predict", []),
        ("/v1/models/m:predict", EVENT[1:]),
        ("/v1/models/m:predict", [*EVENT[:2], ("x-ce-specversion", "1.0")]),
        ("/v1/models/m:predict", [("x-note", "ce-specversion")]),
        ("/predictions/m", EVENT),
    ],
    ids=["plain", "no version", "incomplete", "in a value", "not KServe"],
)
def test_everything_else_is_answered_as_it_was(stage, model, target, headers):
    ask(stage, target, headers)
    assert model.jobs[0].sink.__class__.__name__ == "Exchange"
    model.jobs[0].finish(Reply(0, "", [], "", b"{}"))

    response = stage.response()
    assert response.header("ce-id") is None
    assert response.header("content-type") is None


def test_a_client_that_leaves_is_noticed(stage, model):
    ask(stage, "/v1/models/m:predict")

    stage.transport.lose()

    assert model.jobs[0].is_settled
    assert stage.stats.statuses == [499]


def test_values_are_kept_byte_for_byte():
    pairs = answer_attributes(
        [b"ce-specversion", b"1.0", b"ce-id", b"caf\xe9", b"ce-source", b"s", b"ce-type", b"t"], "m"
    )

    assert pairs[pairs.index("ce-id") + 1].encode("latin-1") == b"caf\xe9"
