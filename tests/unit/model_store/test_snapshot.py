"""The document of a snapshot, written and read."""

from __future__ import annotations

import json

import pytest

from tsl.model_store import Snapshot, SnapshotEntry, parse_snapshot

SETTINGS = {
    "min_workers": 1,
    "max_workers": 3,
    "batch_size": 4,
    "max_batch_delay_ms": 50,
    "response_timeout_s": 60,
    "startup_timeout_s": 70,
}


def one(**stated):
    """The only entry of a document."""
    (entry,) = parse_snapshot({"models": {"m": {"1.0": {"marName": "m.mar", **stated}}}}).entries
    return entry


def problem_of(document):
    with pytest.raises(ValueError, match=r".") as caught:
        parse_snapshot(document)
    return str(caught.value)


def test_the_document_is_the_one_of_torchserve():
    entry = SnapshotEntry(
        name="m",
        version="1.0",
        archive="m.mar",
        is_default=True,
        settings=SETTINGS,
        runtime="python",
        parallel_level=2,
    )

    document = json.loads(Snapshot((entry,)).document("x-startup.cfg", 17))

    assert document == {
        "name": "x-startup.cfg",
        "modelCount": 1,
        "created": 17,
        "models": {
            "m": {
                "1.0": {
                    "defaultVersion": True,
                    "marName": "m.mar",
                    "minWorkers": 1,
                    "maxWorkers": 3,
                    "batchSize": 4,
                    "maxBatchDelay": 50,
                    "responseTimeout": 60,
                    "startupTimeout": 70,
                    "runtimeType": "python",
                    "parallelLevel": 2,
                }
            }
        },
    }


def test_what_is_written_is_read_again():
    snapshot = Snapshot(
        (
            SnapshotEntry(name="b", version="2", archive="b2.mar", settings=SETTINGS),
            SnapshotEntry(name="b", version="1", archive="b.mar", is_default=True),
            SnapshotEntry(
                name="a ü",
                version="1.0",
                archive="a.tar.gz",
                runtime="python3",
                handler="h:handle",
                url="https://example.com/a.tar.gz",
            ),
        )
    )

    read = parse_snapshot(json.loads(snapshot.document("n", 0)))

    assert read == snapshot
    assert [entry.location for entry in read.entries] == [
        "b2.mar",
        "b.mar",
        "https://example.com/a.tar.gz",
    ]


def test_the_hand_written_document_of_kserve_is_read():
    entry = one(
        defaultVersion=True,
        minWorkers=1,
        maxWorkers=5,
        batchSize=1,
        maxBatchDelay=10,
        responseTimeout=120,
    )

    assert entry.is_default
    assert entry.settings == {
        "min_workers": 1,
        "max_workers": 5,
        "batch_size": 1,
        "max_batch_delay_ms": 10,
        "response_timeout_s": 120,
    }


def test_what_is_left_out_is_left_to_others():
    entry = one()

    assert (entry.settings, entry.runtime, entry.handler, entry.is_default) == (
        {},
        None,
        None,
        False,
    )


@pytest.mark.parametrize("stated", [{"minWorkers": 4}, {"minWorkers": 4, "maxWorkers": 2}])
def test_there_may_always_be_as_many_workers_as_there_must_be(stated):
    assert one(**stated).settings == {"min_workers": 4, "max_workers": 4}


@pytest.mark.parametrize(
    ("stated", "complaint"),
    [
        ({"batchSize": 0}, "m 1.0: batchSize must be a whole number from 1 up, not 0"),
        ({"minWorkers": -1}, "minWorkers must be a whole number from 0 up"),
        ({"maxBatchDelay": "10"}, "maxBatchDelay must be"),
        ({"responseTimeout": True}, "responseTimeout must be"),
        ({"runtimeType": "java"}, "runtimeType must be one of"),
        ({"marName": ""}, "marName, the archive's file name, is missing"),
        ({"handler": 3}, "handler must be a text"),
    ],
)
def test_a_wrong_value_is_named(stated, complaint):
    assert complaint in problem_of({"models": {"m": {"1.0": {"marName": "m.mar", **stated}}}})


@pytest.mark.parametrize(
    ("document", "complaint"),
    [
        ({}, "needs an object models"),
        ({"models": []}, "needs an object models"),
        ({"models": {"m": 1}}, "'m' must hold an object"),
        ({"models": {"m": {"1.0": 1}}}, "m 1.0 must hold an object"),
    ],
)
def test_what_is_no_snapshot_is_refused(document, complaint):
    assert complaint in problem_of(document)


def test_all_problems_are_reported_together():
    text = problem_of({"models": {"m": {"1": {}, "2": {"marName": "x", "batchSize": 0}}, "n": 1}})

    assert text.count(";") == 2


def test_the_batch_policy_is_kept():
    entry = one(batchPolicy="learned")

    assert entry.settings == {"batch_policy": "learned"}
    assert entry.document()["batchPolicy"] == "learned"


def test_a_batch_policy_that_does_not_exist_is_named():
    document = {"models": {"m": {"1.0": {"marName": "m.mar", "batchPolicy": "lazy"}}}}

    assert "batchPolicy must be one of window, eager, learned" in problem_of(document)
