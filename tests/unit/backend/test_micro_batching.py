"""`MicroBatching`: slices, order, failures."""

from __future__ import annotations

import sys
import threading
from types import SimpleNamespace

import pytest

from tsl.backend.micro_batching import HANDLER_METHODS, MicroBatching


class Steps:
    """Doubles numbers; each step notes its slice."""

    def __init__(self):
        self.handle = self.pipeline = MicroBatching(self, micro_batch_size=2)
        self.seen = []
        self.describe = False

    def preprocess(self, rows):
        self.seen.append((self.pipeline.get_micro_batch_idx(), len(rows)))
        return rows

    def inference(self, rows):
        return [row * 2 for row in rows]

    def postprocess(self, rows):
        return rows

    def _is_describe(self):
        return self.describe

    def _is_explain(self):
        return False


class Describing(Steps):
    def handle(self, data, context):
        return ["described"]


@pytest.fixture
def steps():
    handler = Steps()
    yield handler
    handler.pipeline.shutdown()


def context():
    times = []
    return SimpleNamespace(
        times=times, metrics=SimpleNamespace(add_time=lambda *args: times.append(args))
    )


def test_results_come_in_the_order_of_the_rows(steps):
    steps.pipeline.parallelism = {"inference": 3, "preprocess": 2}

    assert steps.handle(list(range(25)), context()) == [2 * row for row in range(25)]


def test_batch_is_cut_into_numbered_slices(steps):
    steps.handle([1, 2, 3, 4, 5], context())

    assert steps.seen == [(0, 2), (1, 2), (2, 1)]


def test_size_of_slices_can_be_changed(steps):
    steps.pipeline.micro_batch_size = 5
    steps.handle([1, 2, 3, 4, 5], context())

    assert steps.seen == [(0, 5)]


def test_exception_of_a_step_ends_the_call_and_the_next_call_works(steps):
    with pytest.raises(TypeError):
        steps.handle([1, 2, object()], context())

    assert steps.handle([1], context()) == [2]


def test_time_of_the_call_is_recorded(steps):
    seen = context()

    steps.handle([1], seen)

    assert seen.times[0][0] == "HandlerTime"


def test_descriptions_take_the_way_of_the_class():
    handler = Describing()
    handler.describe = True

    assert handler.pipeline([{}], context()) == ["described"]


def test_no_thread_runs_before_the_first_call_or_after_shutdown():
    before = set(threading.enumerate())  # threads of other tests may still be ending
    handler = Steps()
    assert set(threading.enumerate()) <= before

    handler.handle([1], context())
    workers = set(threading.enumerate()) - before
    handler.pipeline.shutdown()
    for worker in workers:
        worker.join(timeout=5)

    assert len(workers) == len(HANDLER_METHODS)
    assert not any(worker.is_alive() for worker in workers)


def test_parallelism_is_a_copy_and_is_checked(steps):
    steps.pipeline.parallelism = {"inference": 2}
    steps.pipeline.parallelism["inference"] = 9

    assert steps.pipeline.parallelism == {"preprocess": 1, "inference": 2, "postprocess": 1}
    with pytest.raises(ValueError, match="training"):
        steps.pipeline.parallelism = {"training": 1}
    with pytest.raises(ValueError, match="at least one"):
        steps.pipeline.parallelism = {"inference": 0}


def test_threads_are_added_and_removed_while_serving(steps):
    steps.handle([1], context())

    for count in (3, 1):
        steps.pipeline.parallelism = {"inference": count}
        assert steps.handle([1, 2, 3], context()) == [2, 4, 6]


def test_an_exit_in_a_step_is_an_exit_of_the_call(steps):
    """In a thread it would end the thread, and the call would wait for ever."""
    steps.inference = lambda rows: sys.exit(3)

    with pytest.raises(SystemExit):
        MicroBatching(steps, 2).handle([1, 2, 3])
