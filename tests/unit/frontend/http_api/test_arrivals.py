from __future__ import annotations

from http_client import HttpPlay, request

from tsl.frontend.http_api.arrivals import Arrivals


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


def test_data_is_handed_on_in_its_order_once_the_turn_is_over():
    soon, log = [], []
    arrivals = Arrivals(soon.append)
    one, other = Receiver(log), Receiver(log)

    for receiver, data in ((one, b"1"), (other, b"2"), (one, b"3")):
        arrivals.add(receiver, data)

    assert log == []
    assert len(soon) == 1
    soon.pop()()
    assert log == [(one, b"1"), (other, b"2"), (one, b"3")]


def test_what_comes_later_is_for_another_turn():
    soon, log = [], []
    arrivals = Arrivals(soon.append)
    receiver = Receiver(log)
    arrivals.add(receiver, b"1")
    soon.pop()()

    arrivals.add(receiver, b"2")

    assert log == [(receiver, b"1")]
    soon.pop()()
    assert log == [(receiver, b"1"), (receiver, b"2")]


def test_a_bug_costs_one_connection(caplog):
    soon, log = [], []
    arrivals = Arrivals(soon.append)
    bad, good = Receiver(log, fails=True), Receiver(log)
    arrivals.add(bad, b"1")
    arrivals.add(good, b"2")

    soon.pop()()

    assert log == [(bad, "aborted"), (good, b"2")]
    assert "a bug" in caplog.text


def late_play(**limits):
    """A connection whose turns end when the test says so."""
    soon = []
    play = HttpPlay(context={"arrivals": Arrivals(soon.append)}, **limits)
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
