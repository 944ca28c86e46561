from __future__ import annotations

import pytest
from http_client import HttpPlay, request

from tsl.frontend.loop_turn import LoopTurn
from tsl.protocol.frames import Reply


class Receiver:
    """Keeps what it gets."""

    def __init__(self, log, *, fails=False):
        self.log = log
        self.fails = fails

    def process(self, data):
        if self.fails:
            raise RuntimeError("a bug")
        self.log.append((self, data))

    def abort(self):
        self.log.append((self, "aborted"))


class Transport:
    """Keeps what is written."""

    def __init__(self, log, *, fails=False):
        self.log = log
        self.fails = fails

    def write(self, data):
        if self.fails:
            raise RuntimeError("a bug")
        self.log.append(data)

    def abort(self):
        self.log.append("aborted")


# -- reading and handling


def test_data_is_handed_on_in_its_order_once_the_turn_is_over():
    soon, log = [], []
    turn = LoopTurn(soon.append)
    one, other = Receiver(log), Receiver(log)

    for receiver, data in ((one, b"1"), (other, b"2"), (one, b"3")):
        turn.add(receiver, data)

    assert log == []
    assert len(soon) == 1
    soon.pop()()
    assert log == [(one, b"1"), (other, b"2"), (one, b"3")]


def test_what_comes_later_is_for_another_turn():
    soon, log = [], []
    turn = LoopTurn(soon.append)
    receiver = Receiver(log)
    turn.add(receiver, b"1")
    soon.pop()()

    turn.add(receiver, b"2")

    assert log == [(receiver, b"1")]
    soon.pop()()
    assert log == [(receiver, b"1"), (receiver, b"2")]


def test_a_bug_costs_one_connection(caplog):
    soon, log = [], []
    turn = LoopTurn(soon.append)
    bad, good = Receiver(log, fails=True), Receiver(log)
    turn.add(bad, b"1")
    turn.add(good, b"2")

    soon.pop()()

    assert log == [(bad, "aborted"), (good, b"2")]
    assert "a bug" in caplog.text


# -- writing


def test_writes_are_held_until_all_is_handled_and_leave_together():
    log = []
    turn = LoopTurn([].append)
    one, other = Transport(log), Transport(log)

    turn.begin()
    turn.write(one, b"1")
    turn.write(other, b"2")
    turn.write(one, b"3")

    assert log == []
    turn.end()
    assert log == [b"13", b"2"]


def test_a_lone_write_is_not_held():
    log = []
    turn = LoopTurn([].append)

    turn.begin(holds_writes=False)
    turn.write(Transport(log), b"1")

    assert log == [b"1"]
    turn.end()
    assert log == [b"1"]


def test_outside_of_all_handling_writes_leave_at_once():
    log = []
    turn = LoopTurn([].append)
    turn.begin()
    turn.end()

    turn.write(Transport(log), b"1")

    assert log == [b"1"]


def test_the_outermost_end_counts():
    log = []
    turn = LoopTurn([].append)

    turn.begin()
    turn.begin(holds_writes=False)
    turn.write(Transport(log), b"1")
    turn.end()

    assert log == []
    turn.end()
    assert log == [b"1"]


def test_a_flush_does_not_wait_for_the_end():
    log = []
    turn = LoopTurn([].append)
    turn.begin()
    turn.write(Transport(log), b"1")

    turn.flush()

    assert log == [b"1"]
    turn.end()
    assert log == [b"1"]


def test_a_bug_in_one_write_costs_one_connection(caplog):
    log = []
    turn = LoopTurn([].append)
    turn.begin()
    turn.write(Transport(log, fails=True), b"1")
    turn.write(Transport(log), b"2")

    turn.end()

    assert log == ["aborted", b"2"]
    assert "a bug" in caplog.text


def test_callbacks_come_before_held_writes_and_may_add_to_both():
    log = []
    turn = LoopTurn([].append)
    transport = Transport(log)
    turn.begin()
    turn.write(transport, b"1")

    def first():
        log.append("first")
        turn.write(transport, b"2")
        turn.call_at_end(lambda: log.append("second"))

    turn.call_at_end(first)
    turn.end()

    assert log == ["first", "second", b"12"]


def test_a_callback_that_fails_keeps_nothing_from_being_written():
    log = []
    turn = LoopTurn([].append)
    turn.begin()
    turn.write(Transport(log), b"1")
    turn.call_at_end(lambda: 1 / 0)

    with pytest.raises(ZeroDivisionError):
        turn.end()

    assert log == [b"1"]
    turn.write(Transport(log), b"2")
    assert log == [b"1", b"2"]


def test_outside_of_all_handling_a_callback_is_for_the_end_of_the_turn():
    soon, log = [], []
    turn = LoopTurn(soon.append)

    turn.call_at_end(lambda: log.append(1))
    turn.call_at_end(lambda: log.append(2))

    assert (len(soon), log) == (1, [])
    soon.pop()()
    assert log == [1, 2]


def test_a_callback_of_the_end_of_the_turn_may_come_with_an_earlier_end():
    soon, log = [], []
    turn = LoopTurn(soon.append)
    turn.call_at_end(lambda: log.append(1))

    turn.begin()
    turn.end()

    assert log == [1]
    soon.pop()()
    assert log == [1]


# -- connections


def late_play(**limits):
    """A connection whose turns end when the test says so."""
    soon = []
    play = HttpPlay(context={"turn": LoopTurn(soon.append)}, **limits)
    return play, soon


def test_a_request_that_arrives_with_the_end_of_the_stream_is_answered():
    play, _ = late_play()
    play.feed(request("/later", headers=[("Connection", "close")]))
    assert not play.jobs

    assert play.connection.eof_received()

    assert len(play.jobs) == 1


def test_a_request_that_arrives_before_the_connection_is_lost_is_cancelled():
    play, soon = late_play()
    play.feed(request("/later"))

    play.connection.connection_lost(None)

    assert [job.is_settled for job in play.jobs] == [True]
    soon.pop()()
    assert len(play.jobs) == 1


def test_a_request_that_arrives_before_the_server_drains_is_answered():
    play, _ = late_play()
    play.feed(request("/later"))

    play.context.is_draining = True
    play.connection.drain()

    assert len(play.jobs) == 1
    assert not play.is_closed


def test_a_request_that_arrives_at_the_last_moment_is_in_time():
    play, _ = late_play(keep_alive_s=10)
    play.feed(request("/later"))

    play.tick(11)

    assert len(play.jobs) == 1
    assert not play.is_closed


def test_answers_that_come_together_are_written_together_in_their_order():
    play, _ = late_play()
    turn = play.context.turn
    other, transport = play.connect()
    play.feed(request("/later"))
    transport.receive(request("/later", headers=[("Connection", "close")]))
    turn.handle()

    turn.begin()
    first, second = play.jobs
    first.finish(Reply(0, "", [], "", b"one"))

    assert play.transport.sent == b""
    second.finish(Reply(0, "", [], "", b"two"))  # this client's connection ends behind its answer
    assert play.transport.sent.endswith(b"one")
    assert transport.sent.endswith(b"two")
    turn.end()
    assert transport.is_eof_written
    assert other.is_closing
