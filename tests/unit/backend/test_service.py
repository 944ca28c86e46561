"""What a handler's result, or its exception, becomes."""

import sys

import pytest

from tsl.backend.context import Context
from tsl.backend.metrics import MetricsCache
from tsl.backend.regroup import Regroup, refuse_rows, split_rows
from tsl.backend.service import Service, read_model_yaml
from tsl.backend.streaming import ReplyStream, send_intermediate_predict_response
from tsl.backend.util import PredictionException
from tsl.protocol.errors import InvalidInput
from tsl.protocol.frames import Failure, Part, Predict, Reply, Result, Row


class FakeOutlet:
    """A connection of which nobody reads the other end."""

    def __init__(self):
        self.cancelled = set()

    has_cancelled = property(lambda self: bool(self.cancelled))

    def poll(self):
        """Nothing ever arrives."""

    def is_cancelled(self, batch_id, row):
        return (batch_id, row) in self.cancelled

    def send(self, *frames):
        raise AssertionError("no test here sends chunks")


def serve(handler, *bodies, outlet=None, **settings):
    """Run a handler on one row per body."""
    rows = [
        Row(f"r{n}", [], [], [Part("body", "text/plain", memoryview(body))])
        for n, body in enumerate(bodies or [b"x"])
    ]
    service = Service("m", "/m", None, handler, None, 4, **settings)
    return service.predict(Predict(5, rows), ReplyStream(outlet or FakeOutlet(), 1000))


def reply(body, status=0, phrase="", headers=()):
    return Reply(status, phrase, list(headers), "", body)


class Unspeakable(Exception):
    def __str__(self):
        raise RuntimeError("not even this works")


# Results.


def test_each_row_gets_its_element():
    result = serve(lambda data, context: [row["body"] for row in data], b"a", b"b")

    assert isinstance(result, Result)
    assert result.batch_id == 5
    assert result.replies == [reply(b"a"), reply(b"b")]


def test_status_and_headers_go_to_their_row():
    def handle(data, context):
        context.set_response_status(201, "Made", 1)
        context.set_response_content_type(1, "text/csv")
        return ["a", "b"]

    result = serve(handle, b"a", b"b")

    assert result.replies == [
        reply(b"a"),
        reply(b"b", 201, "Made", ["content-type", "text/csv"]),
    ]


def test_input_stays_raw_when_decoding_is_off():
    result = serve(lambda data, context: [type(data[0]["body"]).__name__], b"a", decode_input=False)

    assert result.replies == [reply(b"bytearray")]


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (("a",), "Invalid model predict output"),
        ({"a": 1}, "Invalid model predict output"),
        (None, "Invalid model predict output"),
        ("a", "Invalid model predict output"),
        ([], "number of batch response mismatched"),
        (["a", "b"], "number of batch response mismatched"),
    ],
    ids=["tuple", "dict", "none", "str", "too-short", "too-long"],
)
def test_what_is_no_list_of_one_element_per_row_fails_the_batch(answer, message):
    assert serve(lambda data, context: answer) == Failure(5, "invalid_output", message, 0)


def test_an_element_without_encoding_fails_its_own_row(capsys):
    result = serve(lambda data, context: ["fine", {1}, "fine too"], b"", b"", b"")

    assert result.replies == [
        reply(b"fine"),
        Reply(0, "", [], "invalid_output", b"Unsupported model output data type."),
        reply(b"fine too"),
    ]
    assert "Row 1, request r1:" in capsys.readouterr().err


def test_an_element_that_is_too_large_fails_its_own_row(capsys):
    result = serve(lambda data, context: ["12345", "123456"], b"", b"", max_response_bytes=5)

    assert [each.error for each in result.replies] == ["", "response_too_large"]


def test_the_time_is_that_of_the_call(monkeypatch):
    times = iter([1_000_000, 4_500_999])
    monkeypatch.setattr("tsl.backend.service.perf_counter_ns", lambda: next(times))

    assert serve(lambda data, context: ["a"]).service_us == 3500


# Exceptions.


def raiser(error):
    def handle(data, context):
        raise error

    return handle


@pytest.mark.parametrize(
    ("error", "failure"),
    [
        (ValueError("secret"), Failure(5, "handler_failed", "", 0)),
        (MemoryError(), Failure(5, "out_of_memory", "", 0)),
        (RuntimeError("CUDA out of memory"), Failure(5, "out_of_memory", "", 0)),
        (ValueError("\ud800"), Failure(5, "handler_failed", "", 0)),
        (Unspeakable(), Failure(5, "handler_failed", "", 0)),
        (PredictionException("mine", 404), Failure(5, "prediction_error", "mine", 404)),
        (PredictionException("mine", 413), Failure(5, "prediction_error", "mine", 413)),
        (PredictionException("mine"), Failure(5, "prediction_error", "mine", 500)),
        (PredictionException("mine", "404"), Failure(5, "prediction_error", "mine", 404)),
        (PredictionException("mine", None), Failure(5, "prediction_error", "mine", 500)),
        (PredictionException("mine", 2**80), Failure(5, "prediction_error", "mine", 500)),
        (PredictionException("\ud800", 400), Failure(5, "prediction_error", "?", 400)),
        (
            PredictionException("a CUDA story", 400),
            Failure(5, "prediction_error", "a CUDA story", 400),
        ),
        (InvalidInput("no inputs"), Failure(5, "invalid_input", "no inputs", 0)),
        (InvalidInput("no.", hint="Add."), Failure(5, "invalid_input", "no. Add.", 0)),
    ],
    ids=lambda value: ascii(value) if isinstance(value, Exception) else "",
)
def test_an_exception_and_its_answer(error, failure, capsys):
    assert serve(raiser(error)) == failure


