"""A request through a graph of nodes: order, retries, time limits, and exactly one end."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from tsl.frontend import workflow_run
from tsl.frontend.registry import ModelRegistry, ServedModel
from tsl.frontend.workflow_run import WorkflowPlan, WorkflowRun
from tsl.model_store import ModelFolder, Workflow, WorkflowRequest, WorkflowSpec
from tsl.protocol.errors import (
    DeadlineExceeded,
    HandlerFailed,
    JobCancelled,
    QueueFull,
    ShuttingDown,
)
from tsl.protocol.frames import Chunk, Part, Reply, Row
from tsl.protocol.workflow_errors import NodeFailed


def workflow_of(text, name="w"):
    return Workflow(
        name=name,
        url="w.war",
        spec=WorkflowSpec.parse(text.encode()),
        handler="h.py",
        request=WorkflowRequest(url="w.war"),
        folder=ModelFolder(Path("/w")),
    )


class FakePool:
    """Takes jobs; the test says what becomes of them."""

    def __init__(self, world):
        self._world = world
        self.jobs = []
        self.refusal = None

    def submit(self, job):
        if self.refusal is not None:
            raise self.refusal
        job.queue = self
        self.jobs.append(job)
        job.timer = self._world.loop.call_later(job.deadline - self._world.now, job.expire)

    def remove(self, job):
        return job in self.jobs


class Play:
    """One workflow whose nodes' pools are played by the test."""

    def __init__(self, world, new_job, text, **timeouts):
        self.plan = WorkflowPlan(workflow_of(text))
        self.registry = ModelRegistry()
        self.pools = {}
        self.ended = []
        for step in self.plan.steps:
            pool = self.pools[step.name] = FakePool(world)
            version = SimpleNamespace(name=step.model_name, version="1.0")
            self.registry.add(ServedModel(version, pool, timeouts.get(step.name, 0.0)))
        self.world = world
        self.new_job = new_job
        self.job = None
        self.run = None

    def start(self, *parts, deadline=None):
        self.job = self.new_job("request", now=self.world.now, deadline=deadline)
        parts = list(parts) or self.job.row.parts
        self.job.row = Row("request", [b"x-h", b"1"], [], parts)
        self.run = WorkflowRun(self.plan, self.registry, self.job, self.ended.append)
        self.run.start()
        return self

    @property
    def recorder(self):
        """Where the request's end went."""
        return self.job.sink

    def queued(self):
        """The nodes whose last job has no end yet."""
        return {
            name for name, pool in self.pools.items() if pool.jobs and not pool.jobs[-1].is_settled
        }

    def last(self, node):
        return self.pools[node].jobs[-1]

    def answer(self, node, body, **reply):
        assert self.last(node).finish(
            Reply(reply.get("status", 0), "", reply.get("headers", []), "", body)
        )

    def fail(self, node, error=None):
        assert self.last(node).fail(error or HandlerFailed())
        self.world.advance()

    def inputs(self, node):
        return [tuple(part) for part in self.last(node).row.parts]


FAN = """
models:
  retry-attempts: 1
  timeout-ms: 1000
  m1: {url: m1.mar}
  m2: {url: m2.mar}
dag:
  pre: [m1, m2]
  m1: [agg]
  m2: [agg]
"""
CHAIN = "models:\n  retry-attempts: 2\n  timeout-ms: 1000\ndag:\n  a: [b]\n"
LEAVES = "models: {retry-attempts: 0}\ndag:\n  s: [x, y]\n"


@pytest.fixture
def play(world, new_job, monkeypatch):
    monkeypatch.setattr(workflow_run, "time", world)
    return lambda text=FAN, **timeouts: Play(world, new_job, text, **timeouts)


# -- the way through


def test_the_first_node_gets_the_request_as_it_came(play):
    stage = play().start(Part("image", "image/png", b"1"), Part("k", "", b"2"))

    row = stage.last("pre").row
    assert row.parts == [Part("image", "image/png", b"1"), Part("k", "", b"2")]
    assert (row.headers, row.properties) == ([b"x-h", b"1"], [])
    assert row.request_id != "request"


def test_nodes_run_when_their_inputs_are_there_and_those_that_can_at_the_same_time(play):
    stage = play().start()
    assert stage.queued() == {"pre"}

    stage.answer("pre", b"p", status=404, headers=["content-type", "text/plain"])
    assert stage.queued() == {"m1", "m2"}
    assert stage.inputs("m1") == stage.inputs("m2") == [("body", "", b"p")]

    stage.answer("m2", b"two")
    assert stage.queued() == {"m1"}

    stage.answer("m1", b"one")
    assert stage.inputs("agg") == [("m1", "", b"one"), ("m2", "", b"two")]

    stage.answer("agg", b"done")
    assert stage.recorder.body == b"done"
    assert len(stage.ended) == 1


def test_every_node_has_a_request_id_of_its_own(play):
    stage = play().start()
    stage.answer("pre", b"p")

    ids = {stage.last(node).row.request_id for node in ("pre", "m1", "m2")} | {"request"}
    assert len(ids) == 4


def test_several_leaves_are_answered_together(play):
    stage = play(LEAVES).start()
    stage.answer("s", b"")
    stage.answer("y", b"[2]")
    assert stage.recorder.events == []

    stage.answer("x", b'{"a": 1}')

    assert json.loads(stage.recorder.body) == {"x": {"a": 1}, "y": [2]}


