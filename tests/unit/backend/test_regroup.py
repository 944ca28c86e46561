"""Batches that are answered by several calls."""

from __future__ import annotations

import pytest

from tsl.backend.envelopes.json import JSONEnvelope
from tsl.backend.micro_batching import MicroBatching
from tsl.backend.regroup import Regroup, refuse_rows, split_rows
from tsl.protocol.errors import HandlerFailed, InvalidInput


@pytest.mark.parametrize(
    ("groups", "refused"),
    [
        ([[0, 1, 2]], {}),
        ([[0], [1]], {}),
        ([[0], [1]], {1: InvalidInput(), 2: InvalidInput()}),
        ([[0, 3]], {1: InvalidInput(), 2: InvalidInput()}),
    ],
    ids=["as large as the batch", "a row is missing", "a row twice", "no such row"],
)
def test_a_plan_that_would_not_answer_every_row_once_is_refused(groups, refused):
    with pytest.raises(ValueError, match="3 rows"):
        Regroup(groups, refused).check(3)


def test_a_plan_without_groups_answers_a_batch_of_bad_rows():
    Regroup([[]], {0: InvalidInput(), 1: InvalidInput()}).check(2)


def test_the_only_row_is_refused_by_its_own_error():
    with pytest.raises(InvalidInput, match="bad"):
        refuse_rows({0: InvalidInput("bad")}, 1)


def test_rows_with_equal_keys_stay_together():
    split_rows(["a", "a"])

    with pytest.raises(Regroup) as caught:
        split_rows(["a", "b", "a"])

    assert caught.value.groups == [[0, 2], [1]]


# Envelopes: the handler's rows are instances, the service's are requests.


def json_request(*instances):
    return {"body": {"instances": list(instances)}}


def refuse_bad(data, context):
    refuse_rows({n: InvalidInput("bad") for n, v in enumerate(data) if v == "bad"}, len(data))
    split_rows([len(v) for v in data])
    return data


@pytest.mark.parametrize(
    ("requests", "groups", "refused"),
    [
        ([["a"], ["a", "bad"], ["a"]], [[0, 2]], {1}),
        ([["a"], ["aa"], ["a"]], [[0], [1], [2]], set()),
        ([["bad"], ["bad", "bad"]], [], {0, 1}),
    ],
    ids=["bad instance", "shapes", "all bad"],
)
def test_an_envelope_speaks_of_requests(requests, groups, refused):
    envelope = JSONEnvelope(refuse_bad)

    with pytest.raises(Regroup) as caught:
        envelope.handle([json_request(*each) for each in requests], None)

    assert caught.value.groups == groups
    assert set(caught.value.refused) == refused
    caught.value.check(len(requests))


def test_a_request_that_contradicts_the_envelope_stays_refused():
    envelope = JSONEnvelope(refuse_bad)

    with pytest.raises(Regroup) as caught:
        envelope.handle([{"body": {}}, json_request("bad"), json_request("a")], None)

    assert caught.value.groups == [[2]]
    assert set(caught.value.refused) == {0, 1}


@pytest.mark.parametrize("instances", [["a", "bad"], ["a", "aa"]], ids=["bad", "shapes"])
def test_the_only_request_of_an_envelope_is_refused(instances):
    with pytest.raises(InvalidInput):
        JSONEnvelope(refuse_bad).handle([json_request(*instances)], None)


# Micro-batches: the handler's rows are those of a slice.


class Steps:
    def preprocess(self, data):
        return refuse_bad(data, None)

    def inference(self, data):
        return data

    def postprocess(self, data):
        return data


@pytest.mark.parametrize(
    ("size", "rows", "groups", "refused"),
    [
        (1, ["a", "bad", "a"], [[0, 2]], {1}),
        (2, ["a", "bad", "a"], [[0, 2]], {1}),
        (2, ["a", "a", "bad"], [[0, 1]], {2}),
        (2, ["a", "a", "a", "aa", "a"], [[2], [3], [0, 1, 4]], set()),
    ],
)
def test_micro_batches_speak_of_the_whole_batch(size, rows, groups, refused):
    pipeline = MicroBatching(Steps(), micro_batch_size=size)
    try:
        with pytest.raises(Regroup) as caught:
            pipeline.handle(rows)
    finally:
        pipeline.shutdown()

    assert caught.value.groups == groups
    assert set(caught.value.refused) == refused
    caught.value.check(len(rows))


def test_another_failure_of_a_slice_still_ends_the_call():
    class Failing(Steps):
        def inference(self, data):
            raise HandlerFailed("no")

    pipeline = MicroBatching(Failing(), micro_batch_size=1)
    try:
        with pytest.raises(HandlerFailed):
            pipeline.handle(["a", "bad"])
    finally:
        pipeline.shutdown()
