"""The channel table: what is in it happens, everything else is its sender's fault."""

from __future__ import annotations

import pytest

from tsl.protocol.channel import TRANSITIONS, Channel, ChannelState, Side
from tsl.protocol.errors import ProtocolError
from tsl.protocol.frames import (
    FRAME_TYPES,
    Exited,
    Fork,
    Forked,
    ForkRefused,
    Hello,
    Load,
    Loaded,
    LoadFailure,
    Ping,
    Pong,
    Predict,
    Preload,
    Result,
    Shutdown,
    Unshare,
)

NURSERY = {Fork, Forked, ForkRefused, Exited, Preload, Unshare}
CASES = [
    pytest.param(state, side, cls, id=f"{state.name}-{side.name}-{cls.__name__}")
    for state in ChannelState
    for side in Side
    for cls in FRAME_TYPES
]


def blank(cls):
    """A frame of a type; the channel looks at nothing else."""
    return cls(*(None for _ in cls._fields))


@pytest.mark.parametrize(("state", "side", "cls"), CASES)
def test_a_frame_moves_the_channel_as_the_table_says_or_is_refused(state, side, cls):
    channel = Channel()
    channel.state = state
    following = TRANSITIONS[state].get((side, cls))

    if following is None:
        with pytest.raises(ProtocolError, match=f"{cls.__name__} from {side.name} in state"):
            channel.step(side, blank(cls))
        assert channel.state is state
    else:
        channel.step(side, blank(cls))
        assert channel.state is following


def test_every_state_can_be_reached_and_has_rows():
    reached = {ChannelState.GREETING}
    for rows in TRANSITIONS.values():
        reached.update(rows.values())

    assert reached == set(ChannelState)
    assert set(TRANSITIONS) == set(ChannelState)


def test_states_only_go_forward():
    order = list(ChannelState)

    for state, rows in TRANSITIONS.items():
        for following in rows.values():
            assert order.index(following) >= order.index(state)


def test_each_frame_has_one_sender():
    senders = {}
    for rows in TRANSITIONS.values():
        for side, cls in rows:
            senders.setdefault(cls, set()).add(side)

    assert all(len(sides) == 1 for sides in senders.values())


def test_frames_of_the_nursery_have_no_place_here():
    used = {cls for rows in TRANSITIONS.values() for _, cls in rows}

    assert used == set(FRAME_TYPES) - NURSERY


def test_both_ends_agree_over_a_whole_life():
    front_end, worker = Channel(), Channel()
    story = [
        (Side.WORKER, Hello),
        (Side.FRONT_END, Load),
        (Side.WORKER, Loaded),
        (Side.FRONT_END, Predict),
        (Side.FRONT_END, Ping),
        (Side.WORKER, Result),
        (Side.WORKER, Pong),
        (Side.FRONT_END, Shutdown),
    ]

    for side, cls in story:
        front_end.step(side, blank(cls))
        worker.step(side, blank(cls))
        assert front_end.state is worker.state

    assert front_end.state is ChannelState.CLOSING


@pytest.mark.parametrize("state", list(ChannelState), ids=lambda state: state.name)
@pytest.mark.parametrize("answer", [cls for cls in FRAME_TYPES if cls not in NURSERY])
def test_what_the_worker_may_send_it_may_still_send_when_a_shutdown_crosses_it(state, answer):
    rows = TRANSITIONS[state]
    if (Side.WORKER, answer) not in rows or (Side.FRONT_END, Shutdown) not in rows:
        return
    front_end, worker = Channel(), Channel()
    front_end.state = worker.state = state

    front_end.step(Side.FRONT_END, blank(Shutdown))
    worker.step(Side.WORKER, blank(answer))
    front_end.step(Side.WORKER, blank(answer))
    worker.step(Side.FRONT_END, blank(Shutdown))

    assert front_end.state is worker.state


def test_a_model_that_cannot_be_loaded_leaves_nothing_to_say():
    channel = Channel()
    for side, cls in (
        (Side.WORKER, Hello),
        (Side.FRONT_END, Load),
        (Side.WORKER, LoadFailure),
    ):
        channel.step(side, blank(cls))

    with pytest.raises(ProtocolError):
        channel.step(Side.WORKER, blank(Loaded))