def test_a_node_may_feed_a_leaf_and_be_fed_by_the_same_node(play):
    stage = play("dag:\n  a: [b, c]\n  b: [c]\n").start()
    stage.answer("a", b"A")
    assert stage.queued() == {"b"}
    stage.answer("b", b"B")

    assert stage.inputs("c") == [("a", "", b"A"), ("b", "", b"B")]


def test_of_a_stream_the_first_piece_is_the_output(play):
    stage = play(CHAIN).start()
    job = stage.last("a")

    assert job.stream(Chunk(1, 0, 0, "", [], b"first"))

    assert stage.inputs("b") == [("body", "", b"first")]
    assert job.is_settled  # its worker is told that nobody listens
    assert not job.stream(Chunk(1, 0, 0, "", [], b"second"))
    stage.answer("b", b"done")
    assert stage.recorder.body == b"done"


# -- failures


def test_a_failed_node_is_run_again_with_its_request_id(play):
    stage = play(CHAIN).start()
    first = stage.last("a").row

    stage.fail("a")
    stage.fail("a")
    assert stage.last("a").row is first
    stage.answer("a", b"at last")

    assert stage.inputs("b") == [("body", "", b"at last")]
    assert stage.recorder.events == []


def test_a_node_that_fails_too_often_fails_the_request_and_is_named(play):
    stage = play(CHAIN).start()
    for _ in range(3):
        stage.fail("a")

    error = stage.recorder.error
    assert type(error) is NodeFailed
    assert "Error executing a after 3 attempts: Prediction failed" in str(error)
    assert (error.status(), error.status(standard=True)) == (500, 500)
    assert len(stage.pools["a"].jobs) == 3
    assert len(stage.ended) == 1


def test_a_silent_node_is_withdrawn_and_run_again(play, world):
    stage = play(CHAIN).start()
    first = stage.last("a")

    world.advance(1.1)

    assert first.is_settled
    assert len(stage.pools["a"].jobs) == 2
    assert not first.finish(Reply(0, "", [], "", b"late"))
    world.advance(2.2)
    error = stage.recorder.error
    assert "no answer within 1000 ms" in str(error)
    assert error.status(standard=True) == 504


def test_the_limit_of_a_node_s_own_model_counts_when_it_is_shorter(play, world):
    stage = play(CHAIN, a=0.2).start()

    world.advance(0.3)

    assert len(stage.pools["a"].jobs) == 2


def test_a_failure_stops_the_nodes_that_still_run(play):
    stage = play().start()
    stage.answer("pre", b"")
    stage.fail("m1")
    stage.fail("m1")

    assert type(stage.recorder.error) is NodeFailed
    assert stage.queued() == set()
    assert not stage.last("m2").finish(Reply(0, "", [], "", b"late"))


def test_a_node_that_refuses_is_asked_again_and_its_reason_is_told(play, world):
    stage = play(CHAIN)
    stage.pools["a"].refusal = QueueFull()
    stage.start()
    assert stage.recorder.events == []

    stage.pools["a"].refusal = None
    world.advance()

    assert stage.queued() == {"a"}
    stage.pools["b"].refusal = QueueFull("The job queue of the model is full.")
    stage.answer("a", b"")
    world.advance()
    error = stage.recorder.error
    assert "Error executing b after 3 attempts: The job queue of the model is full." in str(error)
    assert (error.status(), error.status(standard=True)) == (500, 429)


def test_a_node_that_refuses_for_good_at_once_keeps_others_from_starting(play):
    stage = play(LEAVES)
    stage.pools["x"].refusal = QueueFull()
    stage.start()

    stage.answer("s", b"")

    assert type(stage.recorder.error) is NodeFailed
    assert stage.pools["y"].jobs == []
    assert len(stage.ended) == 1


def test_a_node_whose_model_was_unregistered_is_named(play, world):
    stage = play(CHAIN)
    stage.registry.remove("w__a")
    stage.start()
    world.advance()

    assert "Error executing a after 3 attempts: Model not found: w__a" in str(stage.recorder.error)


# -- other ends


def test_the_client_s_leaving_cancels_all_running_nodes(play, world):
    stage = play().start()
    stage.answer("pre", b"")
    jobs = [stage.last("m1"), stage.last("m2")]

    assert stage.job.cancel()

    assert type(stage.recorder.error) is JobCancelled
    assert all(job.is_settled for job in jobs)
    assert len(stage.ended) == 1
    world.advance(5)
    assert len(stage.pools["m1"].jobs) == 1


def test_a_retry_that_waits_is_cancelled_too(play, world):
    stage = play(CHAIN).start()
    stage.last("a").fail(HandlerFailed())

    stage.job.cancel()
    world.advance(5)

    assert len(stage.pools["a"].jobs) == 1


def test_the_deadline_of_the_request_ends_it(play, world):
    stage = play().start(deadline=world.now + 0.5)

    world.advance(0.6)

    assert type(stage.recorder.error) is DeadlineExceeded
    assert stage.queued() == set()


def test_a_run_can_be_given_up(play):
    stage = play().start()

    stage.run.abort(ShuttingDown())
    stage.run.abort(ShuttingDown())

    assert type(stage.recorder.error) is ShuttingDown
    assert stage.queued() == set()
    assert len(stage.ended) == 1


def test_an_answer_stops_the_clock_of_the_deadline(play, world):
    stage = play(CHAIN).start(deadline=world.now + 0.5)
    stage.answer("a", b"")
    stage.answer("b", b"done")

    world.advance(1)

    assert stage.recorder.body == b"done"
