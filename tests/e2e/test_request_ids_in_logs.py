"""The id of a request in every line that concerns it."""

import json

import pytest
from serving import eventually, workers

pytestmark = pytest.mark.e2e


def lines_with(server, name, text):
    return [line for line in server.log(name).splitlines() if text in line]


def wait_lines(server, name, text, count):
    """Wait for so many lines with a text in a log."""
    return eventually(
        lambda: lines if len(lines := lines_with(server, name, text)) >= count else None,
        f"{count} lines with {text!r} in {name}",
    )


@pytest.fixture(scope="module")
def in_text(tmp_path_factory):
    from serving import RunningServer

    server = RunningServer(tmp_path_factory.mktemp("text"))
    server.properties["log_request_ids"] = "true"
    server.add("forked", "printing", **workers(1))
    server.add("spawned", "printing", **workers(1, workerStart="spawn"))
    server.add("shared", "printing", **workers(1, shareModel=True))
    server.add("dying", "dying", **workers(1))
    try:
        yield server.start()
    finally:
        server.close()


@pytest.mark.parametrize("name", ["forked", "spawned", "shared"])
def test_what_a_handler_prints_and_logs_begins_with_the_id(in_text, name):
    request_id = in_text.predict(name).text

    lines = wait_lines(in_text, "model_log.log", f"[{request_id}]", 4)
    ends = {line.partition("MODEL_LOG - ")[2] for line in lines}
    said = ("printed: one", "printed: two", "on stderr", "logged")
    assert ends == {f"[{request_id}] {text}" for text in said}
    wait_lines(in_text, "access_log.log", request_id, 1)
    wait_lines(in_text, "ts_log.log", f"[{request_id}]", 4)
    assert not lines_with(in_text, "model_log.log", "] loading")  # no request, no id


def test_every_line_of_a_traceback_has_the_id(in_text):
    answer = in_text.predict("forked", b"fail")
    request_id = answer.headers["x-request-id"]

    wait_lines(in_text, "model_log.log", f"[{request_id}] ValueError: failed as asked", 1)
    said = [
        line.partition("MODEL_LOG - ")[2]
        for line in lines_with(in_text, "model_log.log", f"[{request_id}]")
    ]
    assert f"[{request_id}] Traceback (most recent call last):" in said
    assert any('printing.py", line' in text for text in said)


def test_the_end_of_a_worker_names_the_request_that_it_was_working_on(in_text):
    answer = in_text.predict("dying", b"os_exit")
    request_id = answer.headers["x-request-id"]

    assert answer.status_code == 500
    (line,) = wait_lines(in_text, "ts_log.log", "Worker disconnected: W-", 1)
    assert f"while working on request {request_id}" in line


def test_json_lines_have_it_as_a_field_and_coroutines_their_own(server):
    server.properties["log_format"] = "json"
    server.add("printing", "printing", **workers(1, batchSize=2, maxBatchDelay=50))
    server.add("calls", "asynchronous", **workers(1, asyncCommunication=True))
    server.start()

    answered = server.predict("printing").text
    failed = server.predict("calls", {"fail": True}).headers["x-request-id"]

    for request_id, text in [(answered, "printed: two"), (failed, "ValueError: failed as asked")]:
        lines = [json.loads(line) for line in wait_lines(server, "model_log.log", text, 1)]
        assert [line["request_id"] for line in lines] == [request_id]
        assert [line["message"] for line in lines] == [text]
    server.stop()


def test_by_default_lines_are_as_torchserve_writes_them(server):
    server.add("printing", "printing", **workers(1))
    server.start()

    request_id = server.predict("printing").text

    lines = wait_lines(server, "model_log.log", "printed: two", 1)
    assert lines[0].endswith("MODEL_LOG - printed: two")
    assert request_id not in server.log("model_log.log")
    server.stop()