def test_the_traceback_goes_to_stderr_with_the_request_ids(capsys):
    serve(raiser(ValueError("for the log")), b"", b"")

    out, err = capsys.readouterr()
    assert out == ""
    assert "The handler failed on request r0, r1:" in err
    assert "ValueError: for the log" in err
    assert "in handle" in err


def test_a_prediction_exception_is_an_answer_and_is_not_logged(capsys):
    serve(raiser(PredictionException("mine", 404)))

    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt()], ids=["exit", "interrupt"])
def test_what_is_no_exception_ends_the_worker(error):
    with pytest.raises(type(error)):
        serve(raiser(error))


def test_a_handler_that_is_told_that_all_clients_left_fails_quietly(capsys):
    def handle(data, context):
        send_intermediate_predict_response(["a"], context.request_ids, "", 200, context)

    outlet = FakeOutlet()
    outlet.cancelled = {(5, 0)}

    assert serve(handle, outlet=outlet) == Failure(5, "job_cancelled", "", 0)
    assert capsys.readouterr().err == ""


# The context and the metrics.


def test_every_call_gets_the_same_context_and_fresh_answers():
    seen = []

    def handle(data, context):
        seen.append((context, context.get_response_status(0), context.get_request_id(0)))
        context.set_response_status(201)
        return ["a"]

    service = Service("m", "/m", None, handle, None, 1)
    stream = ReplyStream(FakeOutlet(), 1000)

    for number in range(2):
        service.predict(Predict(number, [Row(f"r{number}", [], [], [])]), stream)

    assert seen == [(service.context, (200, None), "r0"), (service.context, (200, None), "r1")]


@pytest.mark.parametrize("fails", [True, False], ids=["after-an-exception", "after-an-answer"])
def test_after_a_call_nothing_of_the_batch_is_held(fails, capsys):
    contexts = []

    def handle(data, context):
        context.get_all_request_header(0)
        contexts.append(context)
        return 1 / 0 if fails else ["a"]

    serve(handle)

    assert contexts[0].request_processor is None
    assert contexts[0].cl_socket.is_cancelled(0) is False


def test_a_result_carries_the_time_inside_the_handler_in_microseconds(monkeypatch):
    times = iter([0, 1_234_567])
    monkeypatch.setattr("tsl.backend.service.perf_counter_ns", lambda: next(times))

    result = serve(lambda data, context: ["a", "b"], b"", b"")

    assert result.service_us == 1234


def test_a_failed_call_records_no_time(capsys):
    records = []
    metrics = MetricsCache.from_config("", "m", records.append)

    serve(raiser(ValueError()), metrics_cache=metrics)

    assert records == []


def test_a_model_that_is_not_loaded_fails(capsys):
    assert serve(None) == Failure(5, "handler_failed", "", 0)
    assert "the model is not loaded" in capsys.readouterr().err


# The model's configuration file.


@pytest.mark.parametrize(
    ("manifest", "text", "expected"),
    [
        (None, None, {}),
        ({}, None, {}),
        ({"model": {"modelName": "m"}}, None, {}),
        ({"model": {"configFile": "c.yaml"}}, "a: [1, x]", {"a": [1, "x"]}),
        ({"model": {"configFile": "c.yaml"}}, "", None),
    ],
    ids=["no-manifest", "no-model", "no-file", "file", "empty-file"],
)
def test_the_configuration_file_of_the_manifest(tmp_path, manifest, text, expected):
    if text is not None:
        (tmp_path / "c.yaml").write_text(text)

    assert read_model_yaml(str(tmp_path), manifest) == expected


def test_the_context_knows_the_configuration(tmp_path):
    (tmp_path / "c.yaml").write_text("handler: {a: 1}")
    manifest = {"model": {"configFile": "c.yaml"}}

    context = Service("m", str(tmp_path), manifest, None, 2, 3, False).context

    assert isinstance(context, Context)
    assert context.model_yaml_config == {"handler": {"a": 1}}
    assert context.system_properties["gpu_id"] == 2
    assert context.system_properties["limit_max_image_pixels"] is False


def test_serving_does_not_import_torch(monkeypatch):
    monkeypatch.delitem(sys.modules, "torch", raising=False)

    serve(lambda data, context: [{"a": 1}])

    assert "torch" not in sys.modules


