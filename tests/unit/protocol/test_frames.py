"""The declarations of the frames: numbers on the wire, and words for every field."""

from __future__ import annotations

from typing import get_args, get_type_hints

import pytest

from tsl.protocol import frames
from tsl.protocol.frames import FRAME_TYPES, Frame, MetricRecord, Part, Reply, Row

NUMBERS = (
    "Hello", "Load", "Loaded", "LoadFailure", "Predict", "Result", "Chunk", "Failure", "Cancel",
    "Metrics", "Ping", "Pong", "Shutdown", "Fork", "Forked", "ForkRefused", "Exited", "Unshare",
    "Done", "Preload",
)  # fmt: skip


def test_type_numbers_are_append_only():
    assert tuple(cls.__name__ for cls in FRAME_TYPES) == NUMBERS


def test_every_frame_type_has_a_number():
    assert set(get_args(Frame)) == set(FRAME_TYPES)


@pytest.mark.parametrize(
    "cls", [*FRAME_TYPES, MetricRecord, Part, Reply, Row], ids=lambda cls: cls.__name__
)
def test_every_field_is_explained(cls):
    if cls.__name__ in ("Metrics", "Ping", "Pong", "Shutdown", "Forked", "ForkRefused"):
        assert cls.__doc__  # one sentence says it all
        return
    for name in get_type_hints(cls):
        assert f"        {name}: " in cls.__doc__


def test_frames_cannot_be_changed():
    with pytest.raises(AttributeError):
        frames.Ping(1).nonce = 2
