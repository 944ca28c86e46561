from __future__ import annotations

import pytest
from fakes import FakeChannel, FakeTransport

from tsl.frontend.http_api.flow import FlowControl


class Quiet:
    """A protocol that minds nothing."""

    def pause_writing(self):
        pass

    def resume_writing(self):
        pass


@pytest.fixture
def transport():
    return FakeTransport(Quiet())


@pytest.fixture
def flow(transport):
    return FlowControl(transport)


def test_reading_is_paused_and_resumed_once(flow, transport):
    """`FakeTransport` fails when it is told twice."""
    flow.pause_reading()
    flow.pause_reading()
    assert not transport.is_reading

    flow.resume_reading()
    flow.resume_reading()
    assert transport.is_reading


def test_a_producer_is_held_once_and_released_once(flow):
    channel = FakeChannel()

    flow.hold(channel)
    flow.hold(channel)
    assert channel.paused == 1

    flow.release()
    flow.release()
    assert channel.paused == 0


def test_a_client_that_catches_up_releases_the_producer(flow):
    channel = FakeChannel()
    flow.pause_writing()
    flow.hold(channel)

    flow.resume_writing()

    assert flow.is_writable
    assert channel.paused == 0


def test_progress_is_any_byte_the_client_took(flow, transport):
    transport.stall()
    transport.write(b"x" * 100)
    flow.pause_writing()
    assert not flow.has_progressed()

    transport.take(1)
    assert flow.has_progressed()
    assert not flow.has_progressed()
    assert flow.has_unsent()


def test_without_a_pause_the_first_question_finds_progress(flow, transport):
    """Nobody has looked before: the client gets the benefit of the doubt, once."""
    transport.stall()
    transport.write(b"x" * 100)

    assert [flow.has_progressed(), flow.has_progressed()] == [True, False]


def test_nothing_is_unsent_when_all_is_taken(flow, transport):
    transport.write(b"x")

    assert not flow.has_unsent()


def test_what_lies_below_tls_counts_as_well(transport):
    """TLS hands all it has to the transport below, and then has nothing left to send itself."""
    below = FakeTransport(Quiet())
    flow = FlowControl(transport, below)
    below.stall()
    below.write(b"x" * 100)
    assert flow.has_unsent()
    assert [flow.has_progressed(), flow.has_progressed()] == [True, False]

    below.take(1)
    assert flow.has_progressed()

    below.take()
    assert not flow.has_unsent()