# Batches that are answered by several calls.


def test_a_refused_row_fails_alone_and_the_others_are_called_again(capsys):
    calls = []

    def handle(data, context):
        bodies = [row["body"] for row in data]
        calls.append([context.get_request_id(n) for n in range(len(data))])
        refuse_rows({n: InvalidInput("bad") for n, b in enumerate(bodies) if b == "x"}, len(bodies))
        context.set_response_header(1, "x-row", "second")
        return bodies

    result = serve(handle, b"a", b"x", b"b", b"x")

    assert result.replies == [
        reply(b"a"),
        Reply(0, "", [], "invalid_input", b"bad"),
        reply(b"b", headers=["x-row", "second"]),
        Reply(0, "", [], "invalid_input", b"bad"),
    ]
    assert calls == [["r0", "r1", "r2", "r3"], ["r0", "r2"]]
    assert "Request r1: bad" in capsys.readouterr().err


def test_a_part_that_fails_leaves_the_others_alone():
    def handle(data, context):
        split_rows([row["body"] for row in data])
        if data[0]["body"] == "a":
            raise PredictionException("no a", 418)
        return ["fine"] * len(data)

    result = serve(handle, b"a", b"b", b"a", b"b")

    refused = Reply(418, "", [], "prediction_error", b"no a")
    assert result.replies == [refused, reply(b"fine"), refused, reply(b"fine")]


def test_parts_of_parts_keep_their_numbers():
    seen = []

    def handle(data, context):
        bodies = [row["body"] for row in data]
        split_rows([b[0] for b in bodies])
        split_rows(bodies)
        send_intermediate_predict_response(bodies, context.request_ids, "", 200, context)
        return bodies

    class Outlet(FakeOutlet):
        def send(self, *frames):
            seen.extend((frame.row, bytes(frame.body)) for frame in frames)

    result = serve(handle, b"a1", b"b1", b"a2", b"b1", outlet=Outlet())

    assert [bytes(each.body) for each in result.replies] == [b"a1", b"b1", b"a2", b"b1"]
    assert sorted(seen) == [(0, b"a1"), (1, b"b1"), (2, b"a2"), (3, b"b1")]


def test_a_plan_that_leads_nowhere_fails_the_batch(capsys):
    def handle(data, context):
        raise Regroup([list(range(len(data)))])

    assert serve(handle, b"a", b"b") == Failure(5, "handler_failed", "", 0)
    assert "cannot be regrouped" in capsys.readouterr().err


def test_predictions_and_explanations_of_a_batch_are_separate_calls():
    """Handlers take the kind of a batch from its first row."""
    rows = [
        Row(f"r{n}", [], ["explain", kind, "url_path", path], [Part("body", "", memoryview(b""))])
        for n, (kind, path) in enumerate([("True", ""), ("False", ""), ("True", "x")])
    ]

    def handle(data, context):
        return [context.get_request_header(0, "explain") + str(len(data))] * len(data)

    service = Service("m", "/m", None, handle, None, 4)
    result = service.predict(Predict(5, rows), ReplyStream(FakeOutlet(), 1000))

    assert [bytes(each.body) for each in result.replies] == [b"True2", b"False1", b"True2"]


# Stopping criteria.


def test_a_criterion_says_whether_more_answers_follow():
    def handle(data, context):
        verdicts = iter([False, True, None])
        context.stopping_criteria = [lambda answer: next(verdicts) for _ in data]
        return ["a", "b", "c"]

    result = serve(handle, b"", b"", b"")

    assert result.replies == [
        reply(b"a", headers=["ts_stream_next", "true"]),
        reply(b"b", headers=["ts_stream_next", "false"]),
        reply(b"c"),
    ]


def test_a_criterion_gets_the_answer_of_its_row():
    heard = []

    def handle(data, context):
        context.stopping_criteria = [heard.append, heard.append]
        return ["a", "b"]

    serve(handle, b"", b"")

    assert heard == ["a", "b"]


def test_criteria_stay_until_they_are_replaced_and_may_be_too_few():
    def handle(data, context):
        if context.stopping_criteria is None:
            context.stopping_criteria = [lambda answer: True]
        return ["a"] * len(data)

    service = Service("m", "/m", None, handle, None, 4)
    stream = ReplyStream(FakeOutlet(), 1000)
    rows = [Row(each, [], [], []) for each in "ab"]

    heads = [service.predict(Predict(n, rows), stream).replies for n in range(2)]

    assert [[each.headers for each in replies] for replies in heads] == [
        [["ts_stream_next", "false"], []]
    ] * 2


def test_a_criterion_that_raises_fails_the_batch(capsys):
    def handle(data, context):
        context.stopping_criteria = [lambda answer: 1 / 0]
        return ["a"]

    assert serve(handle) == Failure(5, "handler_failed", "", 0)
    assert "ZeroDivisionError" in capsys.readouterr().err
