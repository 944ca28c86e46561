"""Archives that cannot be served, registered one after the other: the server stays as it was."""

import json

import pytest
import requests
from malformed_archives import MALFORMED, UNLOADABLE
from serving import RunningServer, eventually, workers

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def serving(tmp_path_factory):
    """A server with one good model."""
    server = RunningServer(tmp_path_factory.mktemp("malformed"))
    server.add("echo", "echo", **workers(1))
    try:
        server.start()
        yield server
        server.stop()
    finally:
        server.close()


def unpacked(server):
    """What lies unpacked on the server's disk."""
    return sorted(path.name for path in server.temp.rglob("models/*"))


def register(server, name, content):
    archive = server.store / name
    archive.write_bytes(content)
    try:
        return server.manage("POST", f"/models?url={name}&initial_workers=1&synchronous=true")
    finally:
        archive.unlink()


def assert_error(answer, status, server, what):
    assert answer.status_code == status, f"{what}: {answer.status_code} {answer.text}"
    document = json.loads(answer.text)
    assert list(document) == ["code", "type", "message"]
    assert document["code"] == status
    for secret in (str(server.folder), "Traceback", "site-packages"):
        assert secret not in document["message"], what
    return document


def test_malformed_archives_are_refused_and_leave_no_trace(serving):
    before = unpacked(serving)

    for what, (name, content, words) in MALFORMED.items():
        document = assert_error(register(serving, name, content), 400, serving, what)
        assert words in document["message"], what

    assert serving.model_names() == ["echo"]
    assert unpacked(serving) == before
    assert [path.name for path in serving.store.iterdir()] == ["echo.mar"]
    assert serving.predict("echo", b"still here").content == b"still here"


def test_handlers_that_cannot_be_loaded_are_refused_and_leave_no_trace(serving):
    before = unpacked(serving)
    processes = set(serving.members())

    for what, content in UNLOADABLE.items():
        answer = register(serving, "bad.mar", content)
        assert_error(answer, answer.status_code, serving, what)
        assert answer.status_code in (500, 507), what

    assert serving.model_names() == ["echo"]
    eventually(lambda: unpacked(serving) == before, "the folders are removed")
    nursery = {serving.nursery()}  # started by the first that could be forked
    eventually(lambda: set(serving.members()) <= processes | nursery, "the workers are gone")
    assert serving.predict("echo", b"still here").content == b"still here"
    assert requests.get(f"{serving.inference}/ping", timeout=10).json() == {"status": "Healthy"}
