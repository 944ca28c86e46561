"""A slow client on a shared channel: others wait for it only when it is far behind."""

from __future__ import annotations

from fakes import FakeChannel

from tsl.frontend.shared_line import PATIENCE_BYTES, SharedLine


def test_a_slow_client_pauses_nobody_at_first():
    channel = FakeChannel()
    line = SharedLine(channel)

    line.pause_reading()
    line.count(PATIENCE_BYTES)
    assert channel.paused == 0
    line.resume_reading()

    assert channel.paused == 0
    assert not line.is_held


def test_beyond_its_patience_the_channel_is_paused_once_until_the_client_caught_up():
    channel = FakeChannel()
    line = SharedLine(channel)

    line.pause_reading()
    for _ in range(3):
        line.count(PATIENCE_BYTES)
    assert channel.paused == 1
    line.resume_reading()

    assert channel.paused == 0


def test_each_pause_counts_anew():
    channel = FakeChannel()
    line = SharedLine(channel)
    for _ in range(3):
        line.pause_reading()
        line.count(PATIENCE_BYTES - 1)
        line.resume_reading()

    assert channel.paused == 0


def test_cancelling_goes_to_the_channel():
    channel = FakeChannel()

    SharedLine(channel).cancel(None, "job")

    assert channel.cancelled == ["job"]
